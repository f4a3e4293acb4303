"""Floors: what guesses without the gradient reach, for the same examples and the same matching."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from lab.similarity import match, psnr

FLAT = {"black": 0.0, "grey": 0.5, "white": 1.0}  # pixels of mere noise lie there


def floors(
    truths: Tensor, guessed: Tensor, public: Tensor, public_labels: Tensor
) -> dict[str, float]:
    """Mean PSNR of guesses that everybody could make, as many as there are labels.

    truths (private, *shape), guessed (guesses,) labels, public (test, *shape)
    """
    return {
        name: _matched(guesses, truths)
        for name, guesses in _guesses(guessed, public, public_labels)
    }


def _guesses(labels: Tensor, public: Tensor, public_labels: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Each floor's pictures, one for each guessed label.  None of them needs the truth."""
    count, shape = len(labels), public.shape[1:]
    for name, value in (FLAT if len(shape) == 3 else {"zero": 0.0}).items():
        yield name, torch.full((count, *shape), value)
    mean = public.mean(dim=0)
    yield "mean image", mean.expand(count, *shape)
    means = {int(one): _class_mean(public[public_labels == one], mean) for one in labels.unique()}
    yield "mean of the guessed class", torch.stack([means[int(label)] for label in labels])
    yield "public images", public[torch.linspace(0, len(public) - 1, count).long()]


def _class_mean(mine: Tensor, mean: Tensor) -> Tensor:
    return mine.mean(dim=0) if len(mine) else mean


def _matched(guesses: Tensor, truths: Tensor) -> float:
    pairs = match(guesses, truths)
    return float(np.mean([psnr(guesses[mine], truths[true]) for mine, true in pairs]))


def own_colour(truth: Tensor) -> float | None:
    """PSNR of a flat picture in the very mean colour of the private one, which needs the truth.

    It says what a colour without any shape is worth.  None for what is not in colour.
    """
    if truth.ndim != 3 or truth.shape[0] != 3:
        return None
    return psnr(truth.mean(dim=(1, 2), keepdim=True).expand_as(truth), truth)
