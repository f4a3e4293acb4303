"""Scores of canaries under mechanisms whose epsilon is known."""

from __future__ import annotations

import numpy as np
from dp_accounting import gaussian_mechanism

Scores = tuple[np.ndarray, np.ndarray]  # of canaries that were in, and out
DELTA = 1e-5


def gaussian(epsilon: float, canaries: int, seed: int) -> Scores:
    """One Gaussian mechanism, at `DELTA`."""
    generator = np.random.default_rng(seed)
    gap = 1 / gaussian_mechanism.get_sigma_gaussian(epsilon, DELTA) if epsilon else 0.0
    member = generator.random(canaries) < 0.5
    scores = generator.normal(size=canaries) + gap * member
    return scores[member], scores[~member]


def laplace(epsilon: float, canaries: int, seed: int) -> Scores:
    generator = np.random.default_rng(seed)
    member = generator.random(canaries) < 0.5
    scores = generator.laplace(size=canaries) + epsilon * member
    return scores[member], scores[~member]


def sampled(rate: float, noise: float, times: int, canaries: int, seed: int) -> Scores:
    """Each canary's log-likelihood ratio, summed over releases of a sampled Gaussian mechanism."""
    generator = np.random.default_rng(seed)
    member, scores = generator.random(canaries) < 0.5, np.zeros(canaries)
    for _ in range(times):
        there = member & (generator.random(canaries) < rate)
        seen = generator.normal(size=canaries) * noise + there
        scores += loss(seen, rate, noise)
    return scores[member], scores[~member]


def loss(seen: np.ndarray, rate: float, noise: float) -> np.ndarray:
    ratio: np.ndarray = np.log1p(rate * np.expm1((2 * seen - 1) / (2 * noise**2)))
    return ratio
