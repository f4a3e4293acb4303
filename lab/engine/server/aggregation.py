"""Aggregation: the pre-aggregators one after the other, then the aggregation rule."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lab.common.settings import SettingError
from lab.engine.carried_state import PreAggregatorMemory
from lab.experiment.experiment import Experiment
from lab.interfaces.aggregation import AggregationContext, AggregationDecision
from lab.interfaces.messages import Cohort


@dataclass(frozen=True, eq=False)
class AggregationResult:
    """What came of the rows of one round."""

    step: Tensor  # (params,)
    memory: tuple[PreAggregatorMemory, ...]  # for the next round
    verdict: AggregationDecision | None = None  # on each row; None: every one counts somewhere


def begun(now: Experiment, params: int) -> tuple[PreAggregatorMemory, ...]:
    """Return what the pre-aggregators remember before the first round."""
    clients = now.data.clients
    return tuple(
        PreAggregatorMemory(stage.kind, stage.begin(clients, params))
        for stage in now.aggregation.pre_aggregators
    )


def remembered(
    now: Experiment, kept: tuple[PreAggregatorMemory, ...], params: int
) -> tuple[PreAggregatorMemory, ...]:
    """Return what the round before has kept; other pre-aggregators than then begin afresh."""
    fresh = begun(now, params)
    return kept if [_form(one) for one in kept] == [_form(one) for one in fresh] else fresh


def _form(memory: PreAggregatorMemory) -> tuple[str, dict[str, torch.Size]]:
    return memory.kind, {name: value.shape for name, value in memory.tensors.items()}


def aggregate(
    now: Experiment,
    rows: Tensor,
    weights: Tensor,
    cohort: Cohort,
    memory: tuple[PreAggregatorMemory, ...],
    aid: AggregationContext,
) -> AggregationResult:
    """rows (rows, params), weights (rows,), of `cohort.clients` one by one

    memory: as `remembered`.  Autograd can go through it.
    """
    kept: list[PreAggregatorMemory] = []
    factors = torch.ones(len(rows))
    shortened = False
    for stage, before in zip(now.aggregation.pre_aggregators, memory, strict=True):
        made = stage.prepare(rows, weights, cohort, before.tensors)
        after = {name: value.detach() for name, value in made.memory.items()}
        kept.append(PreAggregatorMemory(stage.kind, after))
        if made.factors is not None and len(made.factors) == len(factors):
            factors = factors * made.factors.detach()
            shortened = True
        rows, weights = made.rows, made.weights
    verdict = now.aggregation.rule.judge(rows.detach(), weights, aid)
    if len(rows) < len(factors):  # a row of several clients' updates tells of none of them
        verdict, shortened = None, False
    elif verdict is None and shortened:
        verdict = AggregationDecision(factors > 0, factors)
    elif verdict is not None and shortened:
        verdict = AggregationDecision(verdict.kept & (factors > 0), verdict.factors * factors)
    return AggregationResult(now.aggregation.rule(rows, weights, aid), tuple(kept), verdict)


def shortage(now: Experiment, rows: int) -> str:
    """Why pre-aggregators and rule can make nothing of so few rows; empty if they can."""
    rule = now.aggregation.rule
    there = rows
    for stage in now.aggregation.pre_aggregators:
        if there < stage.fewest():
            return f"{rows} updates arrived and {stage.kind} needs {stage.fewest()}: no step"
        there = stage.leaves(there)
    if not (rule.needs_rows or now.aggregation.pre_aggregators):
        return ""
    if there < rule.fewest():
        left = "" if there == rows else f", {there} rows are left"
        return f"{rows} updates arrived{left} and {rule.kind} needs {rule.fewest()}: no step"
    try:
        rule.check(there)
    except SettingError as error:
        return f"{rows} updates arrived: {error}"
    return ""
