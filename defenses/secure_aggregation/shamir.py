"""Secret sharing. Shamir 1979, 'How to share a secret'; many secrets at once, 16 bits a limb."""

from __future__ import annotations

import os

import numpy as np

PRIME = 65537  # the smallest prime above 2^16: a limb of 16 bits fits, and products fit in int64
LIMB = np.dtype("<u2")


def split(secrets: list[bytes], shares: int, threshold: int) -> np.ndarray:
    """Any `threshold` of the shares give the secrets back; fewer say nothing about them.

    secrets: of equal, even length -> (shares, secrets, limbs), values below PRIME; share i lies
    at the point i + 1
    """
    if not 1 <= threshold <= shares < PRIME:
        raise ValueError(f"{threshold} of {shares} shares cannot be: at most {PRIME - 1} exist")
    limbs = np.stack([np.frombuffer(secret, LIMB) for secret in secrets]).astype(np.int64)
    shape = (threshold - 1, *limbs.shape)
    # 64 random bits modulo a 17-bit prime: the bias is below 2^-47.
    random = np.frombuffer(os.urandom(8 * int(np.prod(shape))), np.uint64).reshape(shape)
    slopes = (random % PRIME).astype(np.int64)
    points = np.arange(1, shares + 1, dtype=np.int64).reshape(-1, 1, 1)
    values = np.zeros((shares, *limbs.shape), np.int64)
    for coefficient in slopes[::-1]:  # Horner, highest power first
        values = (values + coefficient) * points % PRIME
    return (values + limbs) % PRIME


def join(points: list[int], shares: np.ndarray) -> list[bytes]:
    """The secrets, from shares (threshold or more, secrets, limbs) at those points."""
    weights = _at_zero(points)
    limbs = sum(int(w) * share % PRIME for w, share in zip(weights, shares, strict=True)) % PRIME
    if np.any(limbs >= 2**16):
        raise ValueError("the shares do not belong together")
    return [row.astype(LIMB).tobytes() for row in np.asarray(limbs)]


def _at_zero(points: list[int]) -> list[int]:
    """Lagrange's weights of the value at zero."""
    weights = []
    for mine in points:
        top = bottom = 1
        for other in points:
            if other != mine:
                top = top * other % PRIME
                bottom = bottom * (other - mine) % PRIME
        weights.append(top * pow(bottom, -1, PRIME) % PRIME)
    return weights
