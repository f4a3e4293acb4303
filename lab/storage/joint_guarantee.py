"""What several runs on the same data come to together.

A guarantee covers one run.  Whoever sees the models of several learns from all of them, so their
releases compose.  Rounds that two runs share, as a run and its branch do, count once.  Runs that
differ and draw the same noise, because seed and nonce are the same, guarantee nothing together: the
noise cancels between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from lab.engine.differential_privacy.accountant import Adversary, opponents, spans, spent
from lab.experiment.experiment import Experiment
from lab.privacy.accounting.accountants import GaussianReleases, compose_epsilon
from lab.storage.job import Job
from lab.storage.store import Store

MOST = 200  # newest runs that are looked at
DISTINCT = 40  # different spendings that are composed tightly; more are added up


@dataclass(frozen=True)
class Together:
    """A run beside the others on the same data."""

    others: int
    epsilon: float | None  # of all of them; None: no guarantee
    sentence: str  # empty where there are no others


def together(store: Store, job: Job) -> Together:
    """That run and all others of the store that have finished a round on the same data."""
    others = [one for one in store.runs(MOST) if one.id != job.id and one.round]
    return joint((job.experiment, job.round), [(one.experiment, one.round) for one in others])


Part = tuple[Experiment, int]  # and how many rounds it has finished


def joint(run: Part, others: Sequence[Part]) -> Together:
    """As `together`."""
    experiment, rounds = run
    guarantee = spent(experiment, rounds) if rounds else None
    if guarantee is None:
        return Together(0, None, "")
    alike = [other for other in others if _shares(experiment, other[0], guarantee.unit)]
    if not alike:
        return Together(0, guarantee.epsilon, "")
    count = "1 other run or branch" if len(alike) == 1 else f"{len(alike)} other runs and branches"
    head = f"This store holds {count} on the same data."
    if trouble := _trouble(run, alike):
        return Together(len(alike), None, f"{head} Together they guarantee nothing: {trouble}.")
    adversary, delta = opponents(experiment, rounds)[0], guarantee.delta
    found = compose_epsilon(_spendings([run, *alike], adversary), delta)
    if not isfinite(found):
        return Together(len(alike), None, f"{head} Together they guarantee nothing at this delta.")
    return Together(
        len(alike),
        found,
        f"{head} All of them together: epsilon {found:.3g} at delta {delta:g} for one "
        f"{guarantee.unit}, against {guarantee.against}.",
    )


def _shares(one: Experiment, other: Experiment, unit: str) -> bool:
    """Whether a record of that unit may be in both runs."""
    if unit == "client":
        return one.data == other.data and one.seed == other.seed
    return one.data.source == other.data.source


def _trouble(run: Part, others: Sequence[Part]) -> str:
    """Why nothing is guaranteed together; empty if something is."""
    mine = spent(*run)
    adversary = opponents(*run)[0]
    bare = 0
    for experiment, rounds in others:
        theirs = spent(experiment, rounds, adversary)
        bare += theirs is None or mine is None or theirs.unit != mine.unit
    if bare:
        return f"{bare} of them had no such guarantee"
    parts = [run, *others]
    for place, one in enumerate(parts):
        if any(_same_noise(one, other) for other in parts[:place]):
            return (
                "two of them draw the same noise, which cancels between them; give each run a seed "
                "of its own"
            )
    return ""


def _same_noise(one: Part, other: Part) -> bool:
    """Whether two runs draw the same noise for different models."""
    first, last = _apart(one[0], other[0]), min(one[1], other[1])
    rounds = [first, *(c.round for each in (one, other) for c in each[0].changes)]
    return any(
        _noise(one[0], round) == _noise(other[0], round)
        and one[0].at(round).privacy.repeatable
        and other[0].at(round).privacy.repeatable
        for round in rounds
        if first <= round <= last
    )


def _noise(experiment: Experiment, round: int) -> tuple[int, int]:
    now = experiment.at(round)
    return now.seed, now.nonce


def _apart(one: Experiment, other: Experiment) -> int:
    """The first round in which two runs differ; one beyond all rounds if they never do."""
    rounds = {1, *(change.round for each in (one, other) for change in each.changes)}
    differing = [round for round in rounds if one.at(round) != other.at(round)]
    return min(differing, default=1 + max(one.training.rounds, other.training.rounds, *rounds))


def _spendings(parts: Sequence[Part], adversary: Adversary) -> tuple[GaussianReleases, ...]:
    """Of all runs, what they share counted once."""
    found: list[GaussianReleases] = []
    for place, (experiment, rounds) in enumerate(parts):
        known = max((_known(experiment, other) for other in parts[:place]), default=0)
        found += [
            part.spending(last, adversary, since=known + 1)
            for part, last in spans(experiment, rounds)
            if last > known
        ]
    return _few(found)


def _known(experiment: Experiment, other: Part) -> int:
    """How many of its first rounds released just what another run released."""
    if not experiment.at(1).privacy.repeatable:  # the same settings release other models
        return 0
    return min(_apart(experiment, other[0]) - 1, other[1])


def _few(spendings: Sequence[GaussianReleases]) -> tuple[GaussianReleases, ...]:
    """At most DISTINCT different ones: of more, the last stand for what is worst about them."""
    if len(set(spendings)) <= DISTINCT:
        return tuple(spendings)
    some, rest = spendings[: DISTINCT - 1], spendings[DISTINCT - 1 :]
    worst = GaussianReleases(
        rate=max(each.rate for each in rest),
        noise=min(each.noise / each.reach for each in rest),
        times=sum(each.times for each in rest),
        steps=max(each.steps for each in rest),
        chance=max(each.chance for each in rest),
        leak=max(each.leak for each in rest),
    )
    return (*some, worst)
