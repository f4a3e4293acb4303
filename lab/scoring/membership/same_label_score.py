"""Strata: membership among examples with the same label.

Where labels are skewed, a score that only tells which labels somebody holds looks like a membership
attack.  Compared with others of the same label, such a score is worth nothing.
"""

from __future__ import annotations

import numpy as np

from lab.common.random_streams import random_stream
from lab.common.settings import Settings
from lab.scoring.membership.rates import BY_CHANCE, FEWEST, NEEDED, RateAtFpr, finite, stated
from lab.scoring.shared.bootstrap import RankedScores, bootstrap_draws, interval

STATED = 0.01  # the false-positive rate at which a number is given


class SameLabelScore(Settings):
    """What an attack knows besides labels, beside what it has from labels."""

    labels: int  # that have members and others both
    members: int  # with those labels
    others: int
    left_out: int  # candidates whose label is on one side only
    # Membership given the label: the chance that a member scores higher than another of its label.
    given: float | None = None  # None: no label is on both sides
    given_low: float | None = None  # 95 %, bootstrap
    given_high: float | None = None
    # Label-distribution leakage: how much higher the AUC is when labels are let in.
    leaked: float | None = None
    leaked_low: float | None = None  # 95 %, paired bootstrap: the same draws for both
    leaked_high: float | None = None
    rate: RateAtFpr | None = None  # a threshold for each label that has non-members enough
    blind: float | None = None  # the same given the label, without the model; None: too few
    blind_low: float | None = None
    blind_high: float | None = None

    @property
    def valid(self) -> bool:
        """Whether members and others with the same label look alike without the model."""
        if self.blind_low is None or self.blind_high is None:
            return True
        return self.blind_low <= 0.5 <= self.blind_high

    @property
    def verdict(self) -> str:
        if self.given is None or self.given_low is None or self.given_high is None:
            return "no label is on both sides: nothing can be said of membership given the label"
        if min(self.members, self.others) < FEWEST:
            return f"too few to say given the label: {FEWEST} members and others are needed"
        if not self.valid:
            return (
                "invalid given the label, too: members differ from others without the model; "
                f"{BY_CHANCE}"
            )
        if self.given_low > 0.5:
            return "members stand out even among examples with the same label"
        if self.given_high < 0.5:
            return "upside down among examples with the same label"
        return "no better than chance among examples with the same label"

    def lines(self) -> list[str]:
        """In plain sentences."""
        told = [self.verdict]
        if self.given is not None:
            told += [
                f"membership given the label: AUC {self.given:.3f} "
                f"(95 % {self.given_low:.3f} to {self.given_high:.3f}), over {self.labels} labels",
                f"label-distribution leakage: {self.leaked:+.3f} of AUC "
                f"(95 % {self.leaked_low:+.3f} to {self.leaked_high:+.3f})",
            ]
        if self.rate:
            told.append(f"given the label, {self.rate.sentence()}")
        if self.blind is not None:
            told.append(
                f"blind guess given the label: AUC {self.blind:.3f} "
                f"({self.blind_low:.3f} to {self.blind_high:.3f})"
            )
        if self.left_out:
            told.append(f"{self.left_out:,} candidates have a label that is on one side only")
        return told


def stratified(
    scores: np.ndarray, member: np.ndarray, labels: np.ndarray, blind: np.ndarray | None = None
) -> SameLabelScore:
    """Judge scores among candidates with the same label.  All (candidates,).

    The area is the mean over members of the share of others with their label that score lower, so
    a label counts by its members.  blind: scores of a classifier that never saw the model, NaN
    where it gave none
    """
    scores, shared = finite(scores), _shared(member, labels)
    pooled = RankedScores.of(scores, member, np.zeros_like(labels))
    within = RankedScores.of(scores, member, labels)
    counted = {
        "labels": len(np.unique(labels[shared])),
        "members": int((shared & member).sum()),
        "others": int((shared & ~member).sum()),
        "left_out": int((~shared).sum()),
    }
    if not shared.any():
        return SameLabelScore(**counted)
    drawn = bootstrap_draws(
        int(member.sum()), int((~member).sum()), random_stream(0, "strata bootstrap")
    )
    areas = np.array(
        [[within.area(within.counted(*each)), pooled.area(pooled.counted(*each))] for each in drawn]
    )
    low, high = interval(areas[:, 0])
    leaked_low, leaked_high = interval(areas[:, 1] - areas[:, 0])
    given = within.area(within.counts)
    return SameLabelScore(
        **counted,
        given=given,
        given_low=float(low),
        given_high=float(high),
        leaked=pooled.area(pooled.counts) - given,
        leaked_low=float(leaked_low),
        leaked_high=float(leaked_high),
        rate=_rate(scores, member, labels),
        **_blind(blind, member, labels),
    )


def _shared(member: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whose label is on both sides.  -> (candidates,) bool"""
    both = np.intersect1d(labels[member], labels[~member])
    found: np.ndarray = np.isin(labels, both)
    return found


def _rate(scores: np.ndarray, member: np.ndarray, labels: np.ndarray) -> RateAtFpr:
    """With a threshold for each label that has members, and others enough."""
    needed = round(NEEDED / STATED)
    names, counts = np.unique(labels[~member], return_counts=True)
    enough = np.intersect1d(names[counts >= needed], labels[member])
    if not len(enough):
        most = f"{counts.max() if len(counts) else 0:,} of {needed:,}"
        note = f"not enough non-members to say: {most} with the commonest label"
        return RateAtFpr(false_positives=STATED, note=note)
    kept, asked = np.isin(labels, enough), np.array([STATED])
    ladder = RankedScores.of(scores[kept], member[kept], labels[kept])
    members, others = len(ladder.members), len(ladder.others)
    shares = [
        ladder.above(ladder.counted(*each), asked).sum() / members
        for each in bootstrap_draws(members, others, random_stream(0, "strata rates"))
    ]
    low, high = interval(np.array(shares))
    note = f"labels with non-members enough: {len(enough)} of {len(names)}"
    found = int(ladder.above(ladder.counts, asked).sum())
    return stated(STATED, found, members, (float(low), float(high)), note)


def _blind(scores: np.ndarray | None, member: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    if scores is None:
        return {}
    known = ~np.isnan(scores)
    known[known] = _shared(member[known], labels[known])
    if min((known & member).sum(), (known & ~member).sum()) < FEWEST:
        return {}
    ladder = RankedScores.of(scores[known], member[known], labels[known])
    drawn = bootstrap_draws(
        len(ladder.members), len(ladder.others), random_stream(0, "blind strata")
    )
    low, high = interval(np.array([ladder.area(ladder.counted(*each)) for each in drawn]))
    area = ladder.area(ladder.counts)
    return {"blind": area, "blind_low": float(low), "blind_high": float(high)}
