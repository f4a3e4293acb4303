"""Rules: worked out by hand, and promises that every one in the table keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from defenses import RULES
from lab.parts import Rule
from lab.settings import SettingError

SEEDS = st.integers(0, 10**6)
EQUAL = torch.ones(9)


def rows_of(seed: int, clients: int = 9, params: int = 7) -> Tensor:
    return torch.randn(clients, params, generator=torch.Generator().manual_seed(seed))


def rule(name: str) -> Rule:
    return RULES[name]()


# --- by hand ------------------------------------------------------------------------------------


def test_mean_weighs_clients_by_their_examples() -> None:
    rows = torch.tensor([[0.0, 4.0], [4.0, 0.0]])
    assert RULES["mean"]()(rows, torch.tensor([3.0, 1.0])).tolist() == [1.0, 3.0]


def test_mean_of_clients_without_examples_is_no_step() -> None:
    assert RULES["mean"]()(torch.ones(2, 3), torch.zeros(2)).tolist() == [0.0, 0.0, 0.0]


def test_median_of_an_even_number_averages_the_two_middles() -> None:
    rows = torch.tensor([[1.0], [9.0], [2.0], [4.0]])
    assert RULES["median"]()(rows, torch.ones(4)).item() == 3.0


def test_trimmed_mean_drops_the_extremes_of_each_coordinate() -> None:
    rows = torch.tensor([[0.0, 9.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [100.0, -50.0]])
    assert RULES["trimmed-mean"](faulty=1)(rows, torch.ones(5)).tolist() == [2.0, 2.0]


def test_trimmed_mean_that_drops_nobody_is_the_mean() -> None:
    rows = rows_of(0)
    assert torch.allclose(RULES["trimmed-mean"](faulty=0)(rows, EQUAL), rows.mean(dim=0))


def test_krum_picks_the_point_with_the_nearest_neighbours() -> None:
    # Two nearest others of n = 5, f = 1; scores .0725, .0325, .025, .0425, 189.15: pick .25.
    rows = torch.tensor([[0.0], [0.1], [0.25], [0.3], [10.0]])
    assert RULES["krum"](faulty=1)(rows, torch.ones(5)).item() == pytest.approx(0.25)


def test_krum_does_not_cancel_on_updates_that_are_close_together() -> None:
    """Squared distances by norm expansion lose all digits here, in a well-known library."""
    rows = 1e-3 * rows_of(3, 9, 50) + 16.0
    rows[0] += 3e-3
    exact = RULES["krum"](faulty=2)(rows.double(), EQUAL)
    assert torch.equal(RULES["krum"](faulty=2)(rows, EQUAL).double(), exact)


@pytest.mark.parametrize(
    ("name", "faulty", "clients", "remedy"),
    [("krum", 4, 10, "give 3 at most"), ("trimmed-mean", 5, 10, "give 4 at most")],
)
def test_too_many_faulty_clients_are_refused(
    name: str, faulty: int, clients: int, remedy: str
) -> None:
    with pytest.raises(SettingError, match=f"rule.faulty is {faulty}.*{remedy}"):
        RULES[name](faulty=faulty).check(clients)


# --- promises -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RULES)
@given(seed=SEEDS)
def test_order_of_clients_does_not_matter(name: str, seed: int) -> None:
    rows, order = rows_of(seed), torch.from_numpy(np.random.default_rng(seed).permutation(9))
    weights = torch.arange(1.0, 10.0)
    mixed = rule(name)(rows[order], weights[order])
    assert torch.allclose(rule(name)(rows, weights), mixed, atol=1e-6)


@pytest.mark.parametrize("name", RULES)
@given(seed=SEEDS)
def test_moved_and_scaled_rows_give_the_moved_and_scaled_step(name: str, seed: int) -> None:
    rows, shift = rows_of(seed).double(), rows_of(seed + 1, 1).double()[0]
    moved = rule(name)(3 * rows + shift, EQUAL)
    assert torch.allclose(moved, 3 * rule(name)(rows, EQUAL) + shift, atol=1e-9)


@pytest.mark.parametrize("name", RULES)
@given(seed=SEEDS)
def test_the_step_lies_among_the_rows(name: str, seed: int) -> None:
    rows = rows_of(seed)
    step = rule(name)(rows, EQUAL)
    assert (step >= rows.amin(dim=0) - 1e-6).all()
    assert (step <= rows.amax(dim=0) + 1e-6).all()


@pytest.mark.parametrize("name", [name for name in RULES if name != "mean"])
@given(seed=SEEDS, lie=st.sampled_from([1e30, -1e30, 1e3]))
def test_one_wild_row_cannot_leave_the_honest_range(name: str, seed: int, lie: float) -> None:
    rows = rows_of(seed)
    rows[seed % 9] = lie
    honest = torch.cat([rows[: seed % 9], rows[seed % 9 + 1 :]])
    step = rule(name)(rows, EQUAL)
    assert (step >= honest.amin(dim=0)).all()
    assert (step <= honest.amax(dim=0)).all()


def test_one_wild_row_carries_the_mean_away() -> None:
    rows = rows_of(0)
    rows[0] = 1e6
    assert rule("mean")(rows, EQUAL).min() > 1e5


@pytest.mark.parametrize("name", RULES)
def test_float32_agrees_with_float64(name: str) -> None:
    rows = rows_of(5, 9, 500)
    assert torch.allclose(
        rule(name)(rows, EQUAL).double(), rule(name)(rows.double(), EQUAL), atol=1e-5
    )


@pytest.mark.parametrize("name", RULES)
def test_the_input_is_left_as_it_was(name: str) -> None:
    rows = rows_of(1)
    before = rows.clone()
    rule(name)(rows, EQUAL).zero_()
    assert torch.equal(rows, before)
