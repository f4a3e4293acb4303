"""Local training of a whole cohort at once: the models of many clients are one stack.

The cohort is cut into blocks of clients, which run side by side on single-threaded workers, so the
numbers do not depend on how many cores there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import torch
from torch import Tensor

from lab.common.random_streams import private_stream
from lab.common.threads import run_in_threads
from lab.engine.client.batched_sgd import Plan, Seat, blocks, plan_batches, shared_blocks, trained
from lab.engine.client.constrained_training import ConstrainedSteps
from lab.engine.data.federation import training_data
from lab.engine.data.malicious_clients import active_attackers
from lab.engine.data.public_examples import root_dataset
from lab.engine.differential_privacy.accountant import noise_multiplier
from lab.engine.differential_privacy.dp_sgd import DpSgdMechanism, StepMechanism
from lab.experiment.experiment import Experiment
from lab.interfaces.data import FederatedDataset
from lab.interfaces.federated_algorithm import ClientUpdates, LocalTask
from lab.interfaces.poisoning import TrainingConstraint


@torch.no_grad()
def train_cohort(
    experiment: Experiment,
    round: int,
    clients: Sequence[int],
    task: LocalTask,
    restraint: TrainingConstraint | None = None,
) -> ClientUpdates:
    """Train `clients` as the experiment asks in that round, and the task.

    restraint: what those who act maliciously mind besides

    What a client does is a function of (experiment, round, client, its part of the task) alone:
    this is the seam that another engine may fill.
    """
    now = experiment.at(round)
    federation, attackers = training_data(now, round), active_attackers(now, round)
    sizes = federation.sizes[list(clients)]
    guarded = now.privacy.kind == "example" and not task.stays
    noise = noise_multiplier(experiment, round) if guarded else 0.0
    plans = [plan_batches(now, federation.held(client), round, client, task) for client in clients]
    rows = task.start.new_zeros(len(clients), task.start.shape[-1])
    mixture = task.mixture and replace(
        task.mixture, own=task.mixture.own.clone(), share=task.mixture.share.clone()
    )

    def train(block: list[int]) -> None:
        chosen, mine = [plans[place] for place in block], task.of(block)
        guard = None
        if guarded:
            generators = [
                private_stream(now.seed, now.nonce, "example noise", round, clients[place])
                for place in block
            ]
            guard = DpSgdMechanism(now, noise, sizes[block], generators)
        constraint = None
        if restraint and not task.stays:
            bad = torch.tensor([clients[place] in attackers for place in block])
            constraint = ConstrainedSteps.on(
                now.architecture, restraint, bad, mine.start.expand(len(block), -1)
            )
        found, mixed = trained(now, federation, chosen, mine, guard, constraint)
        rows[block] = found
        if mixture and mixed:
            mixture.own[block], mixture.share[block] = mixed.own, mixed.share

    run_in_threads(train, blocks(plans, now, 2))
    return ClientUpdates(rows, sizes, mixture)


@dataclass(frozen=True, eq=False)
class FederationTask:
    """The cohort of one federation among several that train at once."""

    now: Experiment
    federation: FederatedDataset
    clients: tuple[int, ...]
    start: Tensor  # (params,)


@torch.no_grad()
def train_federations(lots: Sequence[FederationTask], round: int) -> list[Tensor]:
    """The cohorts of several federations over one pool, with one recipe; their seeds differ.

    -> of each: (clients, params) the change
    """
    now = lots[0].now
    guarded = now.privacy.kind == "example"
    multiplier = noise_multiplier(now, round) if guarded else 0.0
    rows = [lot.start.new_empty(len(lot.clients), len(lot.start)) for lot in lots]
    plans = [
        [
            plan_batches(lot.now, lot.federation.held(client), round, client, LocalTask(lot.start))
            for client in lot.clients
        ]
        for lot in lots
    ]

    def train(block: list[Seat]) -> None:
        there = [(lots[number], lots[number].clients[place]) for number, place in block]
        guard, first = None, block[0][0]
        if guarded:
            streams = [
                private_stream(lot.now.seed, lot.now.nonce, "example noise", round, client)
                for lot, client in there
            ]
            sizes = torch.stack([lot.federation.sizes[client] for lot, client in there])
            guard = DpSgdMechanism(now, multiplier, sizes, streams)
        alone = all(number == first for number, _ in block)
        start = lots[first].start if alone else torch.stack([lot.start for lot, _ in there])
        chosen = [plans[number][place] for number, place in block]
        # One pool for all of them, so that it is moved to a device once.
        found, _ = trained(now, lots[0].federation, chosen, LocalTask(start), guard, None)
        if block == [(first, place) for place in range(len(rows[first]))]:
            rows[first] = found  # copying takes as long as a small net takes to train
            return
        for (number, place), row in zip(block, found, strict=True):
            rows[number][place] = row

    run_in_threads(train, shared_blocks(plans, now))
    return rows


@torch.no_grad()
def train_centrally(experiment: Experiment, round: int, model: Tensor) -> Tensor:
    """What a round changes if one machine holds everybody's examples.  -> (params,)"""
    now = experiment.at(round)
    federation = training_data(now, round)
    held = torch.cat([federation.held(client) for client in federation.everyone])
    return _alone(now, federation, held, round, model)


@torch.no_grad()
def root_update(experiment: Experiment, round: int, model: Tensor) -> Tensor:
    """The server's own update, in as many steps as a client of average size.  -> (params,)"""
    now = experiment.at(round)
    federation, recipe = root_dataset(now), now.recipe
    held = federation.held(0)
    steps = max(1, recipe.local_steps(int(recipe.mean_size + 0.5)))
    epochs = ceil(steps * min(now.training.batch_size, len(held)) / len(held))
    return _alone(now, federation, held, round, model, epochs, steps)


@torch.no_grad()
def private_steps(
    now: Experiment,
    federation: FederatedDataset,
    batches: Plan,
    model: Tensor,
    mechanism: StepMechanism,
) -> None:
    """One client's local steps on those batches, for the sake of what the mechanism sees."""
    trained(now, federation, [batches], LocalTask(model), mechanism, None)


def _alone(
    now: Experiment,
    federation: FederatedDataset,
    held: Tensor,
    round: int,
    model: Tensor,
    epochs: int = 0,
    steps: int | None = None,
) -> Tensor:
    """Of somebody who is none of the clients; in so many steps at most."""
    task = LocalTask(model, epochs=epochs)
    plan = plan_batches(now, held, round, now.data.clients, task)[:steps]
    rows, _ = trained(now, federation, [plan], task, None, None)
    return rows[0]
