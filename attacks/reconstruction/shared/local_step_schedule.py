"""The examples of each local step of a client, as far as the server can tell.

The server knows the recipe and the number of examples, but not the order in which they are drawn:
it
assumes the same order in every epoch.  A guess may be any of the examples, so their order hardly
matters; which label falls into which step matters a little.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
import torch
from torch import Tensor

from attacks.reconstruction.shared.observed_gradient import Observed
from lab.interfaces.views import ServerView


@dataclass(frozen=True, eq=False)
class Step:
    """One step of the attacker's simulation that stands for several of a client's."""

    places: Tensor  # (batch,) of the guesses; one that is used twice is there twice
    length: int


def courses(
    view: ServerView, target: int, seen: Observed, guesses: int, unroll: int
) -> tuple[tuple[Step, ...], ...]:
    """Return the steps of each client in the target's row, or of one that stands for all.

    One stands for all where one step was taken, or where fewer examples are guessed than there are.
    """
    senders = len(view.senders[view.row_of(target)])
    each, rest = divmod(guesses, senders)
    places, steps = torch.arange(guesses), view.recipe.local_steps(seen.size)
    if guesses < seen.images or rest or steps == 1:
        return (_merged([places] * steps, unroll),)
    batch = view.recipe.batch_size
    if view.recipe.poisson:
        batch = max(1, round(view.recipe.poisson * seen.size))
    return tuple(
        _merged(list(islice(cycle(mine.split(batch)), steps)), unroll)
        for mine in places.split(each)
    )


def _merged(batches: list[Tensor], unroll: int) -> tuple[Step, ...]:
    """Merge into at most `unroll` steps, each as long as the steps that it stands for."""
    parts = np.array_split(np.arange(len(batches)), min(unroll, len(batches)))
    return tuple(Step(_once([batches[one] for one in part]), len(part)) for part in parts)


def _once(batches: list[Tensor]) -> Tensor:
    """Merge the batches; the same batch again and again is that batch."""
    first = batches[0]
    if all(torch.equal(first, other) for other in batches):
        return first
    return torch.cat(batches)
