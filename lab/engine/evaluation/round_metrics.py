"""Measures: what a round's models are worth, on test examples and for each client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from lab.engine.carried_state import OwnMetrics
from lab.engine.data.federation import outside
from lab.engine.data.public_examples import test_data
from lab.engine.evaluation.fairness import as_rates, by_client, own_metrics
from lab.experiment.experiment import Experiment
from lab.interfaces.federated_algorithm import Memory
from lab.models.inputs import as_floats
from lab.models.metrics import evaluate, example_metrics, mean_loss, summary


def measure(
    now: Experiment,
    model: Tensor,
    memory: Memory,
    clients: Sequence[int],
    known: OwnMetrics | None,
) -> tuple[dict[str, Any], OwnMetrics | None]:
    """Return the fields of the record, and how good clients' own models are, if they have any.

    memory: the algorithm's; known: of the round before.  A client's own model is measured after
    each round that it took part in.
    """
    federation, algorithm = test_data(now), now.training.algorithm
    right, losses = example_metrics(
        now.architecture, model, federation.test_inputs, federation.test_labels
    )
    accuracy, loss = summary(right, losses)
    found = {"accuracy": accuracy, "loss": loss, "fairness": by_client(now, model, right)}
    found["backdoor"] = _backdoor(now, model)
    own = algorithm.own(model, memory, clients, now.architecture)
    if own is None:
        return found, None
    known = OwnMetrics.unknown(now.data.clients) if known is None else known
    known = known.updated(list(clients), own_metrics(now, own, clients))
    own_accuracy = as_rates(known.accuracy)
    found |= {"personal": own_accuracy, "single": as_rates(known.accuracy_on_all)}
    if not algorithm.common:
        there = ~known.accuracy_on_all.isnan()
        found |= {"accuracy": float(known.accuracy_on_all[there].mean()) if there.any() else 0.0}
        found |= {"loss": mean_loss(known.loss_on_all[there]), "fairness": own_accuracy}
    return found, known


def _backdoor(now: Experiment, model: Tensor) -> float | None:
    """How often marked test examples obey the attacker."""
    goal = goal_of(now)
    return evaluate(now.architecture, model, *goal)[0] if goal else None


def goal_of(now: Experiment) -> tuple[Tensor, Tensor] | None:
    """All test examples by which the attacker's success is measured, and the labels it wants."""
    if not now.adversary.count:
        return None
    federation, poison = test_data(now), now.adversary.attack
    inputs = as_floats(federation.test_inputs)
    return poison.goal(inputs, federation.test_labels, outside(now.data, poison, test=True))
