"""Accountant: epsilon spent, a pure function of (experiment, rounds).

Tight composition of Poisson-subsampled Gaussian mechanisms through their privacy loss
distributions, by Google's dp-accounting (Doroshenko et al. 2022, arXiv:2207.04380), rounded
pessimistically.  Assumes what the lab really does: independent draws, a fixed denominator.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache, reduce
from math import exp, log
from typing import Any

from lab.cohorts import asked, client_rate
from lab.experiment import Experiment
from lab.records import Guarantee

GRID = 5e-4  # of privacy losses: within 0.2 % of tight values, and fast enough to be live
TOLERANCE = 2e-4  # relative, of a calibrated noise multiplier


@dataclass(frozen=True)
class Spending:
    """`times` releases of a Gaussian mechanism on a Poisson sample."""

    rate: float
    noise: float
    times: int


@dataclass(frozen=True)
class Segment:
    """Rounds in a row under the same privacy."""

    first: int
    now: Experiment

    def spending(self, last: int) -> Spending:
        """What the rounds to `last` release about one record, at worst."""
        rate, times = self._releases(last)
        return Spending(rate, self.noise(), times)

    def noise(self) -> float:
        """The noise multiplier: as set, or as the target needs if the segment runs to the end."""
        privacy, end = self.now.privacy, max(self.first, self.now.training.rounds)
        if privacy.noise:
            return privacy.noise
        rate, times = self._releases(end)
        return calibrated(rate, times, privacy.epsilon, privacy.delta)

    def _releases(self, last: int) -> tuple[float, int]:
        rounds = range(self.first, last + 1)
        if self.now.privacy.kind == "client":
            return client_rate(self.now), len(rounds)
        # The server knows who took part, so nothing is amplified by it: the busiest client counts.
        busiest = len(rounds)  # where nobody is waited for: at most one update a round
        if not self.now.training.algorithm.asynchronous:
            turns = Counter(client for round in rounds for client in asked(self.now, round))
            busiest = max(turns.values(), default=0)
        return self.now.recipe.poisson or 1.0, busiest * self.now.recipe.local_steps(1)


def segments(experiment: Experiment) -> list[Segment]:
    """The run, cut where a change touches privacy or sampling."""
    found = [Segment(1, experiment.at(1))]
    for first in sorted({change.round for change in experiment.changes}):
        now = experiment.at(first)
        if _governing(now) != _governing(found[-1].now):
            found.append(Segment(first, now))
    return found


def _governing(now: Experiment) -> tuple[Any, ...]:
    training = now.training
    sampling = (training.clients_per_round, training.batch_size, training.epochs, training.steps)
    return (now.privacy, *sampling)


def noise_multiplier(experiment: Experiment, round: int) -> float:
    """Standard deviation of the noise over the clip, in force in that round."""
    return [part for part in segments(experiment) if part.first <= round][-1].noise()


def spent(experiment: Experiment, rounds: int) -> Guarantee | None:
    """What the first `rounds` rounds guarantee; None where there is no guarantee to give.

    There is none once a round ran without noise, or when the unit of protection has changed.
    """
    parts = [part for part in segments(experiment) if part.first <= rounds]
    units = {part.now.privacy.kind for part in parts}
    if not parts or len(units) > 1 or units == {"none"}:
        return None
    ends = [part.first - 1 for part in parts[1:]] + [rounds]
    spendings = tuple(part.spending(last) for part, last in zip(parts, ends, strict=True))
    now = parts[-1].now
    return Guarantee(
        epsilon=composed(spendings, now.privacy.delta),
        delta=now.privacy.delta,
        unit=now.privacy.kind,
        relation=f"one {now.privacy.kind} added or removed",
        against=_adversary(now),
        sampling=_sampling(now, spendings[-1]),
        accountant="PLD (dp-accounting)",
        noise=tuple(spending.noise for spending in spendings),
    )


def promise(experiment: Experiment, rounds: int) -> str:
    """The guarantee in a sentence, or why there is none."""
    if guarantee := spent(experiment, rounds):
        return f"Guaranteed: {guarantee.sentence()}."
    kinds = {part.now.privacy.kind for part in segments(experiment) if part.first <= rounds}
    if kinds <= {"none"}:
        return "No differential privacy: nothing is guaranteed about anybody."
    if "none" in kinds:
        return "No guarantee: some rounds ran without noise."
    return "No single guarantee: the unit of protection changed in the course of the run."


def _adversary(now: Experiment) -> str:
    if now.privacy.kind == "example":
        return "the server and everybody who sees its models"
    return "everybody who sees the released models"


def _sampling(now: Experiment, spending: Spending) -> str:
    who = "batches" if now.privacy.kind == "example" else "cohorts"
    if spending.rate >= 1:
        return f"no sampling: full {who}"
    return f"Poisson {who}, q = {spending.rate:.4g}"


@lru_cache(maxsize=4096)
def composed(spendings: tuple[Spending, ...], delta: float) -> float:
    """Epsilon of all the releases together, at `delta`."""
    losses = [_losses(s.rate, s.noise).self_compose(s.times) for s in spendings if s.times]
    if not losses:
        return 0.0
    total = reduce(lambda loss, other: loss.compose(other), losses)
    return float(total.get_epsilon_for_delta(delta))


@lru_cache(maxsize=64)
def _losses(rate: float, noise: float) -> Any:
    # Imported here, because it takes most of a second and most runs never need it.
    from dp_accounting.pld import privacy_loss_distribution as pld

    return pld.from_gaussian_mechanism(
        noise, value_discretization_interval=GRID, sampling_prob=rate
    )


@lru_cache(maxsize=1024)
def calibrated(rate: float, times: int, epsilon: float, delta: float) -> float:
    """The smallest noise multiplier, to `TOLERANCE`, that keeps `times` releases at epsilon."""
    if times == 0:
        return 1.0  # nothing is released, so any noise will do

    from scipy.optimize import brentq

    def excess(logarithm: float) -> float:
        reached = composed((Spending(rate, exp(logarithm), times),), delta)
        return log(min(reached, 1e9) + 1e-9) - log(epsilon)

    low = high = 0.0
    while excess(high) > 0:
        high += 1.0
    while excess(low) < 0:
        low -= 0.5
    root = brentq(excess, low, high, xtol=TOLERANCE / 2)
    return exp(root + TOLERANCE / 2)
