"""Sweeps for tests: two rules by two attacks, and tables whose runs ended at given values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lab.sweeps.cell_result import CellResult
from lab.sweeps.result_table import ResultTable, result_table
from lab.sweeps.sweep import Sweep

GRID = """
title = "Two by two"
seeds = [0, 1]
[experiment.data]
source = "digits"
clients = 5
[experiment.training]
rounds = 2
[[rows]]
label = "mean"
[[rows]]
label = "Krum"
set = { "aggregation.rule" = { kind = "krum", faulty = 1 } }
[[columns]]
label = "none"
[[columns]]
label = "flip"
set = { "adversary.count" = 1, "adversary.attack.kind" = "label-flip" }
"""


def sweep(**changed: Any) -> Sweep:
    return Sweep.read(Sweep.from_toml(GRID).dump() | changed)


def axis(path: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"label": f"{path} {value}", "set": {path: value}} for value in values]


def filled(swept: Sweep, values: Sequence[float | None]) -> ResultTable:
    """The table of runs that ended at these values, in the order of the cells; None: not yet."""
    known = zip(swept.cells, values, strict=True)
    return result_table(
        swept,
        {
            cell.key: CellResult("finished", "", (0.5, value), (0.5, value))
            for cell, value in known
            if value is not None
        },
    )
