"""Rates: what a membership attack finds at a threshold, with intervals or with a refusal."""

from __future__ import annotations

from math import hypot

import numpy as np

from lab.common.random_streams import random_stream
from lab.common.settings import SettingError, Settings
from lab.scoring.shared.bootstrap import LEVEL

NEEDED = 10  # false positives that a stated rate rests on at least
BY_CHANCE = "by chance this happens in 1 sound run of 20"  # of a 95 % interval, in words
FEWEST = 20  # members and others each; below that the bootstrap cannot be believed


class RateAtFpr(Settings):
    """True-positive rate at a false-positive rate, where there are non-members enough to say."""

    false_positives: float  # the rate asked for
    value: float | None = None
    low: float | None = None  # 95 %, bootstrap, and at least as wide as Clopper-Pearson
    high: float | None = None
    note: str = ""  # why nothing is said, or what it is said of

    def sentence(self) -> str:
        at = f"TPR at {self.false_positives:.1%} FPR"
        if self.value is None:
            return f"{at}: {self.note}"
        of = f", {self.note}" if self.note else ""
        return f"{at}: {self.value:.2%} (95 % {self.low:.2%} to {self.high:.2%}){of}"

    def believed(self, prior: float) -> tuple[float, float, float] | None:
        """The share of the accused who are members, where `prior` of all candidates are.

        With its interval: that of the true-positive rate, at the false-positive rate asked for.
        """
        if self.value is None or self.low is None or self.high is None:
            return None
        wrong = (1 - prior) * self.false_positives
        found, low, high = (
            prior * each / (prior * each + wrong) for each in (self.value, self.low, self.high)
        )
        return found, low, high


class BalancedAccuracy(Settings):
    """Balanced accuracy: the mean of the rates at which members and others are told right.

    The threshold that is best on one half of the candidates is judged on the other half, because
    the best threshold of the same scores flatters.
    """

    value: float
    low: float  # 95 %
    high: float
    threshold: float

    def sentence(self) -> str:
        return f"balanced accuracy: {self.value:.1%} (95 % {self.low:.1%} to {self.high:.1%})"


def stated(
    asked: float,
    found: int,
    members: int,
    drawn: tuple[float, float] | None = None,
    note: str = "",
) -> RateAtFpr:
    """So many members found, with the interval described at `rate`."""
    ends = [exact(found, members), *([drawn] if drawn else [])]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    return RateAtFpr(false_positives=asked, value=found / members, low=low, high=high, note=note)


def exact(found: int, total: int) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share."""
    from scipy.stats import binomtest

    ends = binomtest(found, total).proportion_ci(LEVEL, method="exact")
    return float(ends.low), float(ends.high)


def balanced(scores: np.ndarray, member: np.ndarray) -> BalancedAccuracy | None:
    """Judged on candidates by whom its threshold was not chosen; None where there are too few.

    The distances to both exact limits add up by their squares (Newcombe 1998, method 10).
    """
    order = random_stream(0, "halves").permutation(len(scores))
    chosen = np.zeros(len(scores), dtype=bool)
    for side in (True, False):  # half of each
        mine = order[member[order] == side]
        chosen[mine[: len(mine) // 2]] = True
    if min((member & chosen).sum(), (~member & chosen).sum()) < FEWEST:
        return None
    threshold = _best_threshold(scores[chosen & member], scores[chosen & ~member])
    told = scores[~chosen] > threshold
    truth = member[~chosen]
    total = int(truth.sum()), int((~truth).sum())
    right = int((told & truth).sum()), int((~told & ~truth).sum())
    rates = [one / all_ for one, all_ in zip(right, total, strict=True)]
    limits = [exact(one, all_) for one, all_ in zip(right, total, strict=True)]
    below = hypot(*(rate - low for rate, (low, _) in zip(rates, limits, strict=True)))
    beyond = hypot(*(high - rate for rate, (_, high) in zip(rates, limits, strict=True)))
    value = sum(rates) / 2
    return BalancedAccuracy(
        value=value,
        low=value - below / 2,
        high=value + beyond / 2,
        threshold=threshold,
    )


def _best_threshold(members: np.ndarray, others: np.ndarray) -> float:
    """Half-way to the next score, so that neither side of a gap is favoured."""
    values = np.unique(np.concatenate([members, others]))
    middles = np.append(values[:-1] + np.diff(values) / 2, values[-1])
    passed = [
        1 - np.searchsorted(np.sort(side), middles, side="right") / len(side)
        for side in (members, others)
    ]
    return float(middles[np.argmax(passed[0] - passed[1])])


def finite(scores: np.ndarray) -> np.ndarray:
    """Overflowed scores become the lowest or highest; what is no number becomes the lowest.

    Raises SettingError when there is no finite score at all.
    """
    known = scores[np.isfinite(scores)]
    if not len(known):
        raise SettingError("the model answers with nothing but overflow: choose an earlier round")
    low, high = float(known.min()) - 1, float(known.max()) + 1
    finite: np.ndarray = np.nan_to_num(scores, nan=low, neginf=low, posinf=high)
    return finite
