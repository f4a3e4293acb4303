"""The score of a reconstruction as a value: every number beside what a guess would have reached."""

from __future__ import annotations

from typing import Literal

from lab.common.settings import Settings
from lab.scoring.reconstruction.identification import Identification
from lab.scoring.reconstruction.verdict import EXACT, reconstruction_verdict


class MatchedPair(Settings):
    """One guess and the private example that it is nearest to."""

    guess: int  # its place in the guess
    truth: int  # the place of the private example
    psnr: float  # dB, peak 1
    label_right: bool
    ssim: float | None = None  # structural similarity; None for tables and tiny pictures
    mse: float | None = None
    nearest: float | None = None  # PSNR of the most similar other training example, dB
    floor: float | None = None  # PSNR of the best guess without the gradient at this example, dB


class ImageScore(Settings):
    """A reconstruction's score.  Floors are scored by the same matching, without the gradient.

    All numbers are over all private examples.  Where no guess came back for one, the best guess
    without the gradient counts in its place.
    """

    kind: Literal["images"] = "images"
    matches: tuple[MatchedPair, ...]  # the examples for which a guess came back
    psnr: float  # mean, dB
    median: float
    worst: float
    best: float
    exact: float  # share of the private examples that came back at 60 dB or more
    labels: float  # share of the private labels that were named, as multisets
    labels_floor: float  # the same for labels spread evenly over the classes
    floors: dict[str, float]  # mean PSNR of each guess that needs no gradient, dB
    nearest: float  # mean PSNR of the most similar other training example; it needs the truth
    verdict: str
    ssim: float | None = None  # mean
    mse: float | None = None  # mean
    association: float | None = None  # share of the examples that came back with their label
    own_colour: float | None = None  # mean PSNR of each one's own mean colour; it needs the truth
    private: int | None = None  # examples behind the update
    identified: Identification | None = None  # of the last guess only
    # None in records that older versions wrote:
    floor_median: float | None = None  # the highest median PSNR of a guess without the gradient, dB
    over_guesses: float | None = None  # dB; see `gain`

    @property
    def missing(self) -> int:
        """Private examples for which no guess came back."""
        return max(0, (self.private or 0) - len(self.matches))

    @property
    def counted(self) -> str:
        """What came back, such as "8 examples" or "8 of 32 examples"."""
        found = len(self.matches)
        return f"{found} of {_examples(found + self.missing)}" if self.missing else _examples(found)

    @property
    def floor(self) -> float:
        """The highest mean PSNR of a guess without the gradient."""
        return max(*self.floors.values(), self.own_colour or 0.0)

    @property
    def gain(self) -> float:
        """dB over the best guess: the median of the differences, example by example.

        The best guess is the one that the attack gains least on.
        """
        return self.median - self.floor if self.over_guesses is None else self.over_guesses

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
        floor = self.floor if found.floor is None else found.floor
        told = reconstruction_verdict(
            exact=int(found.psnr >= EXACT),
            private=1,
            gain=found.psnr - floor,
            nearer=found.psnr - near,
            guessed=int(floor >= EXACT),
        )
        return told.partition(":")[0].removesuffix(" without the gradient")

    def captions(self) -> list[str]:
        """Below each pair of pictures: how near it is, and what that comes to."""
        return [f"{each.psnr:.1f} dB, {self.word(k)}" for k, each in enumerate(self.matches)]

    def silence(self) -> list[str]:
        """One sentence on the examples that did not come back, if there are any."""
        if not self.missing:
            return []
        return [f"{self.missing} of {self.private} did not come back: the best guess counts there"]

    def lines(self) -> list[str]:
        """In plain sentences: what was found, beside what a guess would give."""
        listed = ", ".join(f"{name} {value:.1f}" for name, value in self.floors.items())
        similar = "" if self.ssim is None else f", SSIM {self.ssim:.2f}"
        error = "" if self.mse is None else f", MSE {self.mse:.2g}"
        told = [
            self.verdict,
            f"PSNR {self.psnr:.1f} dB over {_examples(self.private or len(self.matches))} "
            f"(worst {self.worst:.1f}, median {self.median:.1f}, best {self.best:.1f}), "
            f"exact {self.exact:.0%}" + similar + error,
            *self.silence(),
            f"guesses without the gradient, dB: {listed}",
        ]  # fmt: skip
        if self.own_colour is not None:
            told.append(f"each in its own mean colour (needs the truth): {self.own_colour:.1f} dB")
        told += [
            f"gain over the best of them, median over examples: {self.gain:+.1f} dB",
            f"most similar other training example: {self.nearest:.1f} dB",
        ]
        if self.identified:
            told += [self.identified.sentence(), self.identified.crowd()]
        right = f"labels right: {self.labels:.0%} (evenly spread guess {self.labels_floor:.0%})"
        if self.association is not None:
            right += f", beside their own picture {self.association:.0%}"
        return [*told, right]


def _examples(count: int) -> str:
    return f"{count} example{'s' * (count != 1)}"
