"""The discrete Gaussian is what it is said to be, and masked rows carry as much as is asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest, norm

from defenses.privacy.discrete_gaussian import _as_fraction, discrete_gaussian, discrete_laplace
from defenses.secure_aggregation import Masked, Ring
from lab.common.settings import SettingError
from lab.interfaces.messages import Cohort

CHANCE = 1e-4  # seeds are fixed, so these pass for good or fail for good


def fits(drawn: np.ndarray, chances: dict[int, float]) -> bool:
    """Whether counts agree with chances; what is expected less than ten times is taken together."""
    expected = {y: chance * len(drawn) for y, chance in chances.items() if chance * len(drawn) > 10}
    counts = [int((drawn == y).sum()) for y in expected]
    rest = len(drawn) - sum(expected.values())
    heads, tails = [*counts, len(drawn) - sum(counts)], [*expected.values(), rest]
    if rest < 10:
        heads, tails = heads[:-1], list(np.array(tails[:-1]) * sum(counts) / sum(tails[:-1]))
    return bool(chisquare(heads, tails).pvalue > CHANCE)


def normalised(weights: dict[int, float]) -> dict[int, float]:
    return {y: weight / sum(weights.values()) for y, weight in weights.items()}


@pytest.mark.parametrize("deviation", [0.3, 0.5, 1.0, 1.5, 2.0, 3.3, 10.0])
def test_draws_follow_the_probability_of_each_number(deviation: float) -> None:
    drawn = discrete_gaussian(deviation, 100_000, np.random.default_rng(0))
    around = range(-int(12 * deviation) - 3, int(12 * deviation) + 4)
    assert fits(drawn, normalised({y: np.exp(-(y**2) / (2 * deviation**2)) for y in around}))
    assert not fits(drawn, normalised({y: np.exp(-(y**2) / (2.2 * deviation**2)) for y in around}))


@pytest.mark.parametrize("scale", [1, 2, 7])
def test_draws_of_the_laplace_follow_theirs(scale: int) -> None:
    drawn = discrete_laplace(scale, 100_000, np.random.default_rng(1))
    around = range(-60 * scale, 60 * scale + 1)
    assert fits(drawn, normalised({y: np.exp(-abs(y) / scale) for y in around}))


@pytest.mark.parametrize("deviation", [50.7, 1e3, 123_456.7, 1e6, 2.0**27, 2.0**28])
def test_large_deviations_are_those_of_a_gaussian(deviation: float) -> None:
    drawn = discrete_gaussian(deviation, 100_000, np.random.default_rng(2)) / deviation
    assert abs(drawn.mean()) < 4 / 100_000**0.5
    assert abs(drawn.var() - 1) < 4 * (2 / 100_000) ** 0.5
    # Half a step of a draw, at the smallest deviation, shifts the distribution by 0.004.
    spread = drawn + np.random.default_rng(3).uniform(-0.5, 0.5, len(drawn)) / deviation
    assert kstest(spread, norm.cdf).pvalue > CHANCE


@given(st.floats(1e-6, 2.0**28))
def test_a_deviation_is_never_rounded_down_and_hardly_up(deviation: float) -> None:
    parts, per_one = _as_fraction(deviation)
    assert deviation <= parts / per_one <= deviation * (1 + 2**-25) + 2**-20


def test_no_deviation_is_no_noise_and_too_much_is_refused() -> None:
    generator = np.random.default_rng(0)
    assert not discrete_gaussian(0.0, 10, generator).any()
    assert discrete_gaussian(1.0, 0, generator).shape == (0,)
    for deviation in (-1.0, 2.0**29, np.nan):
        with pytest.raises(ValueError, match="deviation is"):
            discrete_gaussian(deviation, 1, generator)


# --- under masks ----------------------------------------------------------------------------------


def cohort(lost: int, clients: int = 10) -> Cohort:
    return Cohort(
        seed=3,
        round=1,
        clients=tuple(range(clients)),
        weights=torch.ones(clients),
        malicious=torch.zeros(clients, dtype=torch.bool),
        lost=torch.arange(clients) < lost,
        expected=float(clients),
    )


@pytest.mark.parametrize("neighbours", [0, 6])
@pytest.mark.parametrize("lost", [0, 3])
def test_the_fewest_who_can_be_unmasked_carry_the_whole_noise(lost: int, neighbours: int) -> None:
    channel = Masked(
        deviation=0.5, neighbours=neighbours, threshold=0.7 if not neighbours else 0.55
    )
    needed = channel.terms(10).threshold
    delivery = channel(torch.full((10, 20_000), 0.25), cohort(lost), torch.zeros(20_000))
    assert delivery.note == ""
    total = delivery.rows[0] * (10 - lost)
    noise = total - 0.25 * (10 - lost)
    expected = 0.5 * ((10 - lost) / needed) ** 0.5
    assert expected >= 0.5
    assert float(noise.std()) == pytest.approx(expected, rel=0.03)
    assert abs(float(noise.mean())) < 5 * expected / 20_000**0.5
    assert delivery.weights.tolist() == [10 - lost]  # which carries none


def test_each_clients_noise_is_its_own_and_comes_again_with_the_seed() -> None:
    channel, rows = Masked(deviation=0.1), torch.zeros(4, 1000)
    one, other = (channel(rows, cohort(0, 4), torch.zeros(1000)).rows for _ in range(2))
    fewer = channel(rows, cohort(1, 4), torch.zeros(1000)).rows
    assert torch.equal(one, other)
    assert not torch.equal(one * 4, fewer * 3)


def test_the_ring_has_room_for_all_clients_and_eight_deviations() -> None:
    quiet, noisy = Ring(10, 1.0, 1.0), Ring(10, 1.0, 1.0, noise=5.0)
    assert noisy.levels < quiet.levels
    highest = 10 * noisy.levels + 8 * 5.0 / noisy.step
    assert 0.999 * 2**31 < highest < 2**31


def test_noise_that_leaves_no_room_for_updates_is_refused_with_the_bits() -> None:
    with pytest.raises(SettingError, match=r"their sum with its noise needs 34 bits .* has 32"):
        Ring(10, 1.0, 1.0, noise=1e6)
