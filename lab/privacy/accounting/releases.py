"""Spendings: which releases there were, as accountants count them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class GaussianReleases:
    """`times` rounds, in each of which with `chance` come `steps` releases.

    A release is a Gaussian mechanism on a Poisson sample.  Whether a round had any is not secret:
    who takes part adds noise of its own, so that staying away is no release without the record.
    """

    rate: float
    noise: float
    times: int
    steps: int = 1
    chance: float = 1.0
    leak: float = 0.0  # probability in each round of an event after which nothing is guaranteed
    rare: float = 0.0  # probability, known in each round, that the record moves the sum further
    reach: float = 1.0  # how much further then

    def always(self) -> GaussianReleases:
        """At least as much spending, and simpler: releases in every round.

        Leaves the leak out, and what is rare: see `leaked`.
        """
        return GaussianReleases(self.rate, self.noise, self.times * self.steps)

    def farthest(self) -> GaussianReleases:
        """What comes of it in the rare rounds."""
        return replace(self, noise=self.noise / self.reach, rare=0.0, reach=1.0)


def leaked(spendings: Iterable[GaussianReleases], rare: bool = False) -> float:
    """The part of delta that leaks use up, by the union bound.

    rare: rare rounds in which the record takes part count as leaks, for who can count no other way
    """
    return sum(
        each.times * (each.leak + (each.rate * each.rare * each.steps if rare else 0.0))
        for each in spendings
    )


def releases_of(spendings: Iterable[GaussianReleases]) -> tuple[GaussianReleases, ...]:
    """The spendings that release something, each kind once and without its leak."""
    times: dict[GaussianReleases, int] = {}
    for each in spendings:
        if each.times and each.steps:
            kind = replace(each, times=1, leak=0.0)
            times[kind] = times.get(kind, 0) + each.times
    return tuple(replace(kind, times=count) for kind, count in times.items())
