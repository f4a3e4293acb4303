"""Studies for tests: two epsilons by masks, and what their runs might have ended at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lab.sweeps.cell_result import AttackSummary, CellResult
from lab.sweeps.tradeoff_study import Study

QUICK = """
title = "Two by two"
seeds = [0, 1]
epsilons = [0, 8]
masks = [false, true]
[experiment.data]
source = "digits"
clients = 5
[experiment.model]
kind = "mlp"
hidden = 16
[experiment.training]
rounds = 2
steps = 1
batch_size = 1
"""
Ended = tuple[tuple[float, ...], tuple[float, ...]]  # accuracy and AUC, both under each seed
ENDED: tuple[Ended | None, ...] = (
    ((0.8, 0.9), (0.7, 0.7)),
    ((0.6, 0.6), (0.6, 0.6)),
    ((0.5, 0.5), (0.4, 0.5)),
    None,
)


def quick(**changed: Any) -> Study:
    return Study.read(Study.from_toml(QUICK).dump() | changed)


def outcome(accuracy: float, auc: float) -> CellResult:
    rebuilt = AttackSummary(
        "first-layer", 1, 0, "1", "0.5", "exact", 90.0, floor=10.0, gain=80.0, identified=1.0
    )
    asked = AttackSummary("loss-threshold", 2, None, "", "0.5", "members stand out", auc=auc)
    return CellResult("finished", "", (0.1, accuracy), (None, None), probes=(rebuilt, asked))


def ended(study: Study, values: Sequence[Ended | None] = ENDED) -> dict[str, CellResult]:
    """What a grid would have, by combination; None: it has not run yet."""
    cells, found = iter(study.sweep.cells), {}
    for pair in values:
        mine = [next(cells) for _ in study.seeds]
        if pair is not None:
            for cell, accuracy, auc in zip(mine, *pair, strict=True):
                found[cell.key] = outcome(accuracy, auc)
    return found
