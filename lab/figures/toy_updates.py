"""Toys: ten updates in the plane, few enough to see what a part does to them.

Eight are of honest clients and two of malicious ones.  The parts are the lab's own, called on rows
of two numbers; nothing is drawn that was not computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from lab.common.random_streams import normal, random_stream
from lab.common.settings import SettingError
from lab.engine.data.federation import outside, whole
from lab.experiment.sections import DataSettings
from lab.interfaces.aggregation import (
    AggregationContext,
    AggregationRule,
    PreAggregator,
    UpdateTransform,
)
from lab.interfaces.data import Partition
from lab.interfaces.messages import Cohort
from lab.interfaces.poisoning import AdversaryKnowledge, DataPoisoningContext, PoisoningAttack
from lab.models.inputs import as_floats

HONEST, MALICIOUS = 8, 2
CENTRE = (1.0, 0.6)  # of honest updates
SPREAD = 0.35
FAR = ((-1.6, -1.0), (-1.4, -1.3))  # what malicious clients send to a rule
CLIENTS, CLASSES, EACH = 8, 10, 200  # of a toy split

Guard = TypeVar("Guard", AggregationRule, PreAggregator)


@dataclass(frozen=True, eq=False)
class ToyUpdates:
    """Updates before and after a part, and what they are combined to."""

    before: Tensor  # (rows, 2)
    malicious: Tensor  # (rows,) bool
    after: Tensor | None = None  # (rows after, 2)
    answer: Tensor | None = None  # (2,) of a rule
    right: Tensor | None = None  # (2,) the mean of honest updates


def of_rule(rule: AggregationRule) -> ToyUpdates:
    """Where the rule ends up, with two updates far from all others."""
    rows, cohort = _rows(lying=True), _cohort()
    right = rows[:HONEST].mean(dim=0)
    aid = AggregationContext(
        root=right + torch.tensor([0.15, -0.1])
    )  # an update of the server's own, as honest
    answer = _expecting(rule)(rows, cohort.weights, aid)
    return ToyUpdates(rows, cohort.malicious, answer=answer, right=right)


def of_stage(stage: UpdateTransform) -> ToyUpdates:
    """What becomes of the rows, with two far from all others where the stage is against them."""
    guards = isinstance(stage, PreAggregator)
    rows, cohort = _rows(lying=guards), _cohort()
    if isinstance(stage, PreAggregator):
        after = _expecting(stage).prepare(rows, cohort.weights, cohort, stage.begin(10, 2)).rows
    else:
        after = stage(rows, cohort)
    return ToyUpdates(rows, cohort.malicious, after=after)


def of_poison(poison: PoisoningAttack) -> ToyUpdates | None:
    """What two clients send in place of what they trained; None if they lie with data alone."""
    if type(poison).rows is PoisoningAttack.rows:
        return None
    rows, cohort = _rows(lying=False), _cohort()
    insight = AdversaryKnowledge(
        sent=torch.zeros(2),
        change=torch.tensor([0.9, 0.5]),
        fresh=torch.tensor([-0.8, 0.7]),
        fold=lambda given: given.mean(dim=0),
    )
    return ToyUpdates(rows, cohort.malicious, after=poison.rows(rows, cohort, insight))


@dataclass(frozen=True, eq=False)
class PoisonedExamples:
    """A malicious client's examples as they were, and as it trains on them."""

    before: Tensor  # (pictures, *shape)
    after: Tensor
    labels: tuple[tuple[str, str], ...]  # of each picture: the true one and the one trained on


def of_lie(poison: PoisoningAttack) -> PoisonedExamples | None:
    """What a poison makes of pictures of clothes; None if it leaves data alone."""
    if type(poison).data is PoisoningAttack.data:
        return None
    data = DataSettings()
    federation, classes = whole(data, 0), data.source.classes
    seen = federation.labels.tolist()
    held = torch.tensor([seen.index(label) for label in range(len(classes))])  # one of each
    inputs, labels = as_floats(federation.inputs[held]), federation.labels[held]
    scene = DataPoisoningContext(0, outside(data, poison, test=False))
    changed, meant = poison.data(inputs, labels, len(classes), scene)
    named = zip(labels.tolist(), meant.tolist(), strict=True)
    return PoisonedExamples(
        inputs, changed, tuple((classes[one], classes[other]) for one, other in named)
    )


def of_split(split: Partition) -> np.ndarray:
    """How many examples of each class each of eight clients gets.  -> (clients, classes)"""
    labels = np.repeat(np.arange(CLASSES), EACH)
    owners = np.arange(len(labels)) % CLIENTS
    shares = split(labels, owners, CLIENTS, random_stream(0, "toy split"))
    return np.stack([np.bincount(labels[share], minlength=CLASSES) for share in shares])


def _rows(lying: bool) -> Tensor:
    """-> (10, 2)"""
    honest = torch.tensor(CENTRE) + SPREAD * normal(random_stream(0, "toy"), HONEST + MALICIOUS, 2)
    return torch.cat([honest[:HONEST], torch.tensor(FAR)]) if lying else honest


def _cohort() -> Cohort:
    everyone = HONEST + MALICIOUS
    return Cohort(
        seed=0,
        round=1,
        clients=tuple(range(everyone)),
        weights=torch.full((everyone,), 30.0),
        malicious=torch.arange(everyone) >= HONEST,
        lost=torch.zeros(everyone, dtype=torch.bool),
        expected=float(everyone),
        layers=(2,),
    )


def _expecting(part: Guard) -> Guard:
    """Told how many are malicious, if it wants to know and can bear so many among ten."""
    if "faulty" not in type(part).model_fields:
        return part
    told = part.model_copy(update={"faulty": MALICIOUS})
    try:
        told.check(HONEST + MALICIOUS)
    except SettingError:
        return part
    return told
