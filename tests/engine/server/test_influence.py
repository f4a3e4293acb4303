"""Influence: worked out by hand, promises, and against small steps of the rule itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from defenses import AGGREGATION_RULES
from lab.engine.server.influence import influence

SEEDS = st.integers(0, 10**6)
MOVING = ("mean", "median", "trimmed-mean", "krum")  # moved and scaled rows: as far, as much
Fold = Callable[[Tensor], Tensor]


def rows_of(seed: int, clients: int = 9, params: int = 7) -> Tensor:
    return torch.randn(clients, params, generator=torch.Generator().manual_seed(seed))


def fold_of(name: str, weights: Tensor | None = None) -> Fold:
    rule = AGGREGATION_RULES[name]()
    return lambda rows: rule(rows, torch.ones(len(rows)) if weights is None else weights)


def shortened(rows: Tensor) -> Tensor:
    """The mean of rows cut to length 1."""
    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return (rows * (1 / lengths).clamp(max=1)).mean(dim=0)


def middle(rows: Tensor) -> Tensor:
    """Towards the geometric median: every row counts by its distance."""
    found = rows.mean(dim=0)
    for _ in range(3):
        nearness = 1 / torch.linalg.vector_norm(rows - found, dim=1)
        found = nearness @ rows / nearness.sum()
    return found


# --- by hand --------------------------------------------------------------------------------------


def test_a_mean_owes_each_row_its_weight_and_its_part_of_the_step() -> None:
    # The step is (2, 0); its halves of the rows make 3/4 and 1/4 of it.
    found = influence(fold_of("mean"), torch.tensor([[3.0, 5.0], [1.0, -5.0]]))
    assert found.weight.tolist() == [0.5, 0.5]
    assert found.share.tolist() == pytest.approx([0.75, 0.25])


def test_a_mean_weighs_rows_by_examples() -> None:
    weights = torch.tensor([6.0, 3.0, 1.0])
    found = influence(fold_of("mean", weights), torch.ones(3, 4))
    assert found.weight.tolist() == pytest.approx([0.6, 0.3, 0.1])
    assert found.share.tolist() == pytest.approx([0.6, 0.3, 0.1])


def test_a_median_owes_each_row_the_coordinates_where_it_is_in_the_middle() -> None:
    # The step is (2, 7): the first coordinate of the second row, the second of the third.
    found = influence(fold_of("median"), torch.tensor([[1.0, 5.0], [2.0, 9.0], [3.0, 7.0]]))
    assert found.weight.tolist() == [0.0, 0.5, 0.5]
    assert found.share.tolist() == pytest.approx([0.0, 4 / 53, 49 / 53])


def test_krum_owes_everything_to_its_pick() -> None:
    rows = torch.tensor([[0.0], [0.1], [0.25], [0.3], [10.0]])
    found = influence(fold_of("krum"), rows)
    assert found.weight.tolist() == [0, 0, 1, 0, 0]
    assert found.share.tolist() == [0, 0, 1, 0, 0]


def test_a_boosted_row_shows_its_boost() -> None:
    rows = torch.ones(5, 3)
    rows[2] *= 10
    found = influence(fold_of("mean"), rows)
    assert found.weight.tolist() == pytest.approx([0.2] * 5)
    assert found.share.tolist() == pytest.approx([1 / 14, 1 / 14, 10 / 14, 1 / 14, 1 / 14])


def test_a_row_that_pulls_against_the_step_has_a_share_below_zero() -> None:
    rows = torch.tensor([[4.0], [4.0], [-2.0]])
    assert influence(fold_of("mean"), rows).share.tolist() == pytest.approx([2 / 3, 2 / 3, -1 / 3])


def test_a_row_that_was_shortened_no_longer_counts_by_its_length() -> None:
    """Making it longer changes nothing, so that nothing of the step is owed to its length."""
    rows = torch.tensor([[10.0, 0.0], [0.0, 0.5]])
    found = influence(shortened, rows)
    # The step is (1/2, 1/4), of square 5/16; only the second row, left whole, scales it.
    assert found.share.tolist() == pytest.approx([0.0, 0.2], abs=1e-6)


def test_without_a_step_nobody_has_a_share() -> None:
    found = influence(fold_of("mean"), torch.tensor([[1.0, 2.0], [-1.0, -2.0]]))
    assert found.share.tolist() == [0.0, 0.0]
    assert found.weight.tolist() == [0.5, 0.5]


def test_a_step_that_comes_of_no_row_is_owed_to_nobody() -> None:
    found = influence(lambda rows: torch.ones(3), rows_of(0, 4, 3))
    assert found.weight.tolist() == found.share.tolist() == [0.0] * 4


def test_a_row_at_which_the_rule_has_no_derivative_counts_as_nothing() -> None:
    rows = torch.tensor([[0.0, 0.0], [0.5, 0.0]])  # the length of the first has none
    found = influence(shortened, rows)
    assert found.weight.tolist() == pytest.approx([0.0, 0.5])
    assert found.share.tolist() == pytest.approx([0.0, 1.0])


# --- promises -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MOVING)
@given(seed=SEEDS)
def test_weights_and_shares_add_up_to_the_whole_step(name: str, seed: int) -> None:
    found = influence(fold_of(name), rows_of(seed))
    assert (found.weight >= 0).all()
    assert float(found.weight.sum()) == pytest.approx(1, abs=1e-6)
    assert float(found.share.sum()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", MOVING)
@given(seed=SEEDS, scale=st.sampled_from([1e-20, 0.5, 1e20]))
def test_the_size_of_all_rows_together_does_not_matter(name: str, seed: int, scale: float) -> None:
    rows = rows_of(seed).double()
    once, again = influence(fold_of(name), rows), influence(fold_of(name), scale * rows)
    assert torch.allclose(once.weight, again.weight, atol=1e-9)
    assert torch.allclose(once.share, again.share, atol=1e-6)


def test_rows_of_any_size_have_an_influence() -> None:
    rows = rows_of(1)
    rows[3] = 1e30
    found = influence(fold_of("mean"), rows)
    assert float(found.share[3]) == pytest.approx(1)
    assert found.share.isfinite().all()


@pytest.mark.parametrize("name", MOVING)
def test_the_rows_are_left_as_they_were_and_no_gradient_stays(name: str) -> None:
    rows = rows_of(2)
    before = rows.clone()
    with torch.no_grad():  # as rounds are played
        found = influence(fold_of(name), rows)
    assert torch.equal(rows, before)
    assert not rows.requires_grad
    assert rows.grad is None
    assert not found.weight.requires_grad
    assert not found.share.requires_grad


# --- against the rule itself ----------------------------------------------------------------------


@pytest.mark.parametrize("fold", [middle, shortened, fold_of("trimmed-mean"), fold_of("mean")])
def test_influence_is_what_a_small_change_of_the_row_does(fold: Fold) -> None:
    rows = rows_of(3, 6, 5).double()
    step, small = fold(rows), 1e-6
    towards = step / step.square().sum()
    weight, share = [], []
    for client in range(6):
        moved, scaled = rows.clone(), rows.clone()
        moved[client] += small
        scaled[client] *= 1 + small
        weight.append(float((fold(moved) - step).mean()) / small)
        share.append(float((fold(scaled) - step) @ towards) / small)
    found = influence(fold, rows)
    assert found.weight.tolist() == pytest.approx(weight, abs=1e-5)
    assert found.share.tolist() == pytest.approx(share, abs=1e-5)
