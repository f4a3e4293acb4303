"""Guarantees of a run, and the ceiling that they set to any attack."""

from __future__ import annotations

from math import exp

import numpy as np

from lab.common.settings import Settings


class PrivacyGuarantee(Settings):
    """A differential-privacy guarantee with all that makes its epsilon mean something."""

    epsilon: float
    at_least: float | None = None  # what it is not below, where the accountant is not tight
    delta: float
    unit: str  # what one record is: an example or a client
    relation: str  # when two data sets are neighbours
    against: str  # who the adversary may be
    sampling: str  # how examples or clients were drawn
    accountant: str
    noise: tuple[float, ...]  # noise multipliers of the mechanisms composed
    profile: tuple[tuple[float, float], ...] = ()  # further pairs of epsilon and delta that hold
    condition: str = "the seed and the records stay secret"  # as long as which it holds

    def differs(self, other: PrivacyGuarantee) -> list[str]:
        """In what another guarantee means something else, so that the two cannot be compared."""
        names = ("unit", "relation", "against", "delta")
        return [name for name in names if getattr(self, name) != getattr(other, name)]

    def value(self) -> str:
        if self.at_least is None:
            return f"{self.epsilon:.3g}"
        return f"{self.at_least:.3g} to {self.epsilon:.3g}"

    def sentence(self) -> str:
        return (
            f"epsilon {self.value()} at delta {self.delta:g} for one {self.unit} "
            f"({self.relation}), against {self.against}; {self.sampling}; {self.accountant}; "
            f"for this run alone, as long as {self.condition}"
        )


FINE = 4000  # points under a ceiling


class AttackCeiling(Settings):
    """The best that any attack can do. Kairouz et al. 2015, arXiv:1311.0776, theorem 2.1.

    Every pair of epsilon and delta that holds is a bound; together they are the trade-off function
    (Dong et al. 2022, arXiv:1905.02383, proposition 2.12).
    """

    epsilon: float
    delta: float
    profile: tuple[tuple[float, float], ...] = ()  # further pairs that hold

    def true_positives(self, rates: np.ndarray) -> np.ndarray:
        """The largest true-positive rate at each false-positive rate."""
        pairs = np.array([(self.epsilon, self.delta), *self.profile])
        epsilons, deltas = np.minimum(pairs[:, :1], 700.0), pairs[:, 1:]  # (pairs, 1)
        grown = np.exp(epsilons) * rates + deltas
        shrunk = 1 - np.exp(-epsilons) * (1 - deltas - rates)
        best: np.ndarray = np.clip(np.minimum(grown, shrunk).min(axis=0), rates, 1.0)
        return best

    def auc(self) -> float:
        """The area under that curve, from above."""
        # With one pair alone: 1 - (1 - delta)^2 / (1 + e^epsilon).
        area = 1 - (1 - self.delta) ** 2 / (1 + exp(min(self.epsilon, 700.0)))
        if not self.profile:
            return area
        rates = np.union1d(np.geomspace(1e-9, 1.0, FINE), np.linspace(0.0, 1.0, FINE))
        return min(area, float(np.diff(rates) @ self.true_positives(rates[1:])))


def ceiling_of(guarantee: PrivacyGuarantee | None) -> AttackCeiling | None:
    """What the guarantee says of one example's membership.

    A client's guarantee covers an example too: changing it replaces the client, which is one
    removal and one addition, so epsilon doubles (group privacy, Dwork and Roth 2014, theorem 2.2).
    """
    if guarantee is None:
        return None
    pairs = [(guarantee.epsilon, guarantee.delta), *guarantee.profile]
    if guarantee.unit == "client":
        pairs = [(2 * one, min(1.0, delta * (1 + exp(min(one, 50.0))))) for one, delta in pairs]
    return AttackCeiling(epsilon=pairs[0][0], delta=pairs[0][1], profile=tuple(pairs[1:]))
