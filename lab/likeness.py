"""Likeness: how much a reconstruction tells, beside what a guess without the gradient would tell.

The only code besides `lab.roc` that is given private examples to score an attack with.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log10

import numpy as np
import torch
from torch import Tensor

from lab.settings import Settings
from lab.views import Guess

EXACT = 60.0  # dB; what is left is rounding
GAIN = 1.0  # dB over the best guess, before anything is called a leak
FLAT = {"black": 0.0, "grey": 0.5, "white": 1.0}  # pixels of mere noise lie there
PEAK = 120.0  # dB, reported for a perfect match


class Match(Settings):
    """One guess and the private example that it is nearest to."""

    guess: int  # its place in the guess
    truth: int  # the place of the private example
    psnr: float  # dB, peak 1
    label_right: bool
    ssim: float | None = None  # structural similarity; None for tables and tiny pictures


class Likeness(Settings):
    """A reconstruction's score.  Floors are scored by the same matching, without the gradient."""

    matches: tuple[Match, ...]
    psnr: float  # mean over matches, dB
    median: float
    worst: float
    best: float
    exact: float  # share of the matches above 60 dB
    labels: float  # share of the guessed labels that are right, as multisets
    labels_floor: float  # the same for labels spread evenly over the classes
    floors: dict[str, float]  # PSNR of each guess that needs no gradient, dB
    nearest: float  # PSNR of the most similar other training example, dB; it needs the truth
    verdict: str
    ssim: float | None = None  # mean over matches

    @property
    def counted(self) -> str:
        """What the numbers are taken over, such as "8 examples"."""
        return f"{len(self.matches)} example{'s' * (len(self.matches) != 1)}"

    @property
    def floor(self) -> float:
        """The best guess without the gradient."""
        return max(self.floors.values())


@dataclass(frozen=True, eq=False)
class Judge:
    """Knows the private examples of one client's update, and what everybody may know."""

    inputs: Tensor  # (private, *shape) floats
    labels: Tensor  # (private,)
    others: Tensor  # (pool, *shape) floats: all other training examples
    public: Tensor  # (test, *shape) floats
    public_labels: Tensor  # (test,)

    def score(self, guess: Guess) -> Likeness:
        pairs = match(guess.inputs, self.inputs)
        matches = tuple(
            Match(
                guess=mine,
                truth=true,
                psnr=psnr(guess.inputs[mine], self.inputs[true]),
                ssim=ssim(guess.inputs[mine], self.inputs[true]),
                label_right=bool(guess.labels[mine] == self.labels[true]),
            )
            for mine, true in pairs
        )
        values = [found.psnr for found in matches]
        similar = [found.ssim for found in matches if found.ssim is not None]
        median, floors = float(np.median(values)), self.floors(guess.labels)
        classes = int(self.public_labels.max()) + 1
        nearest = self.nearest([true for _, true in pairs])
        return Likeness(
            matches=matches,
            psnr=float(np.mean(values)),
            median=median,
            worst=min(values),
            best=max(values),
            exact=float(np.mean([value >= EXACT for value in values])),
            ssim=float(np.mean(similar)) if similar else None,
            labels=label_share(guess.labels, self.labels),
            labels_floor=even_share(len(guess.labels), self.labels, classes),
            floors=floors,
            nearest=nearest,
            verdict=verdict(median, min(values), max(floors.values()), nearest),
        )

    def floors(self, labels: Tensor) -> dict[str, float]:
        """Guesses that need no gradient, as many as the attack made and matched as its are."""
        count, shape = len(labels), self.inputs.shape[1:]
        flat = FLAT if len(shape) == 3 else {"zero": 0.0}
        mean = self.public.mean(dim=0, keepdim=True)
        by_class = [self._class_mean(int(label), mean) for label in labels]
        some = self.public[torch.linspace(0, len(self.public) - 1, count).long()]
        return {
            name: self._matched(torch.full((count, *shape), value)) for name, value in flat.items()
        } | {
            "mean image": self._matched(mean.expand(count, *shape)),
            "mean of the guessed class": self._matched(torch.cat(by_class)),
            "public images": self._matched(some),
        }

    def nearest(self, places: list[int]) -> float:
        """Mean PSNR of the most similar other example, over the private ones at `places`."""
        flat = self.others.flatten(1)  # (pool, pixels)
        return float(np.mean([_decibels(_errors(self.inputs[k], flat).min()) for k in places]))

    def _class_mean(self, label: int, mean: Tensor) -> Tensor:
        mine = self.public[self.public_labels == label]
        return mine.mean(dim=0, keepdim=True) if len(mine) else mean

    def _matched(self, guesses: Tensor) -> float:
        pairs = match(guesses, self.inputs)
        return float(np.mean([psnr(guesses[mine], self.inputs[true]) for mine, true in pairs]))


def match(guesses: Tensor, truths: Tensor) -> list[tuple[int, int]]:
    """The pairing of smallest squared error; as many pairs as the shorter side has."""
    from scipy.optimize import linear_sum_assignment

    cost = torch.cdist(guesses.flatten(1).double(), truths.flatten(1).double()).square()
    mine, true = linear_sum_assignment(cost.numpy())
    return [(int(one), int(other)) for one, other in zip(mine, true, strict=True)]


def psnr(guess: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio in dB, for a peak of 1."""
    return _decibels((guess.double() - truth.double()).square().mean())


def _decibels(error: Tensor) -> float:
    return min(-10 * log10(max(float(error), 1e-30)), PEAK)


def _errors(truth: Tensor, flat: Tensor) -> Tensor:
    """Mean squared error to each row of flat (pool, pixels).  -> (pool,)"""
    return (flat - truth.flatten()).square().mean(dim=1)


def ssim(guess: Tensor, truth: Tensor) -> float | None:
    """Structural similarity as in Wang et al. 2004: Gaussian window, sigma 1.5, 11 pixels."""
    from skimage.metrics import structural_similarity

    if truth.ndim != 3 or min(truth.shape[1:]) < 11:
        return None
    return float(
        structural_similarity(
            truth.double().numpy(),
            guess.double().numpy(),
            channel_axis=0,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def label_share(guessed: Tensor, true: Tensor) -> float:
    """Share of the guessed labels that are right, as multisets: guessing more earns nothing."""
    classes = int(max(guessed.max(), true.max())) + 1
    mine, yours = (
        torch.bincount(guessed, minlength=classes),
        torch.bincount(true, minlength=classes),
    )
    return float(torch.minimum(mine, yours).sum()) / len(guessed)


def even_share(count: int, true: Tensor, classes: int) -> float:
    """`label_share` of `count` labels spread evenly, expected over which classes get one more."""
    each, rest = divmod(count, classes)
    there = torch.bincount(true, minlength=classes)
    less, more = there.clamp(max=each).sum(), there.clamp(max=each + 1).sum()
    return float(less + (more - less) * rest / classes) / count


def verdict(median: float, worst: float, floor: float, nearest: float) -> str:
    """In words, from thresholds that the floors set; a median, so that no one picture decides."""
    if worst >= EXACT:
        return "exact"
    if median > max(nearest, floor) + GAIN:
        return "recognisable: nearer than any other training example"
    if median > floor + GAIN:
        return "partial: better than a guess, not nearer than another training example"
    return "no better than a guess without the gradient"
