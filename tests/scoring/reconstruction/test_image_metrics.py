"""PSNR, SSIM and the matching: by hand, and against scikit-image."""

from __future__ import annotations

from itertools import permutations
from math import log10

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from lab.scoring.reconstruction.image_metrics import PEAK, match, psnr, ssim
from lab.scoring.reconstruction.verdict import EXACT
from tests.support.scored_images import COLOUR, GREY, SEEDS, TABLE, guess, judge, uniform

# --- PSNR -----------------------------------------------------------------------------------------


def test_psnr_by_hand() -> None:
    truth = torch.zeros(1, 2, 2)
    assert psnr(truth + 0.1, truth) == pytest.approx(20.0)
    # One pixel of four is wrong by a half: mean squared error 1 / 16.
    one = torch.tensor([[[0.5, 0.0], [0.0, 0.0]]])
    assert psnr(one, truth) == pytest.approx(10 * log10(16))
    assert psnr(truth + 1, truth) == 0.0


def test_a_perfect_guess_has_the_largest_psnr_there_is() -> None:
    truth = uniform(0, *GREY)
    assert psnr(truth, truth) == PEAK == 120.0
    assert psnr(truth.double() + 1e-9, truth) == PEAK


@given(seed=SEEDS, shape=st.sampled_from([GREY, COLOUR, TABLE]), error=st.floats(1e-4, 1))
def test_psnr_is_scikit_images(seed: int, shape: tuple[int, ...], error: float) -> None:
    truth = uniform(seed, *shape)
    shown = truth + error * (uniform(seed + 1, *shape) - 0.5)
    expected = peak_signal_noise_ratio(truth.double().numpy(), shown.double().numpy(), data_range=1)
    assert psnr(shown, truth) == pytest.approx(expected, abs=1e-9)


def test_a_guess_that_is_no_number_is_no_perfect_match() -> None:
    truth = torch.zeros(1, 2, 2)
    assert not psnr(truth + torch.nan, truth) >= EXACT


# --- SSIM -----------------------------------------------------------------------------------------


def wang(guessed: Tensor, truth: Tensor) -> float:
    """Wang et al. 2004, section III.B: 11 x 11 Gaussian window of sigma 1.5, formula (13)."""
    bell = torch.exp(-torch.arange(-5.0, 6.0).double().square() / (2 * 1.5**2))
    window = torch.outer(bell, bell)
    window = (window / window.sum()).view(1, 1, 11, 11)
    c_1, c_2 = 0.01**2, 0.03**2

    def local(pictures: Tensor) -> Tensor:
        """Colours are averaged at the end.  (colours, height, width) -> where windows fit"""
        return F.conv2d(pictures.double().unsqueeze(1), window)

    x, y = guessed.double(), truth.double()
    mean_x, mean_y = local(x), local(y)
    spread_x, spread_y = local(x * x) - mean_x**2, local(y * y) - mean_y**2
    both = local(x * y) - mean_x * mean_y
    above = (2 * mean_x * mean_y + c_1) * (2 * both + c_2)
    below = (mean_x**2 + mean_y**2 + c_1) * (spread_x + spread_y + c_2)
    return float((above / below).mean())


@given(seed=SEEDS, shape=st.sampled_from([GREY, COLOUR, (1, 11, 11)]), mix=st.floats(0, 1))
def test_ssim_is_wangs_formula_and_scikit_images(
    seed: int, shape: tuple[int, ...], mix: float
) -> None:
    truth = uniform(seed, *shape)
    shown = mix * truth + (1 - mix) * uniform(seed + 1, *shape)
    found = ssim(shown, truth)
    assert found == pytest.approx(wang(shown, truth), abs=1e-9)
    theirs = structural_similarity(
        truth.double().permute(1, 2, 0).numpy(),
        shown.double().permute(1, 2, 0).numpy(),
        win_size=11,
        channel_axis=2,
        data_range=1,
        gaussian_weights=True,
        use_sample_covariance=False,
    )
    assert found == pytest.approx(theirs, abs=1e-9)


def test_ssim_of_two_flat_pictures_by_hand() -> None:
    dark, light = torch.full(GREY, 0.2), torch.full(GREY, 0.8)
    expected = (2 * 0.2 * 0.8 + 1e-4) / (0.2**2 + 0.8**2 + 1e-4)
    assert ssim(dark, light) == pytest.approx(expected, abs=1e-6)
    assert ssim(light, light) == pytest.approx(1.0)


@pytest.mark.parametrize("shape", [TABLE, (1, 10, 28), (1, 28, 10), (1, 8, 8)])
def test_ssim_says_nothing_where_its_window_does_not_fit(shape: tuple[int, ...]) -> None:
    assert ssim(uniform(0, *shape), uniform(1, *shape)) is None


# --- matching -------------------------------------------------------------------------------------


@given(seed=SEEDS, guesses=st.integers(1, 5), truths=st.integers(1, 5))
def test_the_matching_is_the_best_of_all(seed: int, guesses: int, truths: int) -> None:
    mine, theirs = uniform(seed, guesses, 2, 3), uniform(seed + 1, truths, 2, 3)
    errors = (mine.unsqueeze(1) - theirs.unsqueeze(0)).double().square().sum(dim=(2, 3)).numpy()
    pairs = min(guesses, truths)
    if guesses >= truths:
        best = min(errors[list(p), range(pairs)].sum() for p in permutations(range(guesses), pairs))
    else:
        best = min(errors[range(pairs), list(p)].sum() for p in permutations(range(truths), pairs))
    found = match(mine, theirs)
    assert len(found) == len({one for one, _ in found}) == len({two for _, two in found}) == pairs
    assert sum(errors[pair] for pair in found) == pytest.approx(best, abs=1e-9)


def test_the_nearest_pair_is_given_up_for_a_better_whole() -> None:
    # Guess .4 is nearest to .5, but then .6 would have to go with 0.
    mine, theirs = torch.tensor([[0.4], [0.6]]), torch.tensor([[0.0], [0.5]])
    assert match(mine, theirs) == [(0, 0), (1, 1)]


@given(seed=SEEDS, private=st.integers(1, 30), shape=st.sampled_from([GREY, COLOUR, TABLE]))
def test_exact_pictures_in_any_order_are_exact(
    seed: int, private: int, shape: tuple[int, ...]
) -> None:
    truth = judge(seed, private, shape)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(private))
    found = truth.score(guess(truth.inputs[order], truth.labels[order]))
    assert (found.psnr, found.worst, found.best) == (PEAK, PEAK, PEAK)
    assert found.labels == 1.0
    assert found.verdict == "exact"
    assert found.ssim is None if shape == TABLE else found.ssim == pytest.approx(1.0)
    assert all(int(order[pair.guess]) == pair.truth for pair in found.matches)
    assert all(pair.label_right for pair in found.matches)


@pytest.mark.parametrize("guesses", [1, 4, 9])
def test_there_are_as_many_matches_as_the_shorter_side_has(guesses: int) -> None:
    truth = judge(private=4)
    found = truth.score(guess(uniform(9, guesses, *GREY), torch.zeros(guesses, dtype=torch.int64)))
    assert len(found.matches) == min(guesses, 4)
    values = {pair.truth: pair.psnr for pair in found.matches}
    best = max(truth.floors(torch.zeros(guesses, dtype=torch.int64)).values(), key=lambda f: f.mean)
    whole = [values.get(place, best.psnr[place]) for place in range(4)]
    assert found.psnr == pytest.approx(np.mean(whole))
    assert found.median == pytest.approx(np.median(whole))
    assert (found.worst, found.best) == (min(whole), max(whole))
    assert found.floor == max(found.floors.values())
