"""Sweeps that are carried out, and parts of them, which tests of sweeps in the store share."""

from __future__ import annotations

from typing import Any

from lab.jobs.local_sweep import run_sweep_locally
from lab.storage.sweep_runs import SweepProgress, SweepRuns
from lab.sweeps.sweep import Sweep

PATIENCE = 90.0  # seconds, on a machine that is busy with other things
ALL = SweepProgress(total=8, finished=8, failed=0, open=0)


def whole(grid: SweepRuns) -> SweepProgress:
    """Carried out to its end."""
    *_, last = run_sweep_locally(grid, 1)
    return last


def only(grid: SweepRuns, **changed: Any) -> SweepRuns:
    return SweepRuns(grid.store, Sweep.read(grid.sweep.dump() | changed))
