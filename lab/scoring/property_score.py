"""Poll: what a server said of a property of its clients' data, beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lab.common.random_streams import random_stream
from lab.common.settings import Settings
from lab.scoring.shared.bootstrap import DRAWS
from lab.scoring.shared.roc_curve import auc

NEEDED = 10  # clients with the property, and without; below that no interval is given


class PropertyEstimate(Settings):
    """Of one update."""

    clients: tuple[int, ...]  # whose it is; several under secure aggregation
    round: int
    score: float  # the share that the attack sees
    share: float  # the true one, of the examples behind the update
    by_labels: float | None = None  # the share that label counts alone suggest


class PropertyScore(Settings):
    """How well a property was told, of single updates or of sums."""

    kind: Literal["property"] = "property"
    trait: str
    told: str  # in words
    public: float  # its share among public examples
    present: float  # the share from which it counts as there
    said: tuple[PropertyEstimate, ...]
    verdict: str
    error: float  # mean distance of the share said from the true one
    guessed: float  # the same of the public share, which needs no update
    auc: float | None = None  # over updates, with the property against without
    low: float | None = None  # 95 %, bootstrap over clients
    high: float | None = None
    rank: float | None = None  # Spearman's, of said and true shares
    by_labels: float | None = None  # AUC of what label counts alone suggest

    def lines(self) -> list[str]:
        found = [
            f"{self.trait}: an example has it if it {self.told}",
            self.verdict,
            f"said and true share are {self.error:.3f} apart, on average; the public share "
            f"{self.public:.3f} and the true one {self.guessed:.3f}",
        ]
        if self.auc is not None:
            between = "no interval from so few clients"
            if self.low is not None:
                between = f"95 % {self.low:.3f} to {self.high:.3f}, bootstrap over clients"
            found.append(f"AUC {self.auc:.3f} ({between}); a guess without the update has 0.5")
            found.append(f"there means a share of {self.present:.3f} or more")
        if self.rank is not None:
            found.append(f"rank correlation with the true share {self.rank:.3f}")
        if self.by_labels is not None:
            found.append(f"AUC of label counts alone {self.by_labels:.3f}")
        return found


def score_property(
    trait: str, told: str, public: float, said: Sequence[PropertyEstimate], present: float = 0.0
) -> PropertyScore:
    """Judge what was said.  present: the share from which a property is there; 0: the median"""
    scores, shares = (np.array([getattr(one, of) for one in said]) for of in ("score", "share"))
    known: dict[str, float | None] = {
        "error": float(np.abs(scores - shares).mean()),
        "guessed": float(np.abs(public - shares).mean()),
    }
    single = all(len(one.clients) == 1 for one in said)
    limit = present or float(np.median(shares))
    there = shares >= limit
    verdict = "only the share of a sum can be told: the server sees no single update"
    if single and (there.all() or not there.any()):
        verdict = f"nothing to tell apart: the property is {'' if there.all() else 'not '}there in "
        verdict += "every update, by the share that counts"
    elif single:
        owners = np.array([one.clients[0] for one in said])
        ends = _interval(scores, there, owners)
        known |= {"auc": auc(scores[there], scores[~there]), "rank": _rank(scores, shares)}
        known |= {"low": ends[0], "high": ends[1]} if ends else {}
        if all(one.by_labels is not None for one in said):
            labels = np.array([one.by_labels for one in said])
            known["by_labels"] = auc(labels[there], labels[~there])
        verdict = _verdict(ends, owners, there)
    return PropertyScore.read(
        {"trait": trait, "told": told, "public": public, "present": limit, "verdict": verdict}
        | {name: value for name, value in known.items() if value is not None}
        | {"said": tuple(said)}
    )


def _rank(scores: np.ndarray, shares: np.ndarray) -> float | None:
    from scipy.stats import spearmanr

    if min(np.ptp(scores), np.ptp(shares)) == 0:
        return None
    return float(spearmanr(scores, shares).statistic)


def _sides(owners: np.ndarray, there: np.ndarray) -> tuple[int, int]:
    """How many clients have an update with the property, and how many one without."""
    return len(np.unique(owners[there])), len(np.unique(owners[~there]))


def _interval(
    scores: np.ndarray, there: np.ndarray, owners: np.ndarray
) -> tuple[float, float] | None:
    """Of the AUC, over draws of clients with all their updates; None where they are too few."""
    if min(_sides(owners, there)) < NEEDED:
        return None
    drawn, mine = (
        random_stream(0, "poll"),
        [np.flatnonzero(owners == one) for one in np.unique(owners)],
    )
    found = []
    for _ in range(DRAWS):
        places = np.concatenate([mine[one] for one in drawn.integers(len(mine), size=len(mine))])
        inside, outside = places[there[places]], places[~there[places]]
        if len(inside) and len(outside):
            found.append(auc(scores[inside], scores[outside]))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def _verdict(ends: tuple[float, float] | None, owners: np.ndarray, there: np.ndarray) -> str:
    if ends is None:
        inside, outside = _sides(owners, there)
        return (
            f"too few to say: {inside} clients with the property and {outside} without, and "
            f"{NEEDED} of each are needed"
        )
    if ends[0] > 0.5:
        return "the property shows: the interval of the AUC lies above 0.5"
    if ends[1] < 0.5:
        return "upside down: clients with the property score lower"
    return "no better than chance: the interval of the AUC holds 0.5"
