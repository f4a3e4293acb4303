"""The score of a reconstruction as a value: every number beside what a guess would have reached."""

from __future__ import annotations

from lab.neighbours import Identified
from lab.settings import Settings
from lab.verdicts import verdict


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
