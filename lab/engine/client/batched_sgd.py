"""Stochastic gradient descent of many clients at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lab.engine.client.batches import batches
from lab.engine.client.compute_device import device_of, moved
from lab.engine.client.constrained_training import ConstrainedSteps
from lab.engine.client.model_mixture import MixtureSteps
from lab.engine.differential_privacy.dp_sgd import StepMechanism
from lab.experiment.experiment import Experiment
from lab.interfaces.data import FederatedDataset
from lab.interfaces.federated_algorithm import LocalTask, ModelMixture
from lab.models.opacus_gradients import sampled_visits
from lab.models.stacked_gradients import (
    LayerGradients,
    StackedParameters,
    backward,
    flattened,
    gradient_step,
    head,
    proximal_step,
    rounded,
    stacked,
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


def plan_batches(now: Experiment, held: Tensor, round: int, client: int, task: LocalTask) -> Plan:
    if task.whole:
        return [held.numpy()] if len(held) else []
    return [held.numpy()[batch] for batch in batches(now, round, client, len(held), task.epochs)]


@dataclass(frozen=True, eq=False)
class LocalStep:
    """One step of the clients of a block who still train."""

    models: StackedParameters
    target: StackedParameters  # what the step moves: the models, or in a single step their change
    inputs: Tensor  # (clients, batch, *shape)
    labels: Tensor  # (clients, batch)
    mask: Tensor  # (clients, batch) 0 for padding
    gradients: list[LayerGradients]  # at the models, before anything moves


StepRule = Callable[[LocalStep], None]  # does its part of a step, in place


def trained(
    now: Experiment,
    federation: FederatedDataset,
    plans: list[Plan],
    task: LocalTask,
    guard: StepMechanism | None,
    constraint: ConstrainedSteps | None,
) -> tuple[Tensor, ModelMixture | None]:
    """Local SGD of a block, the longest plan first.  -> (clients, params) the change

    Computes on the experiment's device, and answers where it was asked.
    """
    network = now.architecture
    home, device = task.start.device, device_of(now.training.device)
    federation, task = moved(federation, device), task.moved(device)
    begun = task.start.expand(len(plans), -1)
    stack = stacked(network, begun)
    # A single step is the change itself: taken from the weights, it would lose its last digits.
    single = task.whole or (now.recipe.cap == 1 and not task.epochs)
    target = stacked(network, torch.zeros_like(begun)) if single else stack
    mixing = MixtureSteps(network, task.mixture) if task.mixture else None
    rules = rules_of(now, task, single, mixing, guard, constraint)
    gradients = Gradients(now, task, guard is not None)
    for index, mask in steps(plans):
        inputs, labels = federation.examples(index.to(device))
        inputs, mask = inputs.to(begun.dtype), mask.to(device, begun.dtype)
        models = head(stack, len(index))
        slopes = gradients(models, inputs, labels, mask)
        step = LocalStep(models, head(target, len(index)), inputs, labels, mask, slopes)
        for rule in rules:
            rule(step)
    mixture = mixing.mixture().moved(home) if mixing else None
    changed = flattened(target)
    return (changed if single else changed.sub_(begun)).to(home), mixture


def rules_of(
    now: Experiment,
    task: LocalTask,
    single: bool,
    mixing: MixtureSteps | None,
    guard: StepMechanism | None,
    constraint: ConstrainedSteps | None,
) -> list[StepRule]:
    """Return what each step does, in order.  single: there is one step, and it starts at zero"""
    rate = now.training.rate
    rules: list[StepRule] = []
    if mixing:
        rules.append(lambda step: _mix(mixing, step, rate))
    rules.append(_correction(now, task, single))
    if constraint:
        rules.append(lambda step: constraint.draw_back(step.models, step.target, rate))
    if guard:
        rules.append(lambda step: guard.descend(step.target, step.gradients, step.mask))
    else:
        rules.append(lambda step: gradient_step(step.target, step.gradients, rate))
    if constraint:
        rules.append(lambda step: constraint.hold(step.target, whole=not single))
    return rules


def _mix(mixing: MixtureSteps, step: LocalStep, rate: float) -> None:
    mixing.descend(step.models, step.inputs, step.labels, shares(step.mask), rate)


def _correction(now: Experiment, task: LocalTask, single: bool) -> StepRule:
    """Return the rule that pulls towards the anchor and adds the algorithm's offset."""
    network, rate = now.architecture, now.training.rate
    fixed = task.start if task.anchor is None else task.anchor
    anchor = stacked(network, fixed.view(-1, fixed.shape[-1]))  # of each, or one for all
    push = None if task.drift.push is None else stacked(network, task.drift.push)
    # The only step from the anchor itself feels no pull.
    pull = 0.0 if single and task.anchor is None else task.drift.pull

    def correct(step: LocalStep) -> None:
        clients = len(step.mask)
        offset = head(push, clients) if push else None
        proximal_step(step.target, step.models, head(anchor, clients), pull, offset, rate)

    return correct


@dataclass(frozen=True, eq=False)
class Gradients:
    """The gradients of a block's models, of the layers that the task moves."""

    now: Experiment
    task: LocalTask
    guarded: bool  # example by example, for DP-SGD

    def __call__(
        self, models: StackedParameters, inputs: Tensor, labels: Tensor, mask: Tensor
    ) -> list[LayerGradients]:
        """mask (clients, batch): 0 for padding"""
        if not mask.numel():
            return []
        if self.task.ahead:
            models, mask = self._look_ahead(models, inputs, labels, mask)
        half = self.now.training.precision == "bfloat16"
        precision = torch.bfloat16 if half else inputs.dtype
        models, inputs = rounded(models, precision), inputs.to(precision)
        network, layers = self.now.architecture, self.task.layers
        if self.guarded and self.now.privacy.backend == "opacus":
            found = sampled_visits(network, models, inputs, labels)
        else:
            weights = None if self.guarded else shares(mask)
            found = backward(network, models, inputs, labels, weights)
        return [visit for visit in found if not layers or visit.layer.name in layers]

    def _look_ahead(
        self, models: StackedParameters, inputs: Tensor, labels: Tensor, mask: Tensor
    ) -> tuple[StackedParameters, Tensor]:
        """Return models that are a step ahead, and the examples that say where that should lead.

        Every other example shows the way, and the rest judge it. Fallah et al. 2020.
        """
        scouts = mask.clone()
        scouts[:, 1::2] = 0
        rest = torch.where(mask.sum(dim=1, keepdim=True) > 1, mask - scouts, mask)
        ahead = [[part.clone() for part in own] for own in models]
        scouted = backward(self.now.architecture, ahead, inputs, labels, shares(scouts))
        gradient_step(ahead, scouted, self.task.ahead)
        return ahead, rest


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
