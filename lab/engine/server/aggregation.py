"""Folding: what the server makes of the rows that it holds, by its stages and then its rule."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lab.common.settings import SettingError
from lab.experiment.experiment import Experiment
from lab.interfaces.aggregation import Aid, Verdict
from lab.interfaces.federated_algorithm import Memory
from lab.interfaces.messages import Cohort

REMEMBERED = "stage "  # begins the names in a state's memory of what stages keep


@dataclass(frozen=True, eq=False)
class Folded:
    """What came of the rows of one round."""

    step: Tensor  # (params,)
    memory: Memory  # of the stages, for the next round
    verdict: Verdict | None = None  # on each row; None: every one counts somewhere


def begun(now: Experiment, params: int) -> Memory:
    """What the stages remember before the first round."""
    return {
        _start(place, stage.kind) + name: value
        for place, stage in enumerate(now.stages)
        for name, value in stage.begin(now.data.clients, params).items()
    }


def remembered(now: Experiment, memory: Memory, params: int) -> Memory:
    """What the stages kept in the round before; other stages than then begin afresh."""
    fresh = begun(now, params)
    kept = {name: value for name, value in memory.items() if name.startswith(REMEMBERED)}
    same = fresh.keys() == kept.keys() and all(kept[k].shape == fresh[k].shape for k in fresh)
    return kept if same else fresh


def fold(
    now: Experiment, rows: Tensor, weights: Tensor, cohort: Cohort, memory: Memory, aid: Aid
) -> Folded:
    """rows (rows, params), weights (rows,), of `cohort.clients` one by one

    memory: as `remembered`.  Autograd can go through it.
    """
    kept: dict[str, Tensor] = {}
    factors, shortened = torch.ones(len(rows)), False
    for place, stage in enumerate(now.stages):
        start = _start(place, stage.kind)
        mine = {k.removeprefix(start): memory[k] for k in memory if k.startswith(start)}
        made = stage.prepare(rows, weights, cohort, mine)
        kept |= {start + name: value.detach() for name, value in made.memory.items()}
        if made.factors is not None and len(made.factors) == len(factors):
            factors, shortened = factors * made.factors.detach(), True
        rows, weights = made.rows, made.weights
    verdict = now.rule.judge(rows.detach(), weights, aid)
    if len(rows) < len(factors):  # a row of several clients' updates tells of none of them
        verdict, shortened = None, False
    elif verdict is None and shortened:
        verdict = Verdict(factors > 0, factors)
    elif verdict is not None and shortened:
        verdict = Verdict(verdict.kept & (factors > 0), verdict.factors * factors)
    return Folded(now.rule(rows, weights, aid), kept, verdict)


def shortage(now: Experiment, rows: int) -> str:
    """Why stages and rule can make nothing of so few rows; empty if they can."""
    there = rows
    for stage in now.stages:
        if there < stage.fewest():
            return f"{rows} updates arrived and {stage.kind} needs {stage.fewest()}: no step"
        there = stage.leaves(there)
    if not (now.rule.needs_rows or now.stages):
        return ""
    if there < now.rule.fewest():
        left = "" if there == rows else f", {there} rows are left"
        return (
            f"{rows} updates arrived{left} and {now.rule.kind} needs {now.rule.fewest()}: no step"
        )
    try:
        now.rule.check(there)
    except SettingError as error:
        return f"{rows} updates arrived: {error}"
    return ""


def _start(place: int, kind: str) -> str:
    return f"{REMEMBERED}{place} {kind} "
