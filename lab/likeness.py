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
from lab.neighbours import Identified, Pool, identified
from lab.settings import Settings
from lab.similarity import PEAK, decibels, match, mse, psnr, ssim
from lab.verdicts import EXACT, GAIN, verdict
from lab.views import Guess


class Match(Settings):
    """One guess and the private example that it is nearest to."""

    guess: int  # its place in the guess
    truth: int  # the place of the private example
    psnr: float  # dB, peak 1
    label_right: bool
    ssim: float | None = None  # structural similarity; None for tables and tiny pictures
    mse: float | None = None
    nearest: float | None = None  # PSNR of the most similar other training example, dB


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
    mse: float | None = None  # mean over matches
    association: float | None = None  # share of the matches whose label is right
    own_colour: float | None = None  # PSNR of each one's own mean colour, dB; it needs the truth
    private: int | None = None  # examples behind the update
    identified: Identified | None = None  # of the last guess only

    @property
    def counted(self) -> str:
        """What the numbers are taken over, such as "8 examples" or "8 of 32 examples"."""
        found, there = len(self.matches), self.private or 0
        of = f" of {there}" if there > found else ""
        return f"{found}{of} example{'s' * (max(found, there) != 1)}"

    @property
    def floor(self) -> float:
        """The best guess without the gradient."""
        return max(*self.floors.values(), self.own_colour or 0.0)

    @property
    def gain(self) -> float:
        """dB over the best guess, on average."""
        return self.psnr - self.floor

    def compared(self) -> dict[str, float]:
        """PSNR of the attack, of every guess without it, and of the nearest other example."""
        rows = {"this attack": self.psnr} | self.floors
        if self.own_colour is not None:
            rows["own mean colour (needs the truth)"] = self.own_colour
        return rows | {"most similar other training example (needs the truth)": self.nearest}

    def word(self, place: int) -> str:
        """The verdict on one match alone, without its reasons."""
        found = self.matches[place]
        near = self.nearest if found.nearest is None else found.nearest
        return (
            verdict(found.psnr, found.psnr, self.floor, near)
            .partition(":")[0]
            .removesuffix(" without the gradient")
        )

    def captions(self) -> list[str]:
        """Below each pair of pictures: how near it is, and what that comes to."""
        return [f"{each.psnr:.1f} dB, {self.word(k)}" for k, each in enumerate(self.matches)]

    def lines(self) -> list[str]:
        """In plain sentences: what was found, beside what a guess would give."""
        listed = ", ".join(f"{name} {value:.1f}" for name, value in self.floors.items())
        similar = "" if self.ssim is None else f", SSIM {self.ssim:.2f}"
        error = "" if self.mse is None else f", MSE {self.mse:.2g}"
        told = [
            self.verdict,
            f"PSNR {self.psnr:.1f} dB over {self.counted} (worst {self.worst:.1f}, "
            f"median {self.median:.1f}, best {self.best:.1f}), exact {self.exact:.0%}"
            + similar + error,
            f"guesses without the gradient, dB: {listed}",
        ]  # fmt: skip
        if self.own_colour is not None:
            told.append(f"each in its own mean colour (needs the truth): {self.own_colour:.1f} dB")
        told += [
            f"gain over the best of them: {self.gain:+.1f} dB",
            f"most similar other training example: {self.nearest:.1f} dB",
        ]
        if self.identified:
            told += [self.identified.sentence(), self.identified.crowd()]
        right = f"labels right: {self.labels:.0%} (evenly spread guess {self.labels_floor:.0%})"
        if self.association is not None:
            right += f", beside their own picture {self.association:.0%}"
        return [*told, right]


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
