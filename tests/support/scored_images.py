"""Noise, judges of noise and guesses at it, which tests of likeness share."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import Tensor

from lab.interfaces.attack_data import ReconstructedBatch
from lab.scoring.reconstruction.image_scorer import ReconstructionScorer

SEEDS = st.integers(0, 10**6)
GREY, COLOUR, TABLE = (1, 12, 14), (3, 16, 13), (22,)
NOT_A_LEAK = "no better than a guess without the gradient"


def uniform(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def judge(seed: int = 0, private: int = 3, shape: tuple[int, ...] = GREY) -> ReconstructionScorer:
    """Noise all over, so that nobody's picture resembles anybody's."""
    return ReconstructionScorer(
        inputs=uniform(seed, private, *shape),
        labels=torch.arange(private) % 10,
        others=uniform(seed + 1, 40, *shape),
        public=uniform(seed + 2, 50, *shape),
        public_labels=torch.arange(50) % 10,
    )


def guess(inputs: Tensor, labels: Tensor) -> ReconstructedBatch:
    return ReconstructedBatch(inputs, labels, step=1, steps=1)
