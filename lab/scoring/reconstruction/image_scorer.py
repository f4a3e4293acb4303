"""Likeness: how much a reconstruction tells, beside what a guess without the gradient would tell.

The only code besides `membership_score` that is given private examples to score an attack with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from torch import Tensor

from lab.interfaces.attack_data import ReconstructedBatch
from lab.scoring.reconstruction.guess_baselines import Floor, guess_baselines, own_colours
from lab.scoring.reconstruction.identification import Pool, identified
from lab.scoring.reconstruction.image_metrics import PEAK, decibels, heights, match, mse, psnr, ssim
from lab.scoring.reconstruction.image_score import ImageScore, MatchedPair
from lab.scoring.reconstruction.label_score import by_luck, even_share, label_share, labels_right
from lab.scoring.reconstruction.verdict import EXACT, GAIN, reconstruction_verdict

Pairs = Sequence[tuple[int, int]]  # places of a guess and of a private example


@dataclass(frozen=True, eq=False)
class ReconstructionScorer:
    """Knows the private examples of one client's update, and what everybody may know.

    What does not depend on the guess is computed once, so that a guess is scored in milliseconds.
    """

    inputs: Tensor  # (private, *shape) floats
    labels: Tensor  # (private,)
    others: Tensor  # (pool, *shape) floats: all other training examples
    public: Tensor  # (test, *shape) floats
    public_labels: Tensor  # (test,)
    _floors: dict[tuple[int, ...], dict[str, Floor]] = field(default_factory=dict, repr=False)

    def score(self, guess: ReconstructedBatch) -> ImageScore:
        """All but whose picture it is nearest to: `identify` adds that to the last guess.

        All numbers are over all private examples.  Where no guess came back for one, the best guess
        without the gradient counts in its place.
        """
        floors = self.floors(guess.labels)
        against = [*floors.values(), *([self.own_colour] if self.own_colour else [])]
        pairs = match(guess.inputs, self.inputs)
        whole = Whole.of(guess.inputs, pairs, self.inputs, against)
        similar = [ssim(*both) for both in zip(whole.shown, self.inputs, strict=True)]
        matches = self._matches(guess, pairs, whole, similar)
        return ImageScore(
            matches=matches,
            psnr=float(whole.psnr.mean()),
            median=float(np.median(whole.psnr)),
            worst=float(whole.psnr.min()),
            best=float(whole.psnr.max()),
            exact=float(whole.exact.mean()),
            ssim=_mean_of_some(similar),
            mse=mse(whole.shown, self.inputs),
            labels=label_share(guess.labels, self.labels),
            labels_floor=even_share(len(guess.labels), self.labels, self._classes),
            association=sum(found.label_right for found in matches) / len(self.inputs),
            floors={name: each.mean for name, each in floors.items()},
            floor_median=max(each.median for each in against),
            over_guesses=whole.gain,
            own_colour=self.own_colour.mean if self.own_colour else None,
            nearest=float(self.nearest.mean()),
            private=len(self.inputs),
            verdict=self._verdict(guess, whole),
        )

    def _verdict(self, guess: ReconstructedBatch, whole: Whole) -> str:
        return reconstruction_verdict(
            exact=int(whole.exact.sum()),
            private=len(self.inputs),
            gain=whole.gain,
            nearer=float(np.median(whole.psnr - self.nearest)),
            luck=self._luck(guess.labels),
            guessed=int((whole.exact & (whole.guessed >= EXACT)).sum()),
        )

    @property
    def _classes(self) -> int:
        return int(self.public_labels.max()) + 1

    def _luck(self, labels: Tensor) -> float:
        """Chance to name as many labels; 1 where evenly spread ones would do as well."""
        if label_share(labels, self.labels) <= even_share(len(labels), self.labels, self._classes):
            return 1.0
        right = labels_right(labels, self.labels)
        return by_luck(right, len(labels), self.labels, self._classes)

    def _matches(
        self, guess: ReconstructedBatch, pairs: Pairs, whole: Whole, similar: Sequence[float | None]
    ) -> tuple[MatchedPair, ...]:
        """similar (private,): SSIM"""
        return tuple(
            MatchedPair(
                guess=mine,
                truth=true,
                psnr=float(whole.psnr[true]),
                ssim=similar[true],
                mse=mse(guess.inputs[mine], self.inputs[true]),
                label_right=bool(guess.labels[mine] == self.labels[true]),
                nearest=float(self.nearest[true]),
                floor=float(whole.guessed[true]),
            )
            for mine, true in pairs
        )

    def identify(self, guess: ReconstructedBatch, found: ImageScore) -> ImageScore:
        """The score of that guess, with whose picture each of its own is nearest to."""
        mine, true = ([m.guess for m in found.matches], [m.truth for m in found.matches])
        of = identified(
            guess.inputs[mine].flatten(1).float(),
            self.inputs[true].flatten(1),
            self.inputs.flatten(1),
            self._pool,
        )
        return found.model_copy(update={"identified": of})

    def floors(self, labels: Tensor) -> dict[str, Floor]:
        """Guesses that need no gradient, as many as the attack made and matched as its are."""
        key = tuple(labels.tolist())
        if key not in self._floors:
            self._floors[key] = guess_baselines(
                self.inputs, labels, self.public, self.public_labels
            )
        return self._floors[key]

    @cached_property
    def own_colour(self) -> Floor | None:
        """A guess that needs the truth, but no shape."""
        return own_colours(self.inputs)

    @cached_property
    def nearest(self) -> np.ndarray:
        """PSNR of the most similar other example, of each private one.  -> (private,)"""
        errors = self._pool.nearest(self.inputs.flatten(1)).tolist()
        return np.array([decibels(error) for error in errors])

    @cached_property
    def _pool(self) -> Pool:
        return Pool(self.others.flatten(1))


@dataclass(frozen=True, eq=False)
class Whole:
    """A reconstruction of all private examples.  The best guess stands where none came back."""

    shown: Tensor  # (private, *shape)
    psnr: np.ndarray  # (private,) dB
    found: np.ndarray  # (private,) bool: whether the attack returned a guess for it
    guesses: np.ndarray  # (guesses, private) dB: what each guess without the gradient reaches

    @classmethod
    def of(cls, guess: Tensor, pairs: Pairs, truths: Tensor, against: Sequence[Floor]) -> Whole:
        """The best guess is the one of the highest mean PSNR.  guess (guesses, *shape)"""
        best = max(against, key=lambda floor: floor.mean)
        mine = [one for one, _ in pairs]
        true = [other for _, other in pairs]
        shown = best.shown.to(guess.dtype).clone()
        shown[true] = guess[mine]
        reached = best.psnr.copy()
        reached[true] = heights(guess[mine], truths[true])
        found = np.zeros(len(truths), dtype=bool)
        found[true] = True
        return cls(shown, reached, found, np.stack([floor.psnr for floor in against]))

    @property
    def exact(self) -> np.ndarray:
        """Which private examples came back but for rounding.  -> (private,) bool"""
        exact: np.ndarray = self.found & (self.psnr >= EXACT)
        return exact

    @property
    def guessed(self) -> np.ndarray:
        """What any guess without the gradient reaches for each example.  -> (private,) dB"""
        return np.asarray(self.guesses.max(axis=0))

    @property
    def gain(self) -> float:
        """dB over the guesses without the gradient: over the one that it gains least on.

        The median over the private examples of the difference to that guess.  An example for which
        nothing came back counts as no difference, so that silence gains nothing.
        """
        ahead = np.where(self.found, self.psnr - self.guesses, 0.0)  # (guesses, private)
        return float(np.median(ahead, axis=1).min())


def _mean_of_some(values: Sequence[float | None]) -> float | None:
    """None where there is nothing to take the mean of."""
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


__all__ = [
    "EXACT",
    "GAIN",
    "PEAK",
    "ImageScore",
    "MatchedPair",
    "ReconstructionScorer",
    "even_share",
    "label_share",
    "match",
    "psnr",
    "reconstruction_verdict",
    "ssim",
]
