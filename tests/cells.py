"""Sweeps that are carried out, and parts of them, which tests of sweeps in the store share."""

from __future__ import annotations

from typing import Any

from lab.grid import Grid, Standing
from lab.hands import carried_out
from lab.sweep import Sweep

PATIENCE = 90.0  # seconds, on a machine that is busy with other things
ALL = Standing(total=8, finished=8, failed=0, open=0)


def whole(grid: Grid) -> Standing:
    """Carried out to its end."""
    *_, last = carried_out(grid, 1)
    return last


def only(grid: Grid, **changed: Any) -> Grid:
    return Grid(grid.store, Sweep.read(grid.sweep.dump() | changed))
