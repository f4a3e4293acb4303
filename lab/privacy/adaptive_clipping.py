"""Adaptive clipping as arithmetic. Andrew et al. 2021, arXiv:1905.03871, algorithm 1.

The clip follows a quantile of the updates' lengths.  Every client adds a bit, whether its update
came through whole, and the noisy mean of the bits says which way to go.  Bits are centred, so one
client moves their sum by 1/2; update and bit together cost what the update alone would with the
total noise multiplier (theorem 1).
"""

from __future__ import annotations

from math import exp

from lab.common.settings import SettingError

RATE = 0.2  # eta_C, as in section 3
LEAST, MOST = 1e-6, 1e6  # where the clip stays; cutting it off there tells nothing new


def count_noise(expected: float) -> float:
    """sigma_b, the standard deviation of the bits' noisy sum, for `expected` clients (sec. 3)."""
    return expected / 20


def update_noise(noise: float, expected: float) -> float:
    """z_delta: the updates' own noise multiplier, where update and bit have `noise` together.

    z_delta = (z^-2 - (2 sigma_b)^-2)^(-1/2).  Raises SettingError where the bit has used it up.
    """
    most = 2 * count_noise(expected)
    if noise >= most:
        raise SettingError(
            f"privacy.quantile with a noise multiplier of {noise:.4g} and {expected:g} clients a "
            f"round: counting them costs as much as {most:.4g} alone, so that no noise on the "
            f"updates is enough; give more than {10 * noise:.4g} clients, privacy.noise below "
            f"{most:.4g} or a larger epsilon, or privacy.quantile 0"
        )
    return float(noise / (1 - (noise / most) ** 2) ** 0.5)


def next_clip(clip: float, share: float, quantile: float) -> float:
    """C exp(-eta_C (b - gamma)), for a noisy share b of updates that came through whole."""
    return min(MOST, max(LEAST, clip * exp(min(100.0, -RATE * (share - quantile)))))
