"""Clopper-Pearson on all wrong answers together, through a trade-off curve.  The lab's own.

Two intervals, one an error, must each be wide enough for the worst that the other can do.  One
count needs one interval.  Its chance is a mean over canaries, and Hoeffding 1956 (Annals of
Mathematical Statistics 27(3), theorem 4) shows that such a count strays no further than a binomial
one, however many of the canaries are in.
"""

from __future__ import annotations

import numpy as np

from lab.privacy.accounting.accountants import GaussianReleases
from lab.privacy.audit_bounds.bound import GAUSSIAN, EpsilonBound, checked
from lab.privacy.audit_bounds.clopper_pearson import upper
from lab.privacy.audit_bounds.held_out import FEW, counts, middle, parted
from lab.privacy.audit_bounds.privacy_losses import PrivacyLossDistribution
from lab.privacy.audit_bounds.scaled_mechanism import ASSUMPTION, least_epsilon


def total_errors(
    inside: np.ndarray,
    outside: np.ndarray,
    claim: tuple[GaussianReleases, ...],
    delta: float,
    confidence: float = 0.95,
) -> EpsilonBound:
    """As `trade_off`, and tighter: it errs nearly as often as its confidence allows.

    inside, outside: scores of canaries; higher is more like one that was in
    claim: the releases so far; none stands for a single one on everybody
    """
    from scipy.special import ndtri

    inside, outside = checked(inside, outside, delta, confidence)
    parts = parted(inside, outside, FEW)
    found = counts(*parts.counted, middle(*parts.chosen_on))
    share = found.inside / (found.inside + found.outside)
    wrong = float(upper(found.wrong(), found.inside + found.outside, 1 - confidence)[0])

    def beside(losses: PrivacyLossDistribution) -> float:
        return float(ndtri(wrong) - ndtri(losses.wrong(share)))

    return EpsilonBound(
        method="trade-off, all errors together",
        epsilon=least_epsilon(claim, delta, _separation(wrong, share), beside),
        delta=delta,
        confidence=confidence,
        inside=len(inside),
        outside=len(outside),
        premise=GAUSSIAN,
        assumption=ASSUMPTION,
        evidence=found.sentence(),
    )


def _separation(wrong: float, share: float) -> float:
    """How far apart two Gaussians lie that can be told apart with so few wrong answers."""
    from scipy.optimize import brentq
    from scipy.special import ndtr

    def excess(mu: float) -> float:
        place = mu / 2 + np.log((1 - share) / share) / mu  # of the best threshold
        return float(share * ndtr(place - mu) + (1 - share) * ndtr(-place)) - wrong

    return float(brentq(excess, 1e-3, 40.0)) if excess(1e-3) > 0 else 0.0
