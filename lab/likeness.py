"""Likeness: how much a reconstruction tells, beside what a guess without the gradient would tell.

The only code besides `lab.roc` that is given private examples to score an attack with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from torch import Tensor

from lab.floors import floors, own_colour
from lab.labels import by_luck, even_share, label_share
from lab.neighbours import Pool, identified
from lab.scores import Likeness, Match
from lab.similarity import PEAK, decibels, match, mse, psnr, ssim
from lab.verdicts import EXACT, GAIN, verdict
from lab.views import Guess


@dataclass(frozen=True, eq=False)
class Judge:
    """Knows the private examples of one client's update, and what everybody may know.

    What does not depend on the guess is computed once, so that a guess is scored in milliseconds.
    """

    inputs: Tensor  # (private, *shape) floats
    labels: Tensor  # (private,)
    others: Tensor  # (pool, *shape) floats: all other training examples
    public: Tensor  # (test, *shape) floats
    public_labels: Tensor  # (test,)
    _floors: dict[tuple[int, ...], dict[str, float]] = field(default_factory=dict, repr=False)

    def score(self, guess: Guess) -> Likeness:
        """All but whose picture it is nearest to: `identify` adds that to the last guess."""
        pairs = self._matches(guess)
        values, right = [found.psnr for found in pairs], sum(found.label_right for found in pairs)
        classes = int(self.public_labels.max()) + 1
        found = Likeness(
            matches=pairs,
            psnr=_mean(values),
            median=float(np.median(values)),
            worst=min(values),
            best=max(values),
            exact=_mean([value >= EXACT for value in values]),
            ssim=_mean_of_some([found.ssim for found in pairs]),
            mse=_mean_of_some([found.mse for found in pairs]),
            labels=label_share(guess.labels, self.labels),
            labels_floor=even_share(len(guess.labels), self.labels, classes),
            association=right / len(pairs),
            floors=self.floors(guess.labels),
            own_colour=_mean_of_some([own_colour(self.inputs[each.truth]) for each in pairs]),
            nearest=self.nearest([found.truth for found in pairs]),
            private=len(self.inputs),
            verdict="",
        )
        told = verdict(
            found.median, found.worst, found.floor, found.nearest, self._luck(found, guess)
        )
        return found.model_copy(update={"verdict": told})

    def _luck(self, found: Likeness, guess: Guess) -> float:
        """Chance to name as many labels; 1 where evenly spread ones would do as well."""
        if found.labels <= found.labels_floor:
            return 1.0
        count, classes = len(guess.labels), int(self.public_labels.max()) + 1
        return by_luck(round(found.labels * count), count, self.labels, classes)

    def _matches(self, guess: Guess) -> tuple[Match, ...]:
        return tuple(
            Match(
                guess=mine,
                truth=true,
                psnr=psnr(guess.inputs[mine], self.inputs[true]),
                ssim=ssim(guess.inputs[mine], self.inputs[true]),
                mse=mse(guess.inputs[mine], self.inputs[true]),
                label_right=bool(guess.labels[mine] == self.labels[true]),
                nearest=self._nearest[true],
            )
            for mine, true in match(guess.inputs, self.inputs)
        )

    def identify(self, guess: Guess, found: Likeness) -> Likeness:
        """The score of that guess, with whose picture each of its own is nearest to."""
        mine, true = ([m.guess for m in found.matches], [m.truth for m in found.matches])
        of = identified(
            guess.inputs[mine].flatten(1).float(),
            self.inputs[true].flatten(1),
            self.inputs.flatten(1),
            self._pool,
        )
        return found.model_copy(update={"identified": of})

    def floors(self, labels: Tensor) -> dict[str, float]:
        """Guesses that need no gradient, as many as the attack made and matched as its are."""
        key = tuple(labels.tolist())
        if key not in self._floors:
            self._floors[key] = floors(self.inputs, labels, self.public, self.public_labels)
        return self._floors[key]

    def nearest(self, places: list[int]) -> float:
        """Mean PSNR of the most similar other example, over the private ones at `places`."""
        return _mean([self._nearest[place] for place in places])

    @cached_property
    def _pool(self) -> Pool:
        return Pool(self.others.flatten(1))

    @cached_property
    def _nearest(self) -> list[float]:
        return [decibels(error) for error in self._pool.nearest(self.inputs.flatten(1)).tolist()]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _mean_of_some(values: Sequence[float | None]) -> float | None:
    """None where there is nothing to take the mean of."""
    there = [value for value in values if value is not None]
    return _mean(there) if there else None


__all__ = [
    "EXACT", "GAIN", "PEAK", "Judge", "Likeness", "Match", "even_share", "label_share", "match",
    "psnr", "ssim", "verdict",
]  # fmt: skip
