"""The accountant of a run: epsilon spent, a pure function of (experiment, rounds).

Assumes what the lab really does: independent draws, a fixed denominator.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from lab.accountants import Accountant, Spending, calibrated, composed
from lab.cohorts import asked, client_rate
from lab.experiment import Experiment
from lab.records import Guarantee


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


def spendings_of(experiment: Experiment, rounds: int) -> tuple[Spending, ...]:
    """What the first `rounds` rounds release, segment by segment; empty without a guarantee.

    There is none once a round ran without noise, or when the unit of protection has changed.
    """
    parts = [part for part in segments(experiment) if part.first <= rounds]
    units = {part.now.privacy.kind for part in parts}
    if not parts or len(units) > 1 or units == {"none"}:
        return ()
    ends = [part.first - 1 for part in parts[1:]] + [rounds]
    return tuple(part.spending(last) for part, last in zip(parts, ends, strict=True))


def epsilon_of(experiment: Experiment, rounds: int, accountant: Accountant) -> float | None:
    """What another accountant says of the same releases."""
    spendings = spendings_of(experiment, rounds)
    delta = experiment.at(max(1, rounds)).privacy.delta
    return composed(spendings, delta, accountant) if spendings else None


def spent(experiment: Experiment, rounds: int) -> Guarantee | None:
    """What the first `rounds` rounds guarantee; None where there is no guarantee to give."""
    if not (spendings := spendings_of(experiment, rounds)):
        return None
    now = [part for part in segments(experiment) if part.first <= rounds][-1].now
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
