"""Rounding in the ring of secure aggregation, as far as a guarantee of privacy must count it."""

from __future__ import annotations

HALF = 2**31  # sums below it in size keep their sign


def rounding(coordinates: int, clients: int) -> float:
    """How much longer rounding can make a row, relative to the largest coordinate that fits.

    A sum of `clients` rows leaves HALF / clients steps for a coordinate, and each coordinate moves
    by half a step at most.
    """
    levels = (HALF - 1) // clients
    return float(coordinates**0.5 / 2 / levels)
