"""Local training of a whole cohort at once: the models of many clients are one stack.

The cohort is cut into blocks of clients, which run side by side on single-threaded workers, so the
numbers do not depend on how many cores there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from lab.accountant import noise_multiplier
from lab.assembly import poisoned
from lab.batches import batches
from lab.experiment import Experiment
from lab.federation import Federation
from lab.passes import (
    Stack,
    Visit,
    descend,
    descend_clipped,
    drag,
    flattened,
    head,
    stacked,
    visits,
)
from lab.rng import normal, stream
from lab.wire import Drift
from lab.workers import side_by_side

BLOCK = 10  # dense models stacked at most: measured fastest


@dataclass(frozen=True, eq=False)
class Updates:
    """What the clients of a cohort would send, in their order."""

    rows: Tensor  # (clients, params) the trained model minus the model that was sent
    sizes: Tensor  # (clients,) examples of each


@torch.no_grad()
def cohort(
    experiment: Experiment,
    round: int,
    clients: Sequence[int],
    model: Tensor,
    drift: Drift | None = None,
) -> Updates:
    """Train `clients` from `model` (params,) as the experiment asks in that round.

    What a client does is a function of (experiment, round, client, its drift) alone: this is the
    seam that another engine may fill.
    """
    now, drift = experiment.at(round), drift or Drift()
    federation = poisoned(now)
    sizes = federation.sizes[list(clients)]
    private = now.privacy.kind == "example"
    noise = noise_multiplier(experiment, round) if private else 0.0
    plans = [_plan(now, federation, round, client) for client in clients]
    rows = model.new_zeros(len(clients), len(model))

    def train(block: list[int]) -> None:
        chosen = [plans[place] for place in block]
        guard = None
        if private:
            generators = [
                stream(now.seed, "example noise", round, clients[place]) for place in block
            ]
            guard = Guard(now, noise, sizes[block], generators)
        pushed = drift if drift.push is None else replace(drift, push=drift.push[block])
        rows[block] = _trained(now, federation, chosen, model, guard, pushed)

    # Blocks of like length, so that no client waits long for the others of its block.
    order = sorted(range(len(plans)), key=lambda place: -len(plans[place]))
    side_by_side(train, _blocks(order, now))
    return Updates(rows, sizes)


def _blocks(order: list[int], now: Experiment) -> list[list[int]]:
    """At least two blocks, so that a second core is used."""
    width = max(1, min(BLOCK, -(-len(order) // 2)))
    if any(layer.one_by_one for layer in now.architecture.layers):
        width = 1
    return [order[start : start + width] for start in range(0, len(order), width)]


def _plan(now: Experiment, federation: Federation, round: int, client: int) -> list[np.ndarray]:
    """Pool indices of the client's examples, an array for each local step."""
    held = federation.held(client).numpy()
    return [held[batch] for batch in batches(now, round, client, len(held))]


def _trained(
    now: Experiment,
    federation: Federation,
    plans: list[list[np.ndarray]],
    model: Tensor,
    guard: Guard | None,
    drift: Drift,
) -> Tensor:
    """Local SGD of a block, the longest plan first.  -> (clients, params) the change"""
    network, rate = now.architecture, now.training.rate
    stack = stacked(network, model.expand(len(plans), -1))
    # A single step is the change itself: taken from the weights, it would lose its last digits.
    once = now.recipe.cap == 1
    target = stacked(network, model.new_zeros(len(plans), len(model))) if once else stack
    anchor = stacked(network, model.unsqueeze(0))
    push = None if drift.push is None else stacked(network, drift.push)
    pull = 0.0 if once else drift.pull  # the only step starts at the anchor
    for index, mask in _steps(plans):
        inputs, labels = federation.examples(index)
        inputs, mask = inputs.to(model.dtype), mask.to(model.dtype)
        training, changing = head(stack, len(index)), head(target, len(index))
        shares = mask / mask.sum(dim=1, keepdim=True).clamp_min(1)
        # The slopes are taken before anything moves, the guarded ones as well.
        weights = None if guard else shares
        found = visits(network, training, inputs, labels, weights) if index.numel() else []
        drag(changing, anchor, pull, head(push, len(index)) if push else None, rate)
        if guard:
            guard.descend(changing, found, mask)
        else:
            descend(changing, found, rate)
    return flattened(target) if once else flattened(target) - model


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


@dataclass(frozen=True, eq=False)
class Guard:
    """Example-level DP-SGD. Abadi et al. 2016, arXiv:1607.00133, algorithm 1.

    Each step releases (sum of clipped gradients + N(0, (noise * clip)^2)) / expected batch.
    """

    now: Experiment
    noise: float  # multiplier
    sizes: Tensor  # (clients,) examples that each client holds
    generators: list[np.random.Generator]  # of each client

    def descend(self, target: Stack, found: Sequence[Visit], mask: Tensor) -> None:
        """A private step, in place.  mask (clients, examples): 0 for padding"""
        network, clip, rate = self.now.architecture, self.now.privacy.clip, self.now.training.rate
        # An empty batch still gets its noise.
        expected = (self.now.recipe.poisson or 1.0) * self.sizes[: len(mask)]  # (clients,)
        if found:
            descend_clipped(target, found, clip, mask / expected.unsqueeze(1), rate)
        deviations = rate * clip * self.noise / expected  # (clients,)
        for place, deviation in enumerate(deviations.tolist()):
            draw = network.owned(network.split(normal(self.generators[place], network.size)))
            for parts, noises in zip(target, draw, strict=True):
                for part, noise in zip(parts, noises, strict=True):
                    part[place].sub_(noise, alpha=deviation)
