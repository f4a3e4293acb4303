"""Batches: which examples a client uses in each local step of a round."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lab.common.random_streams import private_stream, random_stream, secret_stream
from lab.experiment.experiment import Experiment


def batches(
    now: Experiment, round: int, client: int, size: int, epochs: int = 0
) -> list[np.ndarray]:
    """Positions 0 to size - 1 of the client's examples, an array for each local step.

    epochs: 0 for what the recipe says

    Shuffled epochs, whose last batch may be smaller; or Poisson batches, which may be empty, where
    examples are protected: the accountant counts on independent draws.
    """
    recipe, generator = now.recipe, _draws(now, round, client)
    if epochs:
        recipe = replace(recipe, epochs=epochs, cap=0)
    steps = recipe.local_steps(size)
    if recipe.poisson is not None:
        return [np.flatnonzero(generator.random(size) < recipe.poisson) for _ in range(steps)]
    found: list[np.ndarray] = []
    while len(found) < steps:
        order = generator.permutation(size)
        found += np.split(order, range(recipe.batch_size, size, recipe.batch_size))
    return found[:steps]


def _draws(now: Experiment, round: int, client: int) -> np.random.Generator:
    """The random stream of a client's batches.  Under example-level privacy they are secret."""
    if now.privacy.kind != "example":
        return random_stream(now.seed, "batches", round, client)
    if now.privacy.secure_noise:
        return secret_stream(now.seed, now.nonce, "batches", round, client)
    return private_stream(now.seed, now.nonce, "batches", round, client)


def touched(now: Experiment, round: int, client: int, size: int) -> np.ndarray:
    """Positions of the examples that enter the client's update."""
    return np.unique(np.concatenate([np.zeros(0, int), *batches(now, round, client, size)]))
