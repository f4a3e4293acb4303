"""The tally: what a sweep found.  The value of each place, and the worst of each row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from statistics import fmean
from typing import Any, Literal

from lab.scoring.reconstruction.image_scorer import GAIN
from lab.sweeps.cell_result import AttackSummary, CellResult
from lab.sweeps.sweep import Cell, Sweep

Word = Literal["", "refused", "failed", "waiting"]


UNKNOWN = CellResult("missing")


@dataclass(frozen=True)
class TableCell:
    """One place of the table."""

    row: str
    column: str
    best: str = ""  # which of these it shows, where there are several
    worst: str = ""
    value: float | None = None  # the mean over the seeds
    seeds: Mapping[int, float] = field(default_factory=dict)  # the value of each
    word: Word = ""  # why there is no value
    reason: str = ""
    leaks: Mapping[int, AttackSummary] = field(default_factory=dict)  # the attack under each seed
    keys: tuple[str, ...] = ()  # of its runs, one for each seed

    def told(self) -> str:
        if self.leaks:
            words = ", ".join(dict.fromkeys(leak.word for leak in self.leaks.values()))
            if self.value is not None and any(leak.auc for leak in self.leaks.values()):
                return f"AUC {self.value:.3f}"
            return words if self.value is None else f"{self.value:+.1f} dB"
        return self.word if self.value is None else f"{self.value:.1%}"


@dataclass(frozen=True)
class ResultTable:
    """The whole table."""

    sweep: Sweep
    entries: tuple[tuple[TableCell, ...], ...]  # of each row, by column
    worst: tuple[TableCell, ...]  # of each row

    def caption(self) -> str:
        """What the numbers mean."""
        sweep = self.sweep
        if sweep.measure == "leak":
            return _caption_of_leaks(sweep)
        rounds = "the last round" if sweep.last == 1 else f"the last {sweep.last} rounds"
        name = {"accuracy": "Accuracy", "backdoor": "Success of the backdoor"}[sweep.measure]
        seeds, shown = _seeds(sweep), _shown(sweep)
        worst = "lowest" if sweep.measure == "accuracy" else "highest"
        return f"{name} in {rounds}{seeds}{shown}; the worst of a row is its {worst}."

    def reasons(self) -> list[str]:
        """Why places have no value: each reason once, with all its places."""
        found: dict[str, list[str]] = {}
        for entry in (entry for row in self.entries for entry in row if entry.reason):
            told = f"{entry.word}: {entry.reason}" if entry.word else entry.reason
            found.setdefault(told, []).append(f"{entry.row} / {entry.column}")
        return [f"{', '.join(places)}: {reason}" for reason, places in found.items()]

    def dump(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        rows = [
            {
                "label": line[0].row,
                "cells": [asdict(entry) for entry in line],
                "worst": asdict(worst),
            }
            for line, worst in zip(self.entries, self.worst, strict=True)
        ]
        return {"title": self.sweep.title, "measure": self.sweep.measure, "rows": rows}


def result_table(sweep: Sweep, outcomes: Mapping[str, CellResult]) -> ResultTable:
    """outcomes: by key of the run; what is not there has not begun"""
    runs: dict[tuple[int, ...], list[Cell]] = {}
    for cell in sweep.cells:
        runs.setdefault(cell.place, []).append(cell)
    low, high = (min, max) if sweep.measure == "accuracy" else (max, min)
    rows, columns, best, worst = (range(len(axis)) for axis in sweep.axes)

    def entry(row: int, column: int) -> TableCell:
        against = (
            _pick([_entry(sweep, runs[row, column, one, other], outcomes) for other in worst], low)
            for one in best
        )
        return _pick(list(against), high)

    entries = tuple(tuple(entry(row, column) for column in columns) for row in rows)
    return ResultTable(sweep, entries, tuple(_pick(line, low) for line in entries))


def _entry(sweep: Sweep, cells: Sequence[Cell], outcomes: Mapping[str, CellResult]) -> TableCell:
    """Of the same run under each seed."""
    row, column, best, worst = _labels(sweep, cells[0])
    bare = TableCell(row, column, best, worst, keys=tuple(cell.key for cell in cells if cell.key))
    refused = [cell.refused for cell in cells if cell.refused]
    if refused:
        return replace(bare, word="refused", reason=refused[0])
    found = {cell.seed: outcomes.get(cell.key, UNKNOWN) for cell in cells}
    failed = [outcome.message for outcome in found.values() if outcome.status == "failed"]
    if failed:
        return replace(bare, word="failed", reason=failed[0])
    if any(outcome.status != "finished" for outcome in found.values()):
        return replace(bare, word="waiting")
    useless = [outcome.refused for outcome in found.values() if outcome.refused]
    if useless:
        return replace(bare, word="refused", reason=useless[0])
    leaks = {seed: outcome.leak for seed, outcome in found.items() if outcome.leak}
    values = {seed: outcome.value(sweep) for seed, outcome in found.items()}
    seeds = {seed: value for seed, value in values.items() if value is not None}
    if len(seeds) < len(values) and len(leaks) < len(values):
        return replace(bare, word="refused", reason=f"its runs measure no {sweep.measure}")
    ended = "".join([outcome.message for outcome in found.values() if outcome.message][:1])
    value = fmean(seeds.values()) if len(seeds) == len(values) else None
    return replace(bare, value=value, seeds=seeds, reason=ended, leaks=leaks)


def _labels(sweep: Sweep, cell: Cell) -> list[str]:
    return [axis[at].label for axis, at in zip(sweep.axes, cell.place, strict=True)]


def _pick(entries: Sequence[TableCell], choose: Callable[..., TableCell]) -> TableCell:
    """The one with the lowest, or highest, value; not known as long as one of them may be it.

    What is refused cannot be chosen.
    """
    for word in ("failed", "waiting"):
        for entry in entries:
            if entry.word == word:
                return entry
    known = [entry for entry in entries if entry.value is not None]
    told = [entry for entry in entries if entry.leaks]  # without pictures there is no number
    return choose(known, key=lambda entry: entry.value) if known else [*told, *entries][0]


def lines(sweep: Sweep, outcomes: Mapping[str, CellResult]) -> Iterator[dict[str, Any]]:
    """Every run by itself, as a line of a table."""
    for cell in sweep.cells:
        named = dict(zip(("row", "column", "best", "worst"), _labels(sweep, cell), strict=True))
        known = outcomes.get(cell.key, UNKNOWN)
        ended = {"status": known.status, "message": known.message}
        if refused := cell.refused or known.refused:
            ended = {"status": "refused", "message": refused}
        leak = {} if sweep.measure != "leak" else _columns_of(known.leak)
        value = {sweep.measure: known.value(sweep)}
        yield named | {"seed": cell.seed} | ended | value | leak | _probed(sweep, known)


def _probed(sweep: Sweep, known: CellResult) -> dict[str, Any]:
    """What every probe came to, under its name."""
    found = known.probes or (None,) * len(sweep.probes)
    named = zip(sweep.probes, found, strict=True)
    return {
        f"{probe.attack.kind} of round {probe.round}: {name}": value
        for probe, leak in named
        for name, value in _columns_of(leak).items()
    }


def _columns_of(leak: AttackSummary | None) -> dict[str, Any]:
    """The rest of what the attack came to, for a file."""
    names = [each.name for each in fields(AttackSummary)]
    return asdict(leak) if leak else dict.fromkeys(names)


def _caption_of_leaks(sweep: Sweep) -> str:
    if sweep.infers:
        return (
            f"AUC of the membership attack{_seeds(sweep)}: 0.5 is chance{_shown(sweep)}. The worst "
            "of a row is its highest."
        )
    return (
        "What the attack gains: the PSNR of its pictures less that of the best guess without the "
        f"update, example by example, of which the median{_seeds(sweep)}; up to {GAIN:g} dB is no "
        f"leak{_shown(sweep)}. The worst of a row is its highest."
    )


def _seeds(sweep: Sweep) -> str:
    return f", mean of {len(sweep.seeds)} seeds" if len(sweep.seeds) > 1 else ""


def _shown(sweep: Sweep) -> str:
    inner = [f"the {axis} of {len(which)}" for axis, which in _inner(sweep).items() if which]
    return f"; each place shows {' against '.join(inner)}" if inner else ""


def _inner(sweep: Sweep) -> dict[str, tuple[Any, ...]]:
    return {"best": sweep.best, "worst": sweep.worst}
