"""Membership scores: ROC with its uncertainty, a blind baseline, and the ceiling of privacy."""

from __future__ import annotations

from math import exp

import numpy as np

from lab.rng import stream
from lab.settings import SettingError, Settings

DRAWS = 400  # of the bootstrap
LEVEL = 0.95
FINE = 4000  # points under a ceiling
GRID = np.concatenate([[0.0], np.logspace(-4, 0, 81)])  # false-positive rates of the curve
STATED = (0.01, 0.001)  # false-positive rates at which a number is given
NEEDED = 10  # false positives that a stated rate rests on at least
FEWEST = 20  # members and others each; below that the bootstrap cannot be believed


class Rate(Settings):
    """True-positive rate at a false-positive rate, where there are non-members enough to say."""

    false_positives: float  # the rate asked for
    value: float | None = None
    low: float | None = None  # 95 %, bootstrap, and at least as wide as Clopper-Pearson
    high: float | None = None
    note: str = ""

    def sentence(self) -> str:
        at = f"TPR at {self.false_positives:.1%} FPR"
        if self.value is None:
            return f"{at}: {self.note}"
        return f"{at}: {self.value:.2%} (95 % {self.low:.2%} to {self.high:.2%})"


class Curve(Settings):
    """A ROC with its 95 % bootstrap band.  All three run along `false_positives`."""

    false_positives: tuple[float, ...]
    true_positives: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


class Exposure(Settings):
    """What a membership attack achieved, with all that is needed to judge it."""

    members: int
    others: int
    auc: float
    auc_low: float  # 95 %, bootstrap
    auc_high: float
    rates: tuple[Rate, ...]  # at 1 % and 0.1 %
    curve: Curve
    histogram: dict[str, tuple[float, ...]]  # edges, members, others: shares per bin
    most: tuple[int, ...]  # places among the candidates of the most exposed members
    least: tuple[int, ...]
    verdict: str
    blind: float | None = None  # AUC of a classifier that never saw the model; None: too few
    blind_low: float | None = None
    blind_high: float | None = None
    ceiling_auc: float | None = None  # the most that any attack can reach, under the run's epsilon

    def baseline(self) -> str:
        """What a classifier reaches that never saw the model."""
        if self.blind is None:
            return "blind guess: too few examples to say"
        return f"blind guess: AUC {self.blind:.3f} ({self.blind_low:.3f} to {self.blind_high:.3f})"


def auc(members: np.ndarray, others: np.ndarray) -> float:
    """The chance that a member scores higher than another; ties count half (Mann-Whitney)."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([members, others]))[: len(members)]
    wins = ranks.sum() - len(members) * (len(members) + 1) / 2
    return float(wins / (len(members) * len(others)))


def true_positives(members: np.ndarray, others: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """The best rate by a threshold with at most `rates` false positives, ties kept together."""
    descending = np.sort(others)[::-1]
    allowed = np.floor(rates * len(others) + 1e-9).astype(int)  # false positives
    # The threshold is the first score that would be one false positive too many.
    limit = np.where(
        allowed < len(others), descending[np.minimum(allowed, len(others) - 1)], -np.inf
    )
    above = len(members) - np.searchsorted(np.sort(members), limit, side="right")
    return above / len(members)


def expose(
    scores: np.ndarray, member: np.ndarray, blind: np.ndarray | None, ceiling: Ceiling | None
) -> Exposure:
    """Judge the scores of all candidates, of which `member` (candidates,) says the truth.

    blind: scores of a classifier that never saw the model, NaN where it gave none
    """
    scores = _finite(scores)
    members, others = scores[member], scores[~member]
    generator = stream(0, "bootstrap")
    draws = [_redrawn(members, others, generator) for _ in range(DRAWS)]
    low, high = _interval(np.array([auc(*draw) for draw in draws]))
    stated = _interval(np.stack([true_positives(*draw, np.array(STATED)) for draw in draws]))
    band = _interval(np.stack([true_positives(*draw, GRID) for draw in draws]))
    order = np.flatnonzero(member)[np.argsort(-members, kind="stable")]
    baseline = _blind(blind, member)
    value = auc(members, others)
    return Exposure(
        members=len(members),
        others=len(others),
        auc=value,
        auc_low=float(low),
        auc_high=float(high),
        rates=tuple(
            rate(members, others, asked, (float(ends[0]), float(ends[1])))
            for asked, ends in zip(STATED, stated.T, strict=True)
        ),
        curve=Curve(
            false_positives=_floats(GRID),
            true_positives=_floats(true_positives(members, others, GRID)),
            low=_floats(band[0]),
            high=_floats(band[1]),
        ),
        histogram=_histogram(members, others),
        blind=baseline[0],
        blind_low=baseline[1],
        blind_high=baseline[2],
        most=tuple(int(place) for place in order[:8]),
        least=tuple(int(place) for place in order[::-1][:8]),
        ceiling_auc=ceiling.auc() if ceiling else None,
        verdict=_verdict(low, high, baseline, min(len(members), len(others))),
    )


def rate(
    members: np.ndarray,
    others: np.ndarray,
    asked: float,
    drawn: tuple[float, float] | None = None,
) -> Rate:
    """The true-positive rate at `asked`, and nothing from too few non-members.

    Its interval is Clopper and Pearson's, which takes the threshold as given, widened to `drawn`,
    the bootstrap's, which does not (but has no width at a rate of zero).
    """
    from scipy.stats import binomtest

    needed = round(NEEDED / asked)
    if len(others) < needed:
        note = f"not enough non-members to say: {len(others):,} of {needed:,}"
        return Rate(false_positives=asked, note=note)
    value = float(true_positives(members, others, np.array([asked]))[0])
    found = round(value * len(members))
    exact = binomtest(found, len(members)).proportion_ci(LEVEL, method="exact")
    ends = [(float(exact.low), float(exact.high)), *([drawn] if drawn else [])]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    return Rate(false_positives=asked, value=value, low=low, high=high)


class Ceiling(Settings):
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


def _finite(scores: np.ndarray) -> np.ndarray:
    """Overflowed scores become the lowest or highest; what is no number becomes the lowest.

    Raises SettingError when there is no finite score at all.
    """
    known = scores[np.isfinite(scores)]
    if not len(known):
        raise SettingError("the model answers with nothing but overflow: choose an earlier round")
    low, high = float(known.min()) - 1, float(known.max()) + 1
    finite: np.ndarray = np.nan_to_num(scores, nan=low, neginf=low, posinf=high)
    return finite


def _redrawn(
    members: np.ndarray, others: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    pick = generator.integers
    return members[pick(len(members), size=len(members))], others[
        pick(len(others), size=len(others))
    ]


def _interval(values: np.ndarray) -> np.ndarray:
    ends: np.ndarray = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return ends


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
    members, others = scores[known & member], scores[known & ~member]
    generator = stream(0, "blind bootstrap")
    draws = [auc(*_redrawn(members, others, generator)) for _ in range(DRAWS)]
    low, high = _interval(np.array(draws))
    return auc(members, others), float(low), float(high)


def _verdict(
    low: float, high: float, blind: tuple[float | None, float | None, float | None], fewest: int
) -> str:
    if fewest < FEWEST:
        return f"too few to say: {fewest} members or others, and {FEWEST} of each are needed"
    if blind[1] is not None and blind[2] is not None and not blind[1] <= 0.5 <= blind[2]:
        return (
            "invalid: members can be told from others without the model, so the two are not from "
            "one distribution"
        )
    if low > 0.5:
        return "members stand out: the interval of the AUC lies above 0.5"
    if high < 0.5:
        return "upside down: members score lower than others, as this attack does not expect"
    return "no better than chance: the interval of the AUC holds 0.5"
