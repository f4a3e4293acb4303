"""Fleets: the shadow models of an attack, trained once and kept for the next attack."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby, pairwise
from typing import Protocol

import torch
from torch import Tensor

from lab.attack_runs.membership.shadow_federations import (
    holders,
    initial,
    recipes,
    shadow_dataset,
    shadow_rounds,
)
from lab.experiment.experiment import Experiment
from lab.interfaces.attack_data import Candidates

VERSION = 1  # counts up when the same shadow comes out with other numbers
# What trains at once; more would be no faster.  A group is kept when it is done, and shows how far
# the training is.
FLOATS = 1 << 22  # of all clients' updates in a round: 16 MB
AT_ONCE = 8  # shadows, however small they are


class Cache(Protocol):
    """Keeps models by a key, which determines them.  It may forget."""

    def recall(self, key: str) -> Tensor | None: ...

    def keep(self, key: str, model: Tensor) -> None: ...


class Nothing:
    """The cache of those who train anew each time."""

    def recall(self, key: str) -> Tensor | None:
        return None

    def keep(self, key: str, model: Tensor) -> None:
        pass


@dataclass(frozen=True, eq=False)
class ShadowModels:
    """Shadow models at the end of their training."""

    models: Tensor  # (shadows, params)
    holders: Tensor  # (shadows, pool) int64: the client of each that holds it, -1 for none

    @property
    def inside(self) -> Tensor:
        """(shadows, pool) bool"""
        return self.holders >= 0


@dataclass(frozen=True, eq=False)
class Progress:
    """How far the training is.  The last one brings the fleet."""

    step: int
    steps: int
    fleet: ShadowModels | None = None


def train_shadow_models(
    experiment: Experiment, rounds: int, pool: Candidates, which: Sequence[int], cache: Cache
) -> Iterator[Progress]:
    """The shadows of those numbers after so many rounds, recalled where the cache has them.

    What is missing trains some at a time, so that memory stays bounded, and is kept when it is
    done: stopped in between, nothing unfinished is.
    """
    named = dict(zip(which, keys(experiment, rounds, pool, which), strict=True))
    found = {
        number: model
        for number, key in named.items()
        if (model := cache.recall(key)) is not None and len(model) == experiment.architecture.size
    }
    groups = _groups(experiment, [number for number in which if number not in found])
    steps, step = rounds * len(groups), 0
    for group in groups:
        models = initial(experiment, group)
        for each in shadow_rounds(experiment, rounds, pool, group):
            models, step = each.models, step + 1
            yield Progress(step, steps)
        for number, model in zip(group, models, strict=True):
            found[number] = model.clone()
            cache.keep(named[number], found[number])
    held = [holders(shadow_dataset(experiment, pool, number)) for number in which]
    models = torch.stack([found[number] for number in which])
    yield Progress(steps, steps, ShadowModels(models, torch.stack(held)))


def keys(experiment: Experiment, rounds: int, pool: Candidates, which: Sequence[int]) -> list[str]:
    """The sha256 of everything that determines each of the shadows."""
    stretches = [
        (recipe.dump(), len(list(same))) for recipe, same in groupby(recipes(experiment, rounds))
    ]
    content = sha256()
    for part in (pool.inputs, pool.labels):
        content.update(f"{part.dtype} {tuple(part.shape)}".encode())
        content.update(part.contiguous().numpy().tobytes())
    told = json.dumps([VERSION, experiment.seed, stretches, content.hexdigest()], sort_keys=True)
    return [sha256(f"{told} {number}".encode()).hexdigest() for number in which]


def _groups(experiment: Experiment, missing: list[int]) -> list[list[int]]:
    """Of equal size, or nearly."""
    params = experiment.architecture.size * max(1, experiment.cohort_size)
    most = max(1, min(AT_ONCE, FLOATS // params))
    groups = -(-len(missing) // most)
    cuts = [len(missing) * place // groups for place in range(groups + 1)] if groups else [0]
    return [missing[start:end] for start, end in pairwise(cuts)]
