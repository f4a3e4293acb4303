"""Trade-off: accuracy against what leaks, as a study found it, and which settings none beats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby, pairwise
from statistics import fmean
from typing import Any, NamedTuple

from lab.experiment.experiment import Experiment
from lab.sweeps.cell_result import CellResult
from lab.sweeps.sweep import Cell
from lab.sweeps.tradeoff_study import TITLES, SettingsCombination, Study

DIGITS = 3  # behind the point, to which means are compared


@dataclass(frozen=True)
class Measure:
    """A number that says how much leaks.  More is worse."""

    title: str
    floor: float  # what a guess has: below it nothing leaks, and the attacker would rather guess
    of: Callable[[CellResult], float | None]
    shown: Callable[[float], str]


def _percent(value: float) -> str:
    return f"{value:.1%}"


def _of_probes(name: str) -> Callable[[CellResult], float | None]:
    """The first probe that measured it, and whose score does not call itself meaningless."""

    def of(outcome: CellResult) -> float | None:
        found = (getattr(leak, name) for leak in outcome.probes if leak and not leak.unclear)
        return next((value for value in found if value is not None), None)

    return of


def _backdoor(outcome: CellResult) -> float | None:
    return outcome.backdoor[-1] if outcome.backdoor else None


MEASURES = {
    "auc": Measure("membership: AUC", 0.5, _of_probes("auc"), "{:.3f}".format),
    "rate": Measure("membership: TPR at 1 % FPR", 0.01, _of_probes("rate"), _percent),
    "gain": Measure("inversion: dB over the best guess", 0.0, _of_probes("gain"), "{:+.1f}".format),
    "identified": Measure("inversion: identified", 0.0, _of_probes("identified"), _percent),
    "backdoor": Measure("backdoor: success", 0.0, _backdoor, _percent),
}


@dataclass(frozen=True)
class Spread:
    """A number under several seeds."""

    seeds: Mapping[int, float]
    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, seeds: Mapping[int, float]) -> Spread:
        values = list(seeds.values())
        return cls(seeds, fmean(values), min(values), max(values))

    def above(self, floor: float) -> Spread:
        """The same, and nothing below the floor.  The mean is raised last: luck evens out first."""
        low, mean, high = (max(floor, value) for value in (self.low, self.mean, self.high))
        return Spread({s: max(floor, self.seeds[s]) for s in self.seeds}, mean, low, high)

    def more(self, other: Spread) -> list[float]:
        """By how much it exceeds the other, under each seed of both: they share data and start."""
        both = [seed for seed in self.seeds if seed in other.seeds]
        return [round(self.seeds[seed] - other.seeds[seed], DIGITS) for seed in both]


@dataclass(frozen=True)
class Point:
    """One combination, and what its runs came to."""

    number: int  # from 1
    place: SettingsCombination
    label: str
    experiment: Experiment | None = None  # under the first seed; None: refused
    accuracy: Spread | None = None
    leaks: Mapping[str, Spread] = field(default_factory=dict)  # by MEASURES
    word: str = ""  # why there are no numbers, or not all,
    reason: str = ""


def points(study: Study, outcomes: Mapping[str, CellResult]) -> tuple[Point, ...]:
    """outcomes: by key of the run, as a grid has them; what is not there has not begun"""
    cells = iter(study.sweep.cells)
    found = []
    for number, place in enumerate(study.places, start=1):
        mine = [next(cells) for _ in study.seeds]
        found.append(_point(Point(number, place, study.label(place)), mine, outcomes))
    return tuple(found)


def _point(bare: Point, cells: Sequence[Cell], outcomes: Mapping[str, CellResult]) -> Point:
    if refused := [cell.refused for cell in cells if cell.refused]:
        return replace(bare, word="refused", reason=refused[0])
    bare = replace(bare, experiment=cells[0].experiment)
    known = {cell.seed: outcomes.get(cell.key, CellResult("missing")) for cell in cells}
    failed = [one.message for one in known.values() if one.status == "failed"]
    if failed:
        return replace(bare, word="failed", reason=failed[0])
    if any(one.status != "finished" for one in known.values()):
        return replace(bare, word="waiting")
    leaks = {name: _spread(known, measure.of) for name, measure in MEASURES.items()}
    told = [reason for seed in known for reason in _reasons(seed, known[seed])]
    return replace(
        bare,
        accuracy=_spread(known, lambda one: one.accuracy[-1]),
        leaks={name: spread for name, spread in leaks.items() if spread},
        word="in part" if told else "",
        reason="; ".join(told),
    )


def _reasons(seed: int, outcome: CellResult) -> list[str]:
    """Why a run that ended has not all numbers."""
    unclear = [leak.verdict for leak in outcome.probes if leak and leak.unclear]
    told = [outcome.message, *outcome.useless, *unclear]
    return [f"seed {seed}: {reason}" for reason in told if reason]


def _spread(
    known: Mapping[int, CellResult], of: Callable[[CellResult], float | None]
) -> Spread | None:
    """Under the seeds that have it; None where none has."""
    found = {seed: of(outcome) for seed, outcome in known.items()}
    there = {seed: value for seed, value in found.items() if value is not None}
    return Spread.of(there) if there else None


# --- the front ------------------------------------------------------------------------------------


class Mark(NamedTuple):
    """A point with both numbers."""

    point: Point
    good: Spread  # accuracy
    bad: Spread  # what leaks, at least what a guess has

    @property
    def pair(self) -> tuple[float, float]:
        """The means, as finely as they are compared: masks move the last digits of everything."""
        return round(self.good.mean, DIGITS), round(self.bad.mean, DIGITS)


def pareto(pairs: Sequence[tuple[float, float]]) -> list[int]:
    """Places of those pairs (good, bad) that no other pair beats, the least bad first.

    One beats another if it has as much of the good and as little of the bad, and is not its equal.
    """

    def beaten(good: float, bad: float) -> bool:
        return any(
            more >= good and less <= bad and (more, less) != (good, bad) for more, less in pairs
        )

    kept = [place for place, pair in enumerate(pairs) if not beaten(*pair)]
    return sorted(kept, key=lambda place: (pairs[place][1], place))


def measured(found: Sequence[Point], measure: str) -> list[Mark]:
    floor = MEASURES[measure].floor
    return [
        Mark(point, point.accuracy, point.leaks[measure].above(floor))
        for point in found
        if point.accuracy and measure in point.leaks
    ]


def front(found: Sequence[Point], measure: str) -> list[Mark]:
    """Those that no other beats by its means, from the least leak to the most."""
    there = measured(found, measure)
    return [there[place] for place in pareto([mark.pair for mark in there])]


def sentences(study: Study, found: Sequence[Point], measure: str) -> Iterator[str]:
    """What the front shows, and how sure it is."""
    there, best = measured(found, measure), front(found, measure)
    if not best:
        return
    so_far = " so far" * any(point.word == "waiting" for point in found)
    are = "is" if len(best) == 1 else "are"
    yield (
        f"{len(best)} of {len(there)} combinations measured{so_far} {are} on the front: no other "
        "is as accurate and leaks as little"
    )
    alike = [list(marks) for _, marks in groupby(best, key=lambda mark: mark.pair)]
    for less, more in pairwise(alike):
        yield _step(less, more, MEASURES[measure], len(study.seeds) > 1)
    if len(study.seeds) == 1:
        yield "one seed: nothing here says how much is luck"
    elif close := _close(there, best):
        numbers = ", ".join(str(mark.point.number) for mark in close)
        yield f"beaten by no other under every seed, and so perhaps on the front, too: {numbers}"


def _step(below: Sequence[Mark], above: Sequence[Mark], measure: Measure, several: bool) -> str:
    """From those of the front that are alike to the next ones, which leak less."""
    less, more = below[0], above[0]
    told = (
        f"from {_named(above)} to {_named(below)}: {measure.title} "
        f"{measure.shown(more.bad.mean)} to {measure.shown(less.bad.mean)}, accuracy "
        f"{more.good.mean:.1%} to {less.good.mean:.1%}"
    )
    doubts = {
        "what it saves": more.bad.more(less.bad),
        "what it costs": more.good.more(less.good),
    }
    unsure = [name for name, by in doubts.items() if several and min(by, default=0.0) <= 0]
    return f"{told} ({' and '.join(unsure)}: not under every seed)" if unsure else told


def _named(alike: Sequence[Mark]) -> str:
    return " or ".join(f"{mark.point.number} ({mark.point.label})" for mark in alike)


def _close(there: Sequence[Mark], best: Sequence[Mark]) -> list[Mark]:
    """Those behind the front that no other beats under every seed."""

    def beaten(mine: Mark) -> bool:
        gains = ((each.good.more(mine.good), mine.bad.more(each.bad)) for each in there)
        return any(
            min([*more, *less], default=0.0) >= 0 < max([*more, *less])
            for more, less in gains
            if more
        )

    return [mark for mark in there if mark not in best and not beaten(mark)]


# --- as a table -----------------------------------------------------------------------------------


def table(study: Study, found: Sequence[Point], measure: str) -> list[dict[str, str]]:
    """A line for each combination, with means over the seeds as they were measured."""
    best = {mark.point.number for mark in front(found, measure)}
    return [_line(study, point, "front" if point.number in best else point.word) for point in found]


def _line(study: Study, point: Point, note: str) -> dict[str, str]:
    words = point.place.words()
    settings = {TITLES[axis]: words[axis] for axis in study.varied}
    accuracy = f"{point.accuracy.mean:.1%}" if point.accuracy else ""
    leaks = {
        each.title: each.shown(point.leaks[name].mean) if name in point.leaks else ""
        for name, each in MEASURES.items()
    }
    return {"#": str(point.number), "note": note, **settings, "accuracy": accuracy, **leaks}


def reasons(found: Sequence[Point]) -> list[str]:
    """Why combinations have no numbers, or not all: each reason once."""
    told: dict[str, list[str]] = {}
    for point in found:
        if point.reason:
            told.setdefault(f"{point.word}: {point.reason}", []).append(str(point.number))
    return [f"{', '.join(numbers)} {reason}" for reason, numbers in told.items()]


def results(study: Study, found: Sequence[Point]) -> dict[str, Any]:
    """Plain values, for JSON: every combination, and who is on the front of each measure."""

    def line(point: Point) -> dict[str, Any]:
        return {
            "number": point.number,
            "label": point.label,
            "settings": asdict(point.place),
            "accuracy": dict(point.accuracy.seeds) if point.accuracy else None,
            "leaks": {name: dict(spread.seeds) for name, spread in point.leaks.items()},
            "word": point.word,
            "reason": point.reason,
        }

    fronts = {name: [mark.point.number for mark in front(found, name)] for name in MEASURES}
    return {"title": study.title, "points": [line(point) for point in found], "fronts": fronts}
