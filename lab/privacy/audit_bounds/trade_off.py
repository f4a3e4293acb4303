"""Clopper-Pearson through a trade-off curve. Nasr et al. 2023, arXiv:2302.07956.

Both errors of one threshold, each at the upper end of its interval, are held against the trade-off
curve of every noise multiplier.  The largest one that allows them gives epsilon.
"""

from __future__ import annotations

import numpy as np

from lab.privacy.accounting.accountants import GaussianReleases
from lab.privacy.audit_bounds.bound import GAUSSIAN, EpsilonBound, checked
from lab.privacy.audit_bounds.clopper_pearson import upper
from lab.privacy.audit_bounds.held_out import FEW, ErrorCounts, counts, middle, parted
from lab.privacy.audit_bounds.privacy_losses import PrivacyLossDistribution
from lab.privacy.audit_bounds.scaled_mechanism import ASSUMPTION, least_epsilon


def trade_off(
    inside: np.ndarray,
    outside: np.ndarray,
    claim: tuple[GaussianReleases, ...],
    delta: float,
    confidence: float = 0.95,
) -> EpsilonBound:
    """Of the mechanism that is claimed, but with any noise.  Raises SettingError.

    inside, outside: scores of canaries; higher is more like one that was in
    claim: the releases so far; none stands for a single one on everybody
    """
    inside, outside = checked(inside, outside, delta, confidence)
    parts = parted(inside, outside, FEW)
    found = counts(*parts.counted, middle(*parts.chosen_on))
    missed, alarms = _errors(found, 1 - confidence)
    mu = _separation(missed, alarms)

    def beside(losses: PrivacyLossDistribution) -> float:
        return _separation(losses.missed(alarms), alarms) - mu

    return EpsilonBound(
        method="trade-off Clopper-Pearson",
        epsilon=least_epsilon(claim, delta, mu, beside),
        delta=delta,
        confidence=confidence,
        inside=len(inside),
        outside=len(outside),
        premise=GAUSSIAN,
        assumption=ASSUMPTION,
        evidence=found.sentence(),
    )


def _errors(found: ErrorCounts, doubt: float) -> tuple[float, float]:
    """Upper bounds on the chances to miss one that is in and to raise a false alarm."""
    missed = upper(found.missed, found.inside, doubt / 2)
    return float(missed[0]), float(upper(found.alarms, found.outside, doubt / 2)[0])


def _separation(missed: float, alarms: float) -> float:
    """How far apart, in standard deviations, two Gaussians lie that make just these errors.

    Dong et al. 2022, arXiv:1905.02383, definition 2.6.
    """
    from scipy.special import ndtri

    return float(-ndtri(missed) - ndtri(alarms))
