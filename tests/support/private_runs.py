"""What tests of privacy share: a private run, and what passes for noise and for coins."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from scipy.stats import binom, chi2, chisquare, kstest
from torch import Tensor

from lab import Experiment

PARAMS = 20_000
UNLIKELY = 1e-4  # draws have names: what passes today passes always
CLIENTS = Experiment().changed(
    {
        "data.source": "digits",
        "data.clients": 12,
        "model.kind": "logistic",
        "training.clients_per_round": 4,
        "training.rounds": 8,
        "training.steps": 2,
        "training.rate": 0.5,
        "privacy.kind": "client",
        "privacy.clip": 0.4,
        "privacy.noise": 0.7,
    }
)


def is_normal(draws: Tensor, deviation: float) -> bool:
    return bool(kstest(draws.numpy() / deviation, "norm").pvalue > UNLIKELY)


def correlation(one: Tensor, other: Tensor) -> float:
    return float(F.cosine_similarity(one.double(), other.double(), dim=0))


def looks_like_coin_flips(drawn: np.ndarray, chance: float) -> bool:
    """Whether in drawn (times, things) each thing came up with that chance, independently."""
    times, things = drawn.shape
    standard = (drawn - chance) / (chance * (1 - chance)) ** 0.5
    single = (standard.sum(axis=0) ** 2 / times).sum()
    pairs = (standard.T @ standard) ** 2 / times
    together = pairs[np.triu_indices(things, 1)].sum()
    in_a_row = ((standard[1:] * standard[:-1]).sum(axis=0) ** 2 / (times - 1)).sum()
    return (
        chi2.sf(single, things) > UNLIKELY
        and chi2.sf(together, things * (things - 1) / 2) > UNLIKELY
        and chi2.sf(in_a_row, things) > UNLIKELY
        and _sizes_are_binomial(drawn, chance)
    )


def _sizes_are_binomial(drawn: np.ndarray, chance: float) -> bool:
    """Draws of a fixed size would pass the other tests."""
    times, things = drawn.shape
    expected = times * binom.pmf(np.arange(things + 1), things, chance)
    found = np.bincount(drawn.sum(axis=1), minlength=things + 1)
    often = expected >= 5  # the others are counted as one
    counts = [np.append(c[often], c[~often].sum()) for c in (found, expected)]
    return bool(chisquare(*counts).pvalue > UNLIKELY)
