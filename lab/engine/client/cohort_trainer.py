"""The cohort of a round, and the handle by which an algorithm trains it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lab.engine.client.local_training import train_centrally, train_cohort
from lab.engine.data.federation import federated_dataset, training_data
from lab.engine.data.malicious_clients import active_attackers
from lab.engine.participation.async_schedule import async_round
from lab.engine.participation.cohort_sampling import dropped_clients
from lab.experiment.experiment import Experiment
from lab.interfaces.federated_algorithm import CohortReport, CohortTrainer, LocalResult, Memory
from lab.interfaces.messages import Cohort
from lab.interfaces.poisoning import NO_KNOWLEDGE, AdversaryKnowledge
from lab.models.metrics import evaluate


@dataclass(frozen=True, eq=False)
class Training:
    """What came of the local training of a round."""

    local: LocalResult
    report: CohortReport
    updates: Tensor  # (clients, shared) to be sent


def cohort_trainer(
    experiment: Experiment,
    round: int,
    clients: tuple[int, ...],
    insight: AdversaryKnowledge = NO_KNOWLEDGE,
) -> CohortTrainer:
    """insight: of malicious clients, as far as they have it before they train"""
    now = experiment.at(round)
    restraint = now.adversary.attack.restrain(insight) if active_attackers(now, round) else None
    versions: tuple[int, ...] = ()
    waiting: tuple[int, ...] = ()
    if now.training.algorithm.asynchronous:
        landed = async_round(experiment, round)
        versions = tuple(flight.version for flight in landed.flights)
        waiting = tuple(flight.version for flight in landed.waiting)
    return CohortTrainer(
        network=now.architecture,
        seed=now.seed,
        round=round,
        rate=now.training.rate,
        clients=clients,
        learn=lambda task: train_cohort(experiment, round, clients, task, restraint),
        losses=lambda models: _losses(now, round, clients, models),
        pooled=lambda model: train_centrally(experiment, round, model),
        versions=versions,
        waiting=waiting,
    )


def train_clients(
    now: Experiment, trainer: CohortTrainer, cohort: Cohort, sent: Tensor, memory: Memory
) -> Training:
    """Train the cohort by its algorithm from the model `sent` (params,)."""
    algorithm = now.training.algorithm
    local = algorithm.train(trainer, sent, memory)
    report = report_of(now, cohort, local, sent)
    factors = algorithm.factors(report, memory)
    updates = local.rows if factors is None else local.rows * factors.unsqueeze(1)
    return Training(local, report, updates)


def _losses(now: Experiment, round: int, clients: Sequence[int], models: Tensor) -> Tensor:
    """Of each model on each client's own examples.  models (models, params) -> (clients, models)"""
    federation, found = training_data(now, round), torch.zeros(len(clients), len(models))
    for place, client in enumerate(clients):
        held = federation.examples(federation.held(client))
        for number, model in enumerate(models):
            loss = evaluate(now.architecture, model, *held)[1]
            found[place, number] = torch.inf if loss is None else loss
    return found


def report_of(now: Experiment, cohort: Cohort, local: LocalResult, sent: Tensor) -> CohortReport:
    losses, sizes = None, federated_dataset(now).sizes[list(cohort.clients)].tolist()
    if now.training.algorithm.needs_losses:
        losses = _losses(now, cohort.round, cohort.clients, sent.unsqueeze(0))[:, 0]
    return CohortReport(
        everyone=now.data.clients,
        clients=cohort.clients,
        arrived=~cohort.lost,
        weights=cohort.weights,
        steps=torch.tensor([now.recipe.local_steps(size) for size in sizes]),
        rows=local.rows,
        rate=now.training.rate,
        losses=losses,
        expected=cohort.expected if now.privacy.kind == "client" else None,
        local=local,
    )


def cohort_of(experiment: Experiment, round: int, clients: tuple[int, ...]) -> Cohort:
    now = experiment.at(round)
    bad, gone = set(active_attackers(now, round)), set(dropped_clients(now, round))
    sizes, lasted = federated_dataset(now).sizes[list(clients)], None
    if now.training.algorithm.asynchronous and now.network.devices != "none":
        lasted = async_round(experiment, round).lasted
    bad_ones = torch.tensor([client in bad for client in clients], dtype=torch.bool)
    weights = sizes.float() if now.recipe.weighted else torch.ones(len(clients))
    if bad and now.recipe.weighted:
        weights = now.adversary.attack.claims(weights, bad_ones)
        if now.secure_aggregation.enabled:  # the ring of masked sums has room for no larger one
            weights = weights.clamp_max(float(federated_dataset(now).sizes.max()))
    return Cohort(
        seed=now.seed,
        nonce=now.nonce,
        round=round,
        clients=clients,
        weights=weights,
        malicious=bad_ones,
        lost=torch.tensor([client in gone for client in clients], dtype=torch.bool),
        expected=float(now.cohort_size),
        seen=torch.tensor([now.recipe.seen(size) for size in sizes.tolist()]),
        lasted=lasted,
        layers=now.architecture.sizes(now.training.algorithm.shared(now.architecture)),
    )
