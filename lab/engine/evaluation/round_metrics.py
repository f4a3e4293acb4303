"""Measures: what a round's models are worth, on test examples and for each client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lab.engine.data.federation import outside
from lab.engine.data.public_examples import tested
from lab.engine.evaluation.fairness import as_rates, by_client, own_marks
from lab.experiment.experiment import Experiment
from lab.interfaces.federated_algorithm import Memory
from lab.models.inputs import as_floats
from lab.models.metrics import evaluate, marks, summary

MARKS = (
    "marks"  # in a state's memory: (clients, 3) of each client's own model, when it last had one
)


def measure(
    now: Experiment, model: Tensor, memory: Memory, clients: Sequence[int], known: Tensor | None
) -> tuple[dict[str, Any], Memory]:
    """The fields of the record, and what to remember.  A client's own model is measured after each
    round that it took part in.
    """
    federation, algorithm = tested(now), now.training.algorithm
    right, losses = marks(now.architecture, model, federation.test_inputs, federation.test_labels)
    accuracy, loss = summary(right, losses)
    found = {"accuracy": accuracy, "loss": loss, "fairness": by_client(now, model, right)}
    found["backdoor"] = _backdoor(now, model)
    own = algorithm.own(model, memory, clients, now.architecture)
    if own is None:
        return found, {}
    known = torch.full((now.data.clients, 3), torch.nan) if known is None else known.clone()
    known[list(clients)] = own_marks(now, own, clients)
    found |= {"personal": as_rates(known[:, 0]), "single": as_rates(known[:, 1])}
    if not algorithm.common:
        _, single, losses = known[~known[:, 1].isnan()].T
        found |= {"accuracy": float(single.mean()) if len(single) else 0.0}
        found |= {"loss": summary(single > 2, losses)[1], "fairness": found["personal"]}
    return found, {MARKS: known}


def _backdoor(now: Experiment, model: Tensor) -> float | None:
    """How often marked test examples obey the attacker."""
    goal = goal_of(now)
    return evaluate(now.architecture, model, *goal)[0] if goal else None


def goal_of(now: Experiment) -> tuple[Tensor, Tensor] | None:
    """All test examples by which the attacker's success is measured, and the labels it wants."""
    if not now.adversary.count:
        return None
    federation, poison = tested(now), now.adversary.poison
    inputs = as_floats(federation.test_inputs)
    return poison.goal(inputs, federation.test_labels, outside(now.data, poison, test=True))
