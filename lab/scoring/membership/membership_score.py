"""Membership scores: ROC with its uncertainty, a blind baseline, and the ceiling of privacy."""

from __future__ import annotations

from typing import Literal

import numpy as np

from lab.common.random_streams import random_stream
from lab.common.settings import Settings
from lab.privacy.guarantee import AttackCeiling
from lab.scoring.membership.rates import (
    BY_CHANCE,
    FEWEST,
    NEEDED,
    BalancedAccuracy,
    RateAtFpr,
    balanced,
    finite,
    stated,
)
from lab.scoring.membership.same_label_score import SameLabelScore, stratified
from lab.scoring.shared.bootstrap import RankedScores, bootstrap_draws, interval
from lab.scoring.shared.roc_curve import auc, true_positives

GRID = np.concatenate([[0.0], np.logspace(-4, 0, 81)])  # false-positive rates of the curve
STATED = (0.01, 0.001)  # false-positive rates at which a number is given


class Curve(Settings):
    """A ROC with its 95 % bootstrap band.  All three run along `false_positives`."""

    false_positives: tuple[float, ...]
    true_positives: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


class MembershipScore(Settings):
    """What a membership attack achieved, with all that is needed to judge it."""

    kind: Literal["membership"] = "membership"
    members: int
    others: int
    auc: float
    auc_low: float  # 95 %, bootstrap
    auc_high: float
    rates: tuple[RateAtFpr, ...]  # at 1 % and 0.1 %
    curve: Curve
    histogram: dict[str, tuple[float, ...]]  # edges, members, others: shares per bin
    most: tuple[int, ...]  # places among the candidates of the most exposed members
    least: tuple[int, ...]
    verdict: str
    blind: float | None = None  # AUC of a classifier that never saw the model; None: too few
    blind_low: float | None = None
    blind_high: float | None = None
    ceiling_auc: float | None = None  # the most that any attack can reach, under the run's epsilon
    balanced: BalancedAccuracy | None = (
        None  # None: too few to choose a threshold by and to judge it
    )
    strata: SameLabelScore | None = None  # the same among examples with the same label

    def lines(self, blind: bool = True) -> list[str]:
        """In plain sentences: what was found, beside what a guess would give."""
        told = [
            self.verdict,
            f"AUC {self.auc:.3f} (95 % {self.auc_low:.3f} to {self.auc_high:.3f}), "
            f"{self.members:,} members, {self.others:,} others",
            *(rate.sentence() for rate in self.rates),
            *([self.balanced.sentence()] if self.balanced else []),
            *([self.baseline()] if blind else []),
        ]
        if self.ceiling_auc is not None:
            told.append(f"under this epsilon no attack can expect more than {self.ceiling_auc:.3f}")
        return told + (self.strata.lines() if self.strata else [])

    def baseline(self) -> str:
        """What a classifier reaches that never saw the model."""
        if self.blind is None:
            return "blind guess: too few examples to say"
        return f"blind guess: AUC {self.blind:.3f} ({self.blind_low:.3f} to {self.blind_high:.3f})"


def score_membership(
    scores: np.ndarray,
    member: np.ndarray,
    blind: np.ndarray | None,
    ceiling: AttackCeiling | None,
    labels: np.ndarray | None = None,
) -> MembershipScore:
    """Judge the scores of all candidates, of which `member` (candidates,) says the truth.

    blind: scores of a classifier that never saw the model, NaN where it gave none
    labels: (candidates,) whose members and others are compared with their like, too
    """
    scores = finite(scores)
    members, others = scores[member], scores[~member]
    ladder = RankedScores.of(scores, member, np.zeros(len(scores), dtype=np.int64))
    areas, rates = _drawn(ladder, np.concatenate([STATED, GRID]))
    low, high = interval(areas)
    ends = interval(rates)  # (2, rates)
    order = np.flatnonzero(member)[np.argsort(-members, kind="stable")]
    baseline = _blind(blind, member)
    value = auc(members, others)
    return MembershipScore(
        members=len(members),
        others=len(others),
        auc=value,
        auc_low=float(low),
        auc_high=float(high),
        rates=tuple(
            rate(members, others, asked, (float(ends[0, k]), float(ends[1, k])))
            for k, asked in enumerate(STATED)
        ),
        curve=Curve(
            false_positives=_floats(GRID),
            true_positives=_floats(true_positives(members, others, GRID)),
            low=_floats(ends[0, len(STATED) :]),
            high=_floats(ends[1, len(STATED) :]),
        ),
        histogram=_histogram(members, others),
        blind=baseline[0],
        blind_low=baseline[1],
        blind_high=baseline[2],
        most=tuple(int(place) for place in order[:8]),
        least=tuple(int(place) for place in order[::-1][:8]),
        ceiling_auc=ceiling.auc() if ceiling else None,
        balanced=balanced(scores, member),
        strata=None if labels is None else stratified(scores, member, labels, blind),
        verdict=_verdict(low, high, baseline, min(len(members), len(others))),
    )


def rate(
    members: np.ndarray,
    others: np.ndarray,
    asked: float,
    drawn: tuple[float, float] | None = None,
) -> RateAtFpr:
    """The true-positive rate at `asked`, and nothing from too few non-members.

    Its interval is Clopper and Pearson's, which takes the threshold as given, widened to `drawn`,
    the bootstrap's, which does not (but has no width at a rate of zero).
    """
    needed = round(NEEDED / asked)
    if len(others) < needed:
        note = f"not enough non-members to say: {len(others):,} of {needed:,}"
        return RateAtFpr(false_positives=asked, note=note)
    found = round(true_positives(members, others, np.array([asked]))[0] * len(members))
    return stated(asked, found, len(members), drawn)


def _drawn(ladder: RankedScores, rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Area and true-positive rates of every draw.  -> (draws,), (draws, rates)"""
    areas, found = [], []
    for each in bootstrap_draws(
        len(ladder.members), len(ladder.others), random_stream(0, "bootstrap")
    ):
        counts = ladder.counted(*each)
        areas.append(ladder.area(counts))
        found.append(ladder.above(counts, rates)[0] / len(ladder.members))
    return np.array(areas), np.stack(found)


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _histogram(members: np.ndarray, others: np.ndarray) -> dict[str, tuple[float, ...]]:
    both = np.concatenate([members, others])
    low, high = float(np.quantile(both, 0.005)), float(both.max())
    edges = np.linspace(low, high if high > low else low + 1.0, 41)
    counts = [np.histogram(part.clip(low), edges)[0] for part in (members, others)]
    shares = [_floats(count / count.sum()) for count in counts]
    return {"edges": _floats(edges), "members": shares[0], "others": shares[1]}


def _blind(
    scores: np.ndarray | None, member: np.ndarray
) -> tuple[float | None, float | None, float | None]:
    """AUC of the blind scores and its interval."""
    if scores is None:
        return None, None, None
    known = ~np.isnan(scores)
    ladder = RankedScores.of(scores[known], member[known], np.zeros(known.sum(), dtype=np.int64))
    drawn = bootstrap_draws(
        len(ladder.members), len(ladder.others), random_stream(0, "blind bootstrap")
    )
    low, high = interval(np.array([ladder.area(ladder.counted(*each)) for each in drawn]))
    return ladder.area(ladder.counts), float(low), float(high)


def _verdict(
    low: float, high: float, blind: tuple[float | None, float | None, float | None], fewest: int
) -> str:
    if fewest < FEWEST:
        return f"too few to say: {fewest} members or others, and {FEWEST} of each are needed"
    if blind[1] is not None and blind[2] is not None and not blind[1] <= 0.5 <= blind[2]:
        return (
            "invalid: members can be told from others without the model, by a 95 % interval; "
            f"{BY_CHANCE}"
        )
    if low > 0.5:
        return "members stand out: the interval of the AUC lies above 0.5"
    if high < 0.5:
        return "upside down: members score lower than others, as this attack does not expect"
    return "no better than chance: the interval of the AUC holds 0.5"
