"""Stochastic gradient descent of many clients at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from lab.engine.client.batches import batches
from lab.engine.client.compute_device import device_of, moved
from lab.engine.client.constrained_training import Leash
from lab.engine.client.model_mixture import Mixing
from lab.engine.differential_privacy.dp_sgd import Mechanism
from lab.experiment.experiment import Experiment
from lab.interfaces.data import Federation
from lab.interfaces.federated_algorithm import Mixture, Task
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


def blocks(plans: Sequence[Plan], now: Experiment, fewest: int) -> list[list[int]]:
    """Places of like length, so that no client waits long for the others of its block.

    fewest: blocks, where there are clients enough, so that other cores are used
    """
    order = sorted(range(len(plans)), key=lambda place: -len(plans[place]))
    blocks = max(fewest, -(-len(order) // BLOCK))
    width = max(1, -(-len(order) // blocks))
    if any(layer.one_by_one for layer in now.architecture.layers):
        width = 1
    return [order[start : start + width] for start in range(0, len(order), width)]


def shared_blocks(plans: Sequence[Sequence[Plan]], now: Experiment) -> list[list[Seat]]:
    """Blocks of each lot by itself, and of several lots together where those are small."""
    found: list[list[Seat]] = []
    for number, mine in enumerate(plans):
        for places in blocks(mine, now, 1):
            block = [(number, place) for place in places]
            small = len(places) > 1 and found and len(found[-1]) + len(places) <= BLOCK
            if small and len(places) == len(mine):
                found[-1].extend(block)
            else:
                found.append(block)
    for block in found:
        block.sort(key=lambda seat: -len(plans[seat[0]][seat[1]]))
    return found


def plan_batches(now: Experiment, held: Tensor, round: int, client: int, task: Task) -> Plan:
    if task.whole:
        return [held.numpy()] if len(held) else []
    return [held.numpy()[batch] for batch in batches(now, round, client, len(held), task.epochs)]


def trained(
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
    for index, mask in steps(plans):
        inputs, labels = federation.examples(index.to(device))
        inputs, mask = inputs.to(begun.dtype), mask.to(device, begun.dtype)
        training, changing = head(stack, len(index)), head(target, len(index))
        if mixing:
            mixing.descend(training, inputs, labels, shares(mask), rate)
        # The slopes are taken before anything moves, the guarded ones as well.
        found = slopes(now, training, inputs, labels, mask, task, guard)
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


def slopes(
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
        scouted = visits(network, training, inputs, labels, shares(scouts))
        descend(training, scouted, task.ahead)
        mask = rest
    precision = torch.bfloat16 if now.training.precision == "bfloat16" else inputs.dtype
    training, inputs = rounded(training, precision), inputs.to(precision)
    if guard and now.privacy.backend == "opacus":
        found = sampled_visits(network, training, inputs, labels)
    else:
        found = visits(network, training, inputs, labels, None if guard else shares(mask))
    return [visit for visit in found if not task.layers or visit.layer.name in task.layers]


def shares(mask: Tensor) -> Tensor:
    """What each example counts in the mean of its batch."""
    return mask / mask.sum(dim=1, keepdim=True).clamp_min(1)


def steps(plans: list[list[np.ndarray]]) -> Iterator[tuple[Tensor, Tensor]]:
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
