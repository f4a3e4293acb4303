"""Breakdown: who is leaked most, by class, by client and by example.

Everybody is compared with others of the same label, so that a class or a client does not look
exposed only because its labels are easy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from lab.common.random_streams import random_stream
from lab.common.settings import Settings
from lab.interfaces.attack_data import Candidates
from lab.scoring.membership.rates import FEWEST, finite
from lab.scoring.shared.bootstrap import RankedScores, bootstrap_draws, interval

ENDS = 8  # members shown at either end
FEW = 8  # points of a trend
ALPHA = 0.05  # chance to name any group that does not stand out, over all groups of a kind
LISTED = 200  # groups of a kind that are kept, the largest first


class GroupLeakage(Settings):
    """The members of one class, or of one client."""

    number: int  # the label, or the client
    members: int
    others: int  # non-members with labels that these members have
    skew: float  # how far its labels are from those of all members: 0 alike, 1 apart
    auc: float | None = None  # the chance to score higher than another of the same label;
    # None: too few to say
    low: float | None = None  # 95 %, bootstrap, of this group alone
    high: float | None = None
    apart: bool = False  # whether it differs from all members together, however many were tried

    def told(self, name: str) -> str:
        if self.auc is None:
            return f"{name}: too few to say ({self.members:,} members, {self.others:,} others)"
        return (
            f"{name}: AUC {self.auc:.3f} (95 % {self.low:.3f} to {self.high:.3f}), "
            f"{self.members:,} members"
        )


class Shown(Settings):
    """One member at an end of the list."""

    place: int  # among the candidates
    label: int
    score: float
    owner: int  # the client that holds it
    beats: float | None = None  # share of others with its label that score lower
    odd: float | None = None  # share of the candidates with its label that are more ordinary


class Trend(Settings):
    """Whether exposure goes along with something: a rank correlation. Spearman 1904."""

    who: str  # such as "outliers"
    rank: float  # -1 to 1
    chance: float  # of one as far from 0 where there is none

    def sentence(self) -> str:
        told = f"rank correlation {self.rank:+.2f}, p {self.chance:.2g}"
        if self.chance >= ALPHA:
            return f"it is not shown that {self.who} are exposed more or less ({told})"
        return f"{self.who} are exposed {'more' if self.rank > 0 else 'less'} ({told})"


class LeakageByGroup(Settings):
    """Who is leaked most."""

    kind: Literal["groups"] = "groups"
    classes: tuple[GroupLeakage, ...]  # in the order of the labels
    clients: tuple[GroupLeakage, ...]  # in the order of the clients
    most: tuple[Shown, ...]
    least: tuple[Shown, ...]
    trends: tuple[Trend, ...]

    def lines(self, names: tuple[str, ...] = ()) -> list[str]:
        """In plain sentences.  names: of the classes"""
        told = []
        for kind, groups in (("class", self.classes), ("client", self.clients)):
            known = sorted(
                (each for each in groups if each.auc is not None), key=lambda each: each.auc or 0.0
            )
            if len(known) < 2:
                continue
            for word, each in (("most", known[-1]), ("least", known[0])):
                name = names[each.number] if kind == "class" and names else str(each.number)
                sure = "surely" if each.apart else "not surely"
                told.append(
                    f"{word} exposed is {each.told(f'{kind} {name}')}, {sure} apart from the rest"
                )
        return told + [trend.sentence() for trend in self.trends]


def broken_down(
    scores: np.ndarray,
    member: np.ndarray,
    labels: np.ndarray,
    owner: np.ndarray,
    odd: np.ndarray | None = None,
) -> LeakageByGroup:
    """Who is leaked most.  All (candidates,).

    owner: the client that holds each member; odd: how unlike its class each is, see `oddity`
    """
    scores = finite(scores)
    ladder = RankedScores.of(scores, member, labels)
    beats = np.full(len(scores), np.nan)
    beats[member] = ladder.places(ladder.counts[1])[ladder.members]
    classes = _groups(ladder, labels[member], labels[member], labels[~member])
    clients = _groups(ladder, owner[member], labels[member], labels[~member])
    inside = np.flatnonzero(member)
    ends = inside[np.argsort(-scores[inside], kind="stable")]

    def shown(place: int) -> Shown:
        return Shown(
            place=place,
            label=int(labels[place]),
            score=float(scores[place]),
            beats=None if np.isnan(beats[place]) else float(beats[place]),
            odd=None if odd is None else float(odd[place]),
            owner=int(owner[place]),
        )

    areas = np.array([np.nan if each.auc is None else each.auc for each in clients])
    told = [
        _trend("clients whose labels differ from the rest's", [one.skew for one in clients], areas),
        _trend("clients with more examples", [one.members for one in clients], areas),
    ]
    if odd is not None:
        told.insert(0, _trend("outliers of their class", odd[member], beats[member]))
    return LeakageByGroup(
        classes=classes,
        clients=clients,
        most=tuple(shown(int(place)) for place in ends[:ENDS]),
        least=tuple(shown(int(place)) for place in ends[::-1][:ENDS]),
        trends=tuple(trend for trend in told if trend),
    )


def oddity(asked: Candidates) -> np.ndarray:
    """The share of the candidates of its class that are nearer to their mean.  -> (candidates,)"""
    from scipy.stats import rankdata

    inputs, labels = asked.inputs.flatten(1), asked.labels
    found = np.zeros(len(labels))
    for label in labels.unique():
        those = labels == label
        mine = inputs[those]
        far = torch.linalg.vector_norm(mine - mine.mean(dim=0), dim=1)
        found[those.numpy()] = (rankdata(far.numpy()) - 1) / max(1, len(far) - 1)
    return found


def _groups(
    ladder: RankedScores, group: np.ndarray, mine: np.ndarray, yours: np.ndarray
) -> tuple[GroupLeakage, ...]:
    """The largest groups of members, in order.

    group (members,): the number of each one's group; mine (members,), yours (others,): labels
    """
    names, place, sizes = np.unique(group, return_inverse=True, return_counts=True)
    drawn = bootstrap_draws(len(mine), len(yours), random_stream(0, "groups"))
    value, whole = _areas(ladder, place, slice(None), slice(None))
    draws = [_areas(ladder, place, *each) for each in drawn]
    areas, overall = np.stack([each[0] for each in draws]), np.array([each[1] for each in draws])
    known = np.isin(mine, yours)  # whose label somebody else has
    compared = np.bincount(place[known], minlength=len(names))
    rivals, shares = _rivals(place, mine, yours)
    enough = np.minimum(compared, rivals) >= FEWEST
    several = enough.sum() > 1  # a group alone has none to stand apart from
    far = abs(value - whole) > _bar(int(enough.sum())) * (areas - overall[:, None]).std(axis=0)
    kept = np.sort(np.argsort(-sizes, kind="stable")[:LISTED])
    ends = np.full((2, len(names)), np.nan)
    ends[:, enough] = interval(areas[:, enough])
    return tuple(
        GroupLeakage(
            number=int(names[k]),
            members=int(sizes[k]),
            others=int(rivals[k]),
            skew=float(shares[k]),
            auc=float(value[k]) if enough[k] else None,
            low=float(ends[0, k]) if enough[k] else None,
            high=float(ends[1, k]) if enough[k] else None,
            apart=bool(several and enough[k] and far[k]),
        )
        for k in kept
    )


def _areas(
    ladder: RankedScores, place: np.ndarray, mine: np.ndarray | slice, yours: np.ndarray | slice
) -> tuple[np.ndarray, float]:
    """Of each group, and of all members together; NaN where a group has nobody to compare."""
    shares = ladder.places(ladder.counted(mine, yours)[1])[ladder.members[mine]]
    known = np.isfinite(shares)
    groups, size = place[mine][known], int(place.max()) + 1
    total = np.bincount(groups, minlength=size)
    summed = np.bincount(groups, shares[known], minlength=size)
    areas = np.divide(summed, total, out=np.full(size, np.nan), where=total > 0)
    return areas, float(summed.sum() / total.sum()) if len(groups) else np.nan


def _rivals(
    place: np.ndarray, mine: np.ndarray, yours: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Others with the labels of each group; how far its labels are from all members'.

    -> (groups,), (groups,) total variation
    """
    names = np.unique(np.concatenate([mine, yours]))
    counts = np.zeros((place.max() + 1, len(names)))
    np.add.at(counts, (place, np.searchsorted(names, mine)), 1)
    there = np.bincount(np.searchsorted(names, yours), minlength=len(names))
    rivals = (counts > 0) @ there
    shares = counts / counts.sum(axis=1, keepdims=True)
    return rivals, abs(shares - counts.sum(axis=0) / counts.sum()).sum(axis=1) / 2


def _bar(groups: int) -> float:
    """Standard deviations beyond which not even one of so many groups lies by chance, mostly."""
    from scipy.stats import norm

    return float(norm.isf(ALPHA / 2 / max(1, groups)))


def _trend(who: str, one: Sequence[float] | np.ndarray, other: np.ndarray) -> Trend | None:
    """None where there are too few, or where one of them never changes."""
    from scipy.stats import spearmanr

    known = np.isfinite(other)
    first, second = np.asarray(one)[known], other[known]
    if len(first) < FEW or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    found = spearmanr(first, second)
    return Trend(who=who, rank=float(found.statistic), chance=float(found.pvalue))
