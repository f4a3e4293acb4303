"""Local training of a whole cohort at once: the models of many clients are one stack.

The cohort is cut into blocks of clients, which run side by side on single-threaded workers, so the
numbers do not depend on how many cores there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import torch
from torch import Tensor

from lab.common.random_streams import private_stream
from lab.common.threads import side_by_side
from lab.engine.client.batches import batches
from lab.engine.client.compute_device import device_of, moved
from lab.engine.client.constrained_training import Leash
from lab.engine.client.model_mixture import Mixing
from lab.engine.data.federation import acting, poisoned
from lab.engine.data.public_examples import root_of
from lab.engine.differential_privacy.accountant import noise_multiplier
from lab.engine.differential_privacy.dp_sgd import Guard, Mechanism
from lab.experiment.experiment import Experiment
from lab.interfaces.data import Federation
from lab.interfaces.messages import Mixture, Task, Updates
from lab.interfaces.poisoning import Restraint
from lab.models.opacus_gradients import sampled_visits
from lab.models.stacked_gradients import (
    Stack,
    Visit,
    descend,
    drag,
    flattened,
    head,
    rounded,
    stacked,
    visits,
)

BLOCK = 10  # dense models stacked at most: measured fastest
Plan = list[np.ndarray]  # pool indices, an array for each local step
Seat = tuple[int, int]  # a lot, and the place of one of its clients


@torch.no_grad()
def cohort(
    experiment: Experiment,
    round: int,
    clients: Sequence[int],
    task: Task,
    restraint: Restraint | None = None,
) -> Updates:
    """Train `clients` as the experiment asks in that round, and the task.

    restraint: what those who act maliciously mind besides

    What a client does is a function of (experiment, round, client, its part of the task) alone:
    this is the seam that another engine may fill.
    """
    now = experiment.at(round)
    federation, gang = poisoned(now, round), acting(now, round)
    sizes = federation.sizes[list(clients)]
    guarded = now.privacy.kind == "example" and not task.stays
    noise = noise_multiplier(experiment, round) if guarded else 0.0
    plans = [_plan(now, federation.held(client), round, client, task) for client in clients]
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
            guard = Guard(now, noise, sizes[block], generators)
        leash = None
        if restraint and not task.stays:
            bad = torch.tensor([clients[place] in gang for place in block])
            leash = Leash.on(now.architecture, restraint, bad, mine.start.expand(len(block), -1))
        found, mixed = _trained(now, federation, chosen, mine, guard, leash)
        rows[block] = found
        if mixture and mixed:
            mixture.own[block], mixture.share[block] = mixed.own, mixed.share

    side_by_side(train, _blocks(plans, now, 2))
    return Updates(rows, sizes, mixture)


@dataclass(frozen=True, eq=False)
class Lot:
    """The cohort of one federation among several that train at once."""

    now: Experiment
    federation: Federation
    clients: tuple[int, ...]
    start: Tensor  # (params,)


@torch.no_grad()
def together(lots: Sequence[Lot], round: int) -> list[Tensor]:
    """The cohorts of several federations over one pool, with one recipe; their seeds differ.

    -> of each: (clients, params) the change
    """
    now = lots[0].now
    guarded = now.privacy.kind == "example"
    multiplier = noise_multiplier(now, round) if guarded else 0.0
    rows = [lot.start.new_empty(len(lot.clients), len(lot.start)) for lot in lots]
    plans = [
        [
            _plan(lot.now, lot.federation.held(client), round, client, Task(lot.start))
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
            guard = Guard(now, multiplier, sizes, streams)
        alone = all(number == first for number, _ in block)
        start = lots[first].start if alone else torch.stack([lot.start for lot, _ in there])
        chosen = [plans[number][place] for number, place in block]
        # One pool for all of them, so that it is moved to a device once.
        found, _ = _trained(now, lots[0].federation, chosen, Task(start), guard, None)
        if block == [(first, place) for place in range(len(rows[first]))]:
            rows[first] = found  # copying takes as long as a small net takes to train
            return
        for (number, place), row in zip(block, found, strict=True):
            rows[number][place] = row

    side_by_side(train, _shared_blocks(plans, now))
    return rows


@torch.no_grad()
def pooled(experiment: Experiment, round: int, model: Tensor) -> Tensor:
    """What a round changes if one machine holds everybody's examples.  -> (params,)"""
    now = experiment.at(round)
    federation = poisoned(now, round)
    held = torch.cat([federation.held(client) for client in federation.everyone])
    return _alone(now, federation, held, round, model)


@torch.no_grad()
def trusted(experiment: Experiment, round: int, model: Tensor) -> Tensor:
    """The server's own update, in as many steps as a client of average size.  -> (params,)"""
    now = experiment.at(round)
    federation, recipe = root_of(now), now.recipe
    held = federation.held(0)
    steps = max(1, recipe.local_steps(int(recipe.mean_size + 0.5)))
    epochs = ceil(steps * min(now.training.batch_size, len(held)) / len(held))
    return _alone(now, federation, held, round, model, epochs, steps)


@torch.no_grad()
def private_steps(
    now: Experiment, federation: Federation, batches: Plan, model: Tensor, mechanism: Mechanism
) -> None:
    """One client's local steps on those batches, for the sake of what the mechanism sees."""
    _trained(now, federation, [batches], Task(model), mechanism, None)


def _alone(
    now: Experiment,
    federation: Federation,
    held: Tensor,
    round: int,
    model: Tensor,
    epochs: int = 0,
    steps: int | None = None,
) -> Tensor:
    """Of somebody who is none of the clients; in so many steps at most."""
    task = Task(model, epochs=epochs)
    plan = _plan(now, held, round, now.data.clients, task)[:steps]
    rows, _ = _trained(now, federation, [plan], task, None, None)
    return rows[0]


def _blocks(plans: Sequence[Plan], now: Experiment, fewest: int) -> list[list[int]]:
    """Places of like length, so that no client waits long for the others of its block.

    fewest: blocks, where there are clients enough, so that other cores are used
    """
    order = sorted(range(len(plans)), key=lambda place: -len(plans[place]))
    blocks = max(fewest, -(-len(order) // BLOCK))
    width = max(1, -(-len(order) // blocks))
    if any(layer.one_by_one for layer in now.architecture.layers):
        width = 1
    return [order[start : start + width] for start in range(0, len(order), width)]


def _shared_blocks(plans: Sequence[Sequence[Plan]], now: Experiment) -> list[list[Seat]]:
    """Blocks of each lot by itself, and of several lots together where those are small."""
    found: list[list[Seat]] = []
    for number, mine in enumerate(plans):
        for places in _blocks(mine, now, 1):
            block = [(number, place) for place in places]
            small = len(places) > 1 and found and len(found[-1]) + len(places) <= BLOCK
            if small and len(places) == len(mine):
                found[-1].extend(block)
            else:
                found.append(block)
    for block in found:
        block.sort(key=lambda seat: -len(plans[seat[0]][seat[1]]))
    return found


def _plan(now: Experiment, held: Tensor, round: int, client: int, task: Task) -> Plan:
    if task.whole:
        return [held.numpy()] if len(held) else []
    return [held.numpy()[batch] for batch in batches(now, round, client, len(held), task.epochs)]


def _trained(
    now: Experiment,
    federation: Federation,
    plans: list[Plan],
    task: Task,
    guard: Mechanism | None,
    leash: Leash | None,
) -> tuple[Tensor, Mixture | None]:
    """Local SGD of a block, the longest plan first.  -> (clients, params) the change

    Computes on the experiment's device, and answers where it was asked.
    """
    network, rate = now.architecture, now.training.rate
    home, device = task.start.device, device_of(now.training.device)
    federation, task = moved(federation, device), task.moved(device)
    begun = task.start.expand(len(plans), -1)
    stack = stacked(network, begun)
    # A single step is the change itself: taken from the weights, it would lose its last digits.
    once = task.whole or (now.recipe.cap == 1 and not task.epochs)
    target = stacked(network, torch.zeros_like(begun)) if once else stack
    fixed = task.start if task.anchor is None else task.anchor
    anchor = stacked(network, fixed.view(-1, fixed.shape[-1]))  # of each, or one for all
    push = None if task.drift.push is None else stacked(network, task.drift.push)
    # The only step from the anchor itself feels no pull.
    pull = 0.0 if once and task.anchor is None else task.drift.pull
    mixing = task.mixture and Mixing(network, task.mixture)
    for index, mask in _steps(plans):
        inputs, labels = federation.examples(index.to(device))
        inputs, mask = inputs.to(begun.dtype), mask.to(device, begun.dtype)
        training, changing = head(stack, len(index)), head(target, len(index))
        if mixing:
            mixing.descend(training, inputs, labels, _shares(mask), rate)
        # The slopes are taken before anything moves, the guarded ones as well.
        found = _slopes(now, training, inputs, labels, mask, task, guard)
        here = head(anchor, len(index))
        drag(changing, training, here, pull, head(push, len(index)) if push else None, rate)
        if leash:
            leash.draw_back(training, changing, rate)
        if guard:
            guard.descend(changing, found, mask)
        else:
            descend(changing, found, rate)
        if leash:
            leash.hold(changing, whole=not once)
    mixture = mixing.mixture().moved(home) if mixing else None
    changed = flattened(target)
    return (changed if once else changed.sub_(begun)).to(home), mixture


def _slopes(
    now: Experiment,
    training: Stack,
    inputs: Tensor,
    labels: Tensor,
    mask: Tensor,
    task: Task,
    guard: Mechanism | None,
) -> list[Visit]:
    """Of the layers that the task moves."""
    if not mask.numel():
        return []
    network = now.architecture
    if task.ahead:
        # Every other example shows the way, and the rest say where it should lead.
        scouts = mask.clone()
        scouts[:, 1::2] = 0
        rest = torch.where(mask.sum(dim=1, keepdim=True) > 1, mask - scouts, mask)
        training = [[part.clone() for part in own] for own in training]
        scouted = visits(network, training, inputs, labels, _shares(scouts))
        descend(training, scouted, task.ahead)
        mask = rest
    precision = torch.bfloat16 if now.training.precision == "bfloat16" else inputs.dtype
    training, inputs = rounded(training, precision), inputs.to(precision)
    if guard and now.privacy.backend == "opacus":
        found = sampled_visits(network, training, inputs, labels)
    else:
        found = visits(network, training, inputs, labels, None if guard else _shares(mask))
    return [visit for visit in found if not task.layers or visit.layer.name in task.layers]


def _shares(mask: Tensor) -> Tensor:
    """What each example counts in the mean of its batch."""
    return mask / mask.sum(dim=1, keepdim=True).clamp_min(1)


def _steps(plans: list[list[np.ndarray]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Step by step, for those who still train: pool indices (clients, batch), and which count.

    Shorter batches are padded with example 0, which the mask leaves out.
    """
    for step in range(len(plans[0])):
        picked = [plan[step] for plan in plans if len(plan) > step]
        sizes = np.array([len(batch) for batch in picked])
        mask = np.arange(sizes.max()) < sizes[:, None]  # (clients, batch)
        index = np.zeros(mask.shape, np.int64)
        index[mask] = np.concatenate(picked)
        yield torch.from_numpy(index), torch.from_numpy(mask)
