"""Secret sharing. Shamir 1979, 'How to share a secret'; many secrets at once, 16 bits a limb.

One matrix product shares or joins all limbs.  With entries below 2^17 the sums are integers below
2^53, which float64 holds exactly.
"""

from __future__ import annotations

import os
from functools import lru_cache

import numpy as np

PRIME = 65537  # the smallest prime above 2^16: a limb of 16 bits fits
LIMB = np.dtype("<u2")


def split(secrets: list[bytes], shares: int, threshold: int) -> np.ndarray:
    """Split secrets: any `threshold` of the shares give them back, fewer say nothing about them.

    secrets: of equal, even length -> (shares, secrets, limbs), values below PRIME; share i lies
    at the point i + 1
    """
    if not 1 <= threshold <= shares < PRIME:
        raise ValueError(f"{threshold} of {shares} shares cannot be: at most {PRIME - 1} exist")
    limbs = np.stack([np.frombuffer(secret, LIMB) for secret in secrets])  # (secrets, limbs)
    # 64 random bits modulo a 17-bit prime: the bias is below 2^-47.
    count = (threshold - 1) * limbs.size
    random = np.frombuffer(os.urandom(8 * count), np.uint64).reshape(threshold - 1, limbs.size)
    coefficients = np.concatenate([limbs.reshape(1, -1), random % PRIME])  # (threshold, all limbs)
    return _product(_powers(shares, threshold), coefficients).reshape(shares, *limbs.shape)


def join(points: list[int], shares: np.ndarray) -> list[bytes]:
    """Join secrets from shares (threshold or more, secrets, limbs) at those points.

    Raises ValueError where the shares are visibly too few or not of one secret.
    """
    weights = _at_zero(tuple(points)).reshape(1, -1)
    limbs = _product(weights, shares.reshape(len(points), -1)).reshape(shares.shape[1:])
    if np.any(limbs >= 2**16):
        raise ValueError("the shares do not belong together")
    return [row.astype(LIMB).tobytes() for row in limbs]


def _product(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the matrix product modulo PRIME, exact for sums of fewer than 2^19 terms."""
    whole: np.ndarray = (one.astype(np.float64) @ other.astype(np.float64)).astype(np.int64)
    return whole % PRIME


@lru_cache(maxsize=64)
def _powers(shares: int, threshold: int) -> np.ndarray:
    """Return Vandermonde's matrix of the points 1 to `shares`.  -> (shares, threshold)"""
    points = np.arange(1, shares + 1, dtype=np.int64)
    columns = [np.ones_like(points)]
    for _ in range(threshold - 1):
        columns.append(columns[-1] * points % PRIME)
    return np.stack(columns, axis=1)


@lru_cache(maxsize=1024)
def _at_zero(points: tuple[int, ...]) -> np.ndarray:
    """Return Lagrange's weights of the value at zero.  -> (points,)"""
    at = np.array(points, np.int64)
    gaps = at[None, :] - at[:, None]  # (points, points)
    np.fill_diagonal(gaps, 1)
    numerators = np.broadcast_to(at, gaps.shape).copy()
    np.fill_diagonal(numerators, 1)
    top, bottom = np.ones_like(at), np.ones_like(at)
    for column in range(len(at)):
        top = top * numerators[:, column] % PRIME
        bottom = bottom * gaps[:, column] % PRIME
    weights: np.ndarray = top * _inverse(bottom) % PRIME
    return weights


def _inverse(values: np.ndarray) -> np.ndarray:
    """Invert modulo PRIME by Fermat: the exponent PRIME - 2 = 65535 has all sixteen bits set."""
    found = np.ones_like(values)
    for _ in range(16):
        found = found * found % PRIME * values % PRIME
    return found
