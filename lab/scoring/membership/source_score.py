"""Attribution: of how many members an attack names the client that holds them.

Beside it stands what anybody does who knows each client's label histogram and no model: under label
skew that alone names most owners.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from lab.common.settings import Settings

LEVEL = 0.95


class ClassShare(Settings):
    """The members of one class."""

    label: int
    members: int
    right: float  # share whose owner is named; one of several firsts counts in part
    by_label: float  # what the client with most of that class would get


class SourceInferenceScore(Settings):
    """Whose record is it?  What the attack answers for records that somebody holds."""

    kind: Literal["source"] = "source"
    members: int
    clients: int  # to choose from
    right: float  # share of members whose owner is named; one of several firsts counts in part
    low: float  # 95 %, Clopper and Pearson, as if members were independent
    high: float
    chance: float  # any client at random
    largest: float  # always the client with most examples
    by_label: float  # always the client with most examples of that class
    classes: tuple[ClassShare, ...]
    verdict: str

    def lines(self) -> list[str]:
        """In plain sentences."""
        return [
            self.verdict,
            f"owner named for {self.right:.1%} of {self.members:,} members "
            f"(95 % {self.low:.1%} to {self.high:.1%}), among {self.clients} clients",
            f"without any model: {self.chance:.1%} at random, {self.largest:.1%} by size, "
            f"{self.by_label:.1%} by label, for whoever knows each client's label histogram",
        ]


def attribute(
    scores: np.ndarray, owner: np.ndarray, labels: np.ndarray, counts: np.ndarray
) -> SourceInferenceScore:
    """Judge the scores of every client for every member.

    scores (clients, members), NaN counts as the lowest; owner (members,) rows of it;
    labels (members,); counts (clients, classes): examples that each client holds
    """
    from scipy.stats import binomtest

    credit = _credit(np.nan_to_num(scores, nan=-np.inf), owner)
    guessed = _credit(counts[:, labels], owner)
    # Of how many whole members: a shared first place counts in part.
    exact = binomtest(round(credit.sum()), len(credit)).proportion_ci(LEVEL, method="exact")
    found = [
        ClassShare(
            label=int(label),
            members=int((labels == label).sum()),
            right=float(credit[labels == label].mean()),
            by_label=float(guessed[labels == label].mean()),
        )
        for label in np.unique(labels)
    ]
    chance, by_label = 1 / len(scores), float(guessed.mean())
    same = bool((scores == scores[:1]).all())
    return SourceInferenceScore(
        members=len(owner),
        clients=len(scores),
        right=float(credit.mean()),
        low=float(exact.low),
        high=float(exact.high),
        chance=chance,
        largest=float(_credit(counts.sum(axis=1)[:, None].repeat(len(owner), 1), owner).mean()),
        by_label=by_label,
        classes=tuple(found),
        verdict=_verdict(same, float(exact.low), chance, by_label),
    )


def _credit(scores: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """1 where the owner alone is first, a part where it shares that place.  -> (members,)"""
    first = scores == scores.max(axis=0)  # (clients, members)
    mine: np.ndarray = first[owner, np.arange(len(owner))] / first.sum(axis=0)
    return mine


def _verdict(same: bool, low: float, chance: float, by_label: float) -> str:
    if same:
        return "owners cannot be told apart: every client gets the same score"
    if low > max(chance, by_label):
        return "owners are told apart, beyond what their labels say"
    if low > chance:
        return "owners are told apart, but no better than by their labels"
    return "owners are not told apart: no better than chance"
