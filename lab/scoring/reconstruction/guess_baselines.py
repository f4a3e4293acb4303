"""Floors: what guesses without the gradient reach, for the same examples and the same matching."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lab.scoring.reconstruction.image_metrics import heights, match

FLAT = {"black": 0.0, "grey": 0.5, "white": 1.0}  # pixels of mere noise lie there


@dataclass(frozen=True, eq=False)
class Floor:
    """One guess without the gradient: a picture for each private example, and how near it is."""

    shown: Tensor  # (private, *shape)
    psnr: np.ndarray  # (private,) dB

    @property
    def mean(self) -> float:
        return float(self.psnr.mean())

    @property
    def median(self) -> float:
        return float(np.median(self.psnr))


def guess_baselines(
    truths: Tensor, guessed: Tensor, public: Tensor, public_labels: Tensor
) -> dict[str, Floor]:
    """Guesses that everybody could make.

    Each makes as many guesses as there are guessed labels, and they are matched as the attack's
    are.  Where fewer are guessed than are private, a default picture stands for each of the rest.

    truths (private, *shape), guessed (guesses,) labels, public (test, *shape)
    """
    return {
        name: _placed(guesses, default, truths)
        for name, guesses, default in _guesses(guessed, public, public_labels)
    }


def _guesses(
    labels: Tensor, public: Tensor, public_labels: Tensor
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each guess's pictures, one for each label, and its default.  None of them needs the truth."""
    count, shape = len(labels), public.shape[1:]
    for name, value in (FLAT if len(shape) == 3 else {"zero": 0.0}).items():
        flat = torch.full(shape, value)
        yield name, flat.expand(count, *shape), flat
    mean = public.mean(dim=0)
    yield "mean image", mean.expand(count, *shape), mean
    means = {int(one): _class_mean(public[public_labels == one], mean) for one in labels.unique()}
    of_classes = torch.stack([means[int(label)] for label in labels])
    yield "mean of the guessed class", of_classes, mean
    some = public[torch.linspace(0, len(public) - 1, count).long()]
    yield "public images", some, mean


def _class_mean(mine: Tensor, mean: Tensor) -> Tensor:
    return mine.mean(dim=0) if len(mine) else mean


def _placed(guesses: Tensor, default: Tensor, truths: Tensor) -> Floor:
    shown = default.expand_as(truths).clone()
    for mine, true in match(guesses, truths):
        shown[true] = guesses[mine]
    return Floor(shown, heights(shown, truths))


def own_colours(truths: Tensor) -> Floor | None:
    """Flat pictures in the very mean colour of each private one, which needs the truth.

    They say what a colour without any shape is worth.  None for what is not in colour.

    truths (private, *shape)
    """
    if truths.ndim != 4 or truths.shape[1] != 3:
        return None
    shown = truths.mean(dim=(2, 3), keepdim=True).expand_as(truths)
    return Floor(shown, heights(shown, truths))
