"""The accountant of a run: epsilon spent, a pure function of (experiment, rounds).

Assumes what the lab really does: draws as the settings say, a fixed denominator.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

import numpy as np

from lab.accountants import Accountant, Spending, calibrated, composed, deltas
from lab.cohorts import asked, client_rate
from lab.experiment import Experiment
from lab.records import Guarantee
from lab.sampling import cohort_at_least, epoch_at_least

# Who looks: the server, which knows who takes part in a round, or whoever is given the models only.
Adversary = Literal["server", "public"]
PROFILE = (3.0, 121)  # how far beyond the stated epsilon, and in how many steps
# Settings that say how, and change nothing of what is guaranteed.
IMMATERIAL = {"stop": False, "backend": "engine", "per_layer": False, "secure_noise": False}
ROUNDED = 1.01  # of a variance under masks: rounding and filling up add less
SLACK = 1e-6  # relative, of arithmetic
NAMES = {"pld": "PLD (dp-accounting)", "rdp": "RDP (dp-accounting)", "prv": "PRV (Opacus)"}


@dataclass(frozen=True)
class Segment:
    """Rounds in a row under the same privacy."""

    first: int
    now: Experiment

    def spending(self, last: int, adversary: Adversary) -> Spending:
        """What the rounds to `last` release about one record, at worst."""
        return self._releases(last, adversary, self.noise())

    def at_least(self, last: int, delta: float) -> float | None:
        """What epsilon is not below, where draws are not independent; None where that is known."""
        if _independent(self.now) or self.now.privacy.place == "local":
            return None
        rate, rounds = client_rate(self.now), last + 1 - self.first
        if self.now.privacy.kind == "client":
            if self.now.privacy.adapts:  # no pair is known that uses up updates and count together
                return 0.0
            noise = self.noise() * _louder(self.now)
            return cohort_at_least(rate, noise, rounds, delta) if rate < 1 else None
        recipe = self.now.recipe
        if recipe.cap:  # epochs may be cut short, so that an example may never be used
            return 0.0
        batches = ceil(recipe.mean_size / recipe.batch_size)
        epochs = self._busiest(last) * recipe.epochs
        return epoch_at_least(batches, self.noise(), epochs, delta) if batches > 1 else None

    def noise(self) -> float:
        """The noise multiplier: as set, or as the target needs if the segment runs to the end."""
        privacy, end = self.now.privacy, max(self.first, self.now.training.rounds)
        if privacy.noise:
            return privacy.noise
        plan = self._releases(end, faced(self.now), 1.0)
        return calibrated(plan, privacy.epsilon, privacy.delta)

    def _releases(self, last: int, adversary: Adversary, noise: float) -> Spending:
        now, rounds = self.now, last + 1 - self.first
        drawn, rate = now.privacy.sampling == "poisson", client_rate(now)
        if now.privacy.kind == "client":
            if adversary == "server" or now.privacy.place == "local":
                return Spending(1.0, noise, self._busiest(last))
            return Spending(rate if drawn else 1.0, noise, rounds, chance=1.0 if drawn else rate)
        steps = now.recipe.local_steps(1) if drawn else now.recipe.epochs
        turn = Spending(now.recipe.poisson or 1.0, noise, self._busiest(last), steps)
        if adversary == "server" or not _uniform(now):
            return turn
        return Spending(turn.rate, noise, rounds, steps, rate)

    def _busiest(self, last: int) -> int:
        """Turns of the client that is asked most often."""
        rounds = range(self.first, last + 1)
        if self.now.training.algorithm.asynchronous:
            return len(rounds)  # nobody is waited for: at most one update a round
        turns = Counter(client for round in rounds for client in asked(self.now, round))
        return max(turns.values(), default=0)


def faced(now: Experiment) -> Adversary:
    """Against whom the guarantee that the lab states by itself holds."""
    own = now.privacy.kind == "example" or now.privacy.place == "local"
    return "server" if own else "public"


def _adversaries(now: Experiment) -> tuple[Adversary, ...]:
    """Against whom a round's noise protects, the one that it is made for first."""
    if faced(now) == "server":
        return ("server", "public")
    summed = now.privacy.place == "distributed" and now.secure_aggregation.sealed
    return ("public", "server") if summed else ("public",)


def _louder(now: Experiment) -> float:
    """How much larger the released noise can be than it needs to be."""
    masks = now.secure_aggregation
    if now.privacy.place != "distributed" or not masks.enabled:
        return 1.0
    louder: float = (ROUNDED * masks.surplus) ** 0.5
    return louder


def _uniform(now: Experiment) -> bool:
    """Whether each round asks every client with one chance, whatever happened before."""
    network = now.network
    return not (now.training.algorithm.asynchronous or network.spare or network.availability < 1)


def segments(experiment: Experiment) -> list[Segment]:
    """The run, cut where a change touches privacy or sampling."""
    found = [Segment(1, experiment.at(1))]
    for first in sorted({change.round for change in experiment.changes}):
        now = experiment.at(first)
        if _governing(now) != _governing(found[-1].now):
            found.append(Segment(first, now))
    return found


def _governing(now: Experiment) -> tuple[Any, ...]:
    training, privacy = now.training, now.privacy.model_copy(update=IMMATERIAL)
    sampling = (training.clients_per_round, training.batch_size, training.epochs, training.steps)
    masks = now.secure_aggregation
    under = (masks.enabled, masks.sealed, masks.surplus) if privacy.kind == "client" else ()
    return (privacy, under, *sampling)


def noise_multiplier(experiment: Experiment, round: int) -> float:
    """Standard deviation of the noise over the clip, in force in that round."""
    return [part for part in segments(experiment) if part.first <= round][-1].noise()


def spans(experiment: Experiment, rounds: int) -> list[tuple[Segment, int]]:
    """The segments of the first `rounds` rounds and where each ends; none without a guarantee.

    There is none once a round ran without noise, or when the unit of protection has changed.
    """
    parts = [part for part in segments(experiment) if part.first <= rounds]
    units = {part.now.privacy.kind for part in parts}
    if len(units) != 1 or units == {"none"}:
        return []
    ends = [part.first - 1 for part in parts[1:]] + [rounds]
    return list(zip(parts, ends, strict=True))


def opponents(experiment: Experiment, rounds: int) -> tuple[Adversary, ...]:
    """Against whom there is a guarantee in all of these rounds."""
    parts = spans(experiment, rounds)
    wanted = _adversaries(parts[-1][0].now) if parts else ()
    return tuple(one for one in wanted if all(one in _adversaries(part.now) for part, _ in parts))


def spent(
    experiment: Experiment,
    rounds: int,
    adversary: Adversary | None = None,
    accountant: Accountant = "pld",
) -> Guarantee | None:
    """What the first `rounds` rounds guarantee; None where there is no guarantee to give.

    Against the strongest adversary that noise is calibrated to, if none is named.
    """
    parts, known = spans(experiment, rounds), opponents(experiment, rounds)
    if not parts or (adversary and adversary not in known):
        return None
    now, adversary = parts[-1][0].now, adversary or known[0]
    privacy = now.privacy
    spendings = tuple(part.spending(last, adversary) for part, last in parts)
    bounds = [part.at_least(last, privacy.delta) for part, last in parts]
    tight = accountant == "pld" and adversary == known[0]
    return Guarantee(
        epsilon=composed(spendings, privacy.delta, accountant),
        at_least=max((bound for bound in bounds if bound is not None), default=None)
        if tight
        else None,
        delta=privacy.delta,
        unit=privacy.kind,
        relation=_relation(parts, privacy.kind),
        against=_adversary(now, adversary),
        sampling=_sampling(now, spendings[-1]),
        accountant=NAMES[accountant],
        noise=tuple(spending.noise for spending in spendings),
    )


def detailed(
    experiment: Experiment, rounds: int, adversary: Adversary | None = None
) -> Guarantee | None:
    """The same with its profile: a delta for each epsilon, from none to many times as large."""
    if (guarantee := spent(experiment, rounds, adversary)) is None:
        return None
    chosen = adversary or opponents(experiment, rounds)[0]
    spendings = tuple(part.spending(last, chosen) for part, last in spans(experiment, rounds))
    epsilons = np.linspace(0.0, PROFILE[0] * max(guarantee.epsilon, 0.01), PROFILE[1])
    pairs = zip(epsilons.tolist(), deltas(spendings, epsilons).tolist(), strict=True)
    return guarantee.model_copy(update={"profile": tuple(pairs)})


def budget_left(experiment: Experiment, round: int) -> str:
    """Why the budget ends the run before that round; empty if it does not."""
    privacy = experiment.at(round).privacy
    if not privacy.stop or privacy.kind == "none":
        return ""
    if (after := spent(experiment, round)) is None:
        return f"round {round} has no guarantee to keep within privacy.epsilon {privacy.epsilon:g}"
    if after.epsilon <= privacy.epsilon * (1 + SLACK):
        return ""
    return (
        f"round {round} would bring epsilon to {after.epsilon:.4g}, past the budget of "
        f"privacy.epsilon {privacy.epsilon:g}"
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


def _relation(parts: list[tuple[Segment, int]], unit: str) -> str:
    if all(_independent(part.now) for part, _ in parts):
        return f"one {unit} added or removed"
    return f"one {unit} replaced by nothing"  # who takes part is fixed, or no secret


def _independent(now: Experiment) -> bool:
    """Whether draws are independent, and secret."""
    return now.privacy.sampling == "poisson" and now.privacy.place != "local"


def _adversary(now: Experiment, adversary: Adversary) -> str:
    if adversary == "public":
        return "everybody who sees the released models"
    if now.privacy.kind == "client" and now.privacy.place == "distributed":
        return "a server that follows the protocol and is in league with no client"
    return "the server and everybody who sees its models"


def _sampling(now: Experiment, spending: Spending) -> str:
    who = "batches" if now.privacy.kind == "example" else "cohorts"
    often = f", joined with chance {spending.chance:.3g}" if spending.chance < 1 else ""
    sampled = now.privacy.kind == "client" and client_rate(now) < 1
    if sampled and spending.rate >= 1 and spending.chance >= 1:
        return f"cohorts are no secret, {spending.times} turns at most"
    if now.privacy.sampling == "fixed":
        each = ", at least for whoever sees each step" if who == "batches" else ""
        return f"{who} of fixed size{often}{each}"
    if spending.rate >= 1:
        return f"no sampling: full {who}{often}"
    return f"Poisson {who}, q = {spending.rate:.4g}{often}"


def cautions(experiment: Experiment, rounds: int) -> list[str]:
    """What a reader of the epsilon should be told besides, in sentences."""
    if (guarantee := spent(experiment, rounds)) is None:
        return []
    data, told = experiment.data, []
    records = data.clients if guarantee.unit == "client" else data.shared()
    if guarantee.delta > 1 / (10 * records):
        told.append(
            f"Delta {guarantee.delta:g} is large for {records:,} {guarantee.unit}s: publishing one "
            f"outright, once in ten runs, would pass. Use {1 / (10 * records):.0e} or less."
        )
    if guarantee.epsilon > 10:
        told.append(
            f"Epsilon {guarantee.epsilon:.3g} promises next to nothing: the odds may change by a "
            f"factor of e^{guarantee.epsilon:.0f}."
        )
    if guarantee.unit == "example" and records > data.clients:
        told.append(
            "One example is protected and not one client: whatever a client's examples have in "
            "common is not hidden."
        )
    return told
