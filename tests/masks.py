"""What tests of secure aggregation share: words, clients who met, and what looks random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st
from scipy.stats import chisquare

from defenses.secure_aggregation import Client

SEEDS = st.integers(0, 10**6)
CHANCE = 1e-7  # keys are truly random here, so a test of randomness fails once in ten million
WORDS = 40_000
CONTEXT = b"round 1, model A"


def words_of(seed: int, clients: int, words: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**32, (clients, words), dtype=np.uint32)


def ring_sum(words: np.ndarray) -> np.ndarray:
    return words.sum(axis=0, dtype=np.uint32)


def looks_random(words: np.ndarray) -> bool:
    """Whether each of the four bytes of the words passes a chi-square test of uniformity."""
    columns = words.astype("<u4").view(np.uint8).reshape(-1, 4).T
    counts = [np.bincount(column, minlength=256) for column in columns]
    return min(chisquare(count).pvalue for count in counts) > CHANCE


def introduced(
    contexts: Sequence[bytes], threshold: int
) -> tuple[list[Client], dict[int, dict[int, bytes]]]:
    """Clients who know each other's public keys, and for each one the letters it received."""
    clients = [Client(me, context) for me, context in enumerate(contexts)]
    book = {client.me: client.advertise() for client in clients}
    letters = {client.me: client.share(book, threshold) for client in clients}
    return clients, {me: {sender: letters[sender][me] for sender in book} for me in book}
