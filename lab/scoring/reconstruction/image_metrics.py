"""Similarity of two pictures: squared error, PSNR, SSIM; and which guess goes with which truth."""

from __future__ import annotations

from math import log10

import numpy as np
import torch
from torch import Tensor

PEAK = 120.0  # dB, reported for a perfect match


def match(guesses: Tensor, truths: Tensor) -> list[tuple[int, int]]:
    """The pairing of smallest squared error; as many pairs as the shorter side has."""
    from scipy.optimize import linear_sum_assignment

    cost = torch.cdist(guesses.flatten(1).double(), truths.flatten(1).double()).square()
    mine, true = linear_sum_assignment(cost.numpy())
    return [(int(one), int(other)) for one, other in zip(mine, true, strict=True)]


def mse(guess: Tensor, truth: Tensor) -> float:
    """Mean squared error over pixels and colours."""
    return float((guess.double() - truth.double()).square().mean())


def psnr(guess: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio in dB, for a peak of 1."""
    return decibels(mse(guess, truth))


def heights(guesses: Tensor, truths: Tensor) -> np.ndarray:
    """PSNR of each guess with the truth in the same place, dB.

    guesses, truths (examples, *shape) -> (examples,)
    """
    gaps = guesses.double() - truths.double()
    errors = gaps.square().flatten(1).mean(dim=1)
    return np.array([decibels(error) for error in errors.tolist()])


def decibels(error: float) -> float:
    """PSNR of a mean squared error, for a peak of 1."""
    return min(-10 * log10(max(error, 1e-30)), PEAK)


def ssim(guess: Tensor, truth: Tensor) -> float | None:
    """Structural similarity as in Wang et al. 2004: Gaussian window, sigma 1.5, 11 pixels."""
    from skimage.metrics import structural_similarity

    if truth.ndim != 3 or min(truth.shape[1:]) < 11:
        return None
    return float(
        structural_similarity(
            truth.double().numpy(),
            guess.double().numpy(),
            channel_axis=0,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )
