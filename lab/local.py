"""Local training of a whole cohort at once: the models of many clients are the rows of a matrix.

The cohort is cut into blocks of clients, which run side by side on single-threaded workers, so the
numbers do not depend on how many cores there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import grad, vmap
from torch.nn.utils.rnn import pad_sequence

from lab.accountant import noise_multiplier
from lab.assembly import poisoned
from lab.batches import batches
from lab.experiment import Experiment
from lab.federation import Federation, as_floats
from lab.models import Network
from lab.rng import normal, stream

BLOCK = 5  # clients stacked: measured fastest for dense nets and for convolutions
EXAMPLES = 32  # per-example gradients held at once; with them, clients go one by one

Slopes = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Updates:
    """What the clients of a cohort would send, in their order."""

    rows: Tensor  # (clients, params) the trained model minus the model that was sent
    sizes: Tensor  # (clients,) examples of each


def cohort(experiment: Experiment, round: int, clients: Sequence[int], model: Tensor) -> Updates:
    """Train `clients` from `model` (params,) as the experiment asks in that round.

    What a client does is a function of (experiment, round, client) alone: this is the seam that
    another engine may fill.
    """
    now = experiment.at(round)
    federation = poisoned(now)
    sizes = federation.sizes[list(clients)]
    plans = [_plan(now, federation, round, client) for client in clients]
    rows = torch.zeros(len(clients), len(model))

    private = now.privacy.kind == "example"
    noise = noise_multiplier(experiment, round) if private else 0.0

    def train(block: list[int]) -> None:
        slopes: Slopes = partial(_plain, now.architecture)
        if private:
            generator = stream(now.seed, "example noise", round, clients[block[0]])
            slopes = Private(now, noise, int(sizes[block[0]]), generator).slopes
        chosen = [plans[place] for place in block]
        rows[block] = _descend(federation, chosen, model, now.training.rate, slopes)

    # Blocks of like length, so that no client waits long for the others of its block.
    order, width = (
        sorted(range(len(plans)), key=lambda at: -len(plans[at])),
        1 if private else BLOCK,
    )
    blocks = [order[start : start + width] for start in range(0, len(order), width)]
    list(_workers().map(train, blocks))
    return Updates(rows, sizes)


def _plan(now: Experiment, federation: Federation, round: int, client: int) -> list[Tensor]:
    """Pool indices of the client's examples, a tensor for each local step."""
    held = federation.held(client)
    return [held[torch.from_numpy(batch)] for batch in batches(now, round, client, len(held))]


def _descend(
    federation: Federation, plans: list[list[Tensor]], model: Tensor, rate: float, slopes: Slopes
) -> Tensor:
    """Local SGD of a block, the longest plan first.  -> (clients, params)

    The change is carried and not the weights, so that small updates lose no digits.
    """
    change = torch.zeros(len(plans), len(model))
    for step in range(len(plans[0])):
        picked = [plan[step] for plan in plans if len(plan) > step]
        index = pad_sequence(picked, batch_first=True)  # (training, batch)
        mask = pad_sequence([torch.ones(len(batch)) for batch in picked], batch_first=True)
        inputs, labels = as_floats(federation.inputs[index]), federation.labels[index]
        training = change[: len(picked)]  # (training, params), a view
        training -= rate * slopes(model + training, inputs, labels, mask)
    return change


def _loss(network: Network, flat: Tensor, inputs: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Mean cross-entropy over the examples that the mask keeps."""
    losses = F.cross_entropy(network(flat, inputs), labels, reduction="none")
    return (losses * mask).sum() / mask.sum().clamp_min(1)


def _plain(
    network: Network, models: Tensor, inputs: Tensor, labels: Tensor, mask: Tensor
) -> Tensor:
    """The gradient of each client's batch.  -> (clients, params)"""
    slopes: Tensor = vmap(grad(partial(_loss, network)))(models, inputs, labels, mask)
    return slopes


@dataclass(frozen=True, eq=False)
class Private:
    """One client's example-level DP-SGD. Abadi et al. 2016, arXiv:1607.00133, algorithm 1.

    Each step releases (sum of clipped gradients + N(0, (noise * clip)^2)) / expected batch.
    """

    now: Experiment
    noise: float  # multiplier
    size: int  # examples that the client holds
    generator: np.random.Generator

    def slopes(self, models: Tensor, inputs: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
        """models (1, params), inputs (1, batch, *shape); no padding, so no mask.  -> (1, params)"""
        clip, rate, network = self.now.privacy.clip, self.now.recipe.poisson, self.now.architecture
        total = clip * self.noise * normal(self.generator, models.shape[1])  # (params,)
        for first in range(0, inputs.shape[1], EXAMPLES):  # never, for an empty batch
            some, wanted = inputs[0, first : first + EXAMPLES], labels[0, first : first + EXAMPLES]
            each = example_gradients(network, models[0], some, wanted)  # (examples, params)
            lengths = torch.linalg.vector_norm(each, dim=1).clamp_min(1e-12)
            total += (clip / lengths).clamp_max(1) @ each
        return (total / ((rate or 1.0) * self.size)).unsqueeze(0)


def example_gradients(network: Network, model: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    """The gradient of every single example.  -> (examples, params)"""

    def loss(flat: Tensor, example: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(network(flat, example.unsqueeze(0)), label.unsqueeze(0))

    slopes: Tensor = vmap(grad(loss), (None, 0, 0))(model, inputs, labels)
    return slopes


def warm_up() -> None:
    """Load what the first round would otherwise wait for, about a second of imports."""
    vmap(grad(torch.sum))(torch.zeros(1, 1))


@lru_cache(maxsize=1)
def _workers() -> ThreadPoolExecutor:
    """One thread a core; each runs its operations alone, which keeps two busy processes fast."""
    return ThreadPoolExecutor(os.cpu_count() or 1, initializer=lambda: torch.set_num_threads(1))
