"""What the server does before its rule: promises that every stage keeps."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given

from defenses import PREPARATIONS, UPDATE_TRANSFORMS
from lab.common.settings import SettingError
from tests.support.pre_aggregated import PLACED, SEEDS, cohort_of, prepared, rows_of, stage


def test_every_preparation_is_a_stage_of_the_server() -> None:
    assert set(PREPARATIONS) <= set(UPDATE_TRANSFORMS)
    assert {part.side for part in PREPARATIONS.values()} == {"server"}


@pytest.mark.parametrize("name", PLACED)
@given(seed=SEEDS)
def test_order_of_clients_does_not_matter(name: str, seed: int) -> None:
    rows, order = rows_of(seed), np.random.default_rng(seed).permutation(9)
    weights, one = torch.arange(1.0, 10.0), stage(name)
    straight = prepared(one, rows, weights)
    mixed = prepared(one, rows[order], weights[order], cohort_of(order.tolist()))
    assert torch.allclose(straight.rows[order], mixed.rows, atol=1e-6)
    assert torch.equal(straight.weights[order], mixed.weights)
    for key, value in straight.memory.items():
        assert torch.allclose(value, mixed.memory[key], atol=1e-6)


@pytest.mark.parametrize("name", PREPARATIONS)
def test_the_input_is_left_as_it_was(name: str) -> None:
    one, rows, weights = stage(name), rows_of(1), torch.arange(1.0, 10.0)
    memory = one.begin(9, 7)
    given_ = [rows, weights, *memory.values()]
    before = [thing.clone() for thing in given_]
    result = prepared(one, rows, weights, memory=memory)
    for made in (result.rows, *result.memory.values()):
        made.zero_()
    for old, thing in zip(before, given_, strict=True):
        assert torch.equal(old, thing)


@pytest.mark.parametrize("name", PREPARATIONS)
def test_float32_agrees_with_float64(name: str) -> None:
    rows, one = rows_of(5, 9, 500), stage(name)
    single, double = prepared(one, rows).rows, prepared(one, rows.double()).rows
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    assert torch.allclose(single.double(), double, atol=1e-5)


@pytest.mark.parametrize("name", PREPARATIONS)
@pytest.mark.parametrize("wild", [1e30, 1e38, 3.4e38])
@pytest.mark.parametrize("many", [1, 5, 9])
def test_wild_rows_give_numbers_round_after_round(name: str, wild: float, many: int) -> None:
    one, rows = stage(name), rows_of(2).clamp(-1, 1)
    rows[:many] *= wild
    memory = one.begin(9, 7)
    for round in range(1, 5):
        result = prepared(one, rows, cohort=cohort_of(range(9), round), memory=memory)
        memory = result.memory
        for made in (result.rows, result.weights, *memory.values()):
            assert made.isfinite().all()


@pytest.mark.parametrize("name", PREPARATIONS)
@given(seed=SEEDS)
def test_no_row_leaves_the_ball_around_zero_that_holds_all(name: str, seed: int) -> None:
    rows = rows_of(seed)
    longest = rows.norm(dim=1).max()
    assert (prepared(stage(name), rows).rows.norm(dim=1) <= longest * (1 + 1e-6)).all()


@pytest.mark.parametrize("name", ["norm-bound", "arc", "centered-clipping"])
def test_a_wild_row_is_no_longer_than_the_honest(name: str) -> None:
    rows = 10 * rows_of(4)
    longest = rows[1:].norm(dim=1).max()
    rows[0] *= 1e30
    assert (prepared(stage(name), rows).rows.norm(dim=1) <= longest * (1 + 1e-6)).all()


@pytest.mark.parametrize("name", PREPARATIONS)
def test_what_is_remembered_fits_the_next_round(name: str) -> None:
    one = stage(name)
    memory = one.begin(12, 7)
    shapes = {key: (value.shape, value.dtype) for key, value in memory.items()}
    present = ([0, 2, 4, 6, 8, 10], [1, 2, 3], [11, 0, 5])
    for round, clients in enumerate(present, 1):
        rows = rows_of(round, len(clients)).requires_grad_()
        memory = prepared(one, rows, cohort=cohort_of(clients, round), memory=memory).memory
        assert {key: (value.shape, value.dtype) for key, value in memory.items()} == shapes
        assert not any(value.requires_grad for value in memory.values())


@pytest.mark.parametrize("name", PREPARATIONS)
@pytest.mark.parametrize("empty", [1, 5, 9])
def test_zero_rows_give_numbers_and_gradients(name: str, empty: int) -> None:
    rows = rows_of(3)
    rows[:empty] = 0
    rows.requires_grad_()
    result = prepared(stage(name), rows).rows
    assert result.isfinite().all()
    result.sum().backward()
    assert rows.grad is not None
    assert rows.grad.isfinite().all()


@pytest.mark.parametrize("name", PREPARATIONS)
def test_to_gradients_a_row_adds_what_it_adds_as_it_was_shortened_or_mixed(name: str) -> None:
    rows = rows_of(4, 6, 4).double().requires_grad_()
    made = prepared(stage(name), rows).rows.sum()
    made.backward()
    assert rows.grad is not None
    assert torch.allclose((rows.grad * rows).sum(), made)


def test_to_gradients_the_rates_of_foolsgold_are_given() -> None:
    rows = rows_of(4).requires_grad_()
    result = prepared(stage("foolsgold"), rows)
    result.rows.sum().backward()
    assert rows.grad is not None
    assert result.factors is not None
    assert torch.allclose(rows.grad, result.factors.float().unsqueeze(1).expand(9, 7))


@pytest.mark.parametrize("name", PREPARATIONS)
def test_called_like_other_stages_it_gives_the_rows_of_a_first_round(name: str) -> None:
    rows, cohort = rows_of(6), cohort_of(range(9))
    assert torch.equal(stage(name)(rows, cohort), prepared(stage(name), rows).rows)


@pytest.mark.parametrize("name", PREPARATIONS)
def test_it_leaves_as_many_rows_as_it_says(name: str) -> None:
    for clients in range(3, 9):
        assert len(prepared(stage(name), rows_of(0, clients)).rows) == stage(name).leaves(clients)
    left = [stage(name).leaves(clients) for clients in range(1, 9)]
    assert all(fewer <= more for fewer, more in pairwise(left))


@pytest.mark.parametrize(
    ("name", "wanted", "clients", "complaint"),
    [
        (
            "nnm",
            {"faulty": 5},
            10,
            "kind nnm: faulty is 5, too many for 10 .*2 faulty \\+ 1; give 4 at most",
        ),
        (
            "arc",
            {"faulty": 2},
            4,
            "kind arc: faulty is 2, too many for 4 .*2 faulty \\+ 1; give 1 at most",
        ),
        ("bucketing", {"size": 9}, 5, "kind bucketing: size is 9, more than 5 .*: give 5 at most"),
    ],
)
def test_too_few_clients_are_refused_with_the_numbers(
    name: str, wanted: dict[str, Any], clients: int, complaint: str
) -> None:
    with pytest.raises(SettingError, match=complaint):
        stage(name, **wanted).check(clients)
    stage(name, **wanted).check(11)
