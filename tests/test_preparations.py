"""What the server does before its rule: worked out by hand, and promises that every stage keeps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from defenses import AGGREGATION_RULES, PREPARATIONS, UPDATE_TRANSFORMS
from lab.common.settings import SettingError
from lab.interfaces.aggregation import PreAggregated, PreAggregator
from lab.interfaces.federated_algorithm import Memory
from lab.interfaces.messages import Cohort

SEEDS = st.integers(0, 10**6)
PLACED = tuple(name for name in PREPARATIONS if name != "bucketing")  # a row for every row


def rows_of(seed: int, clients: int = 9, params: int = 7) -> Tensor:
    return torch.randn(clients, params, generator=torch.Generator().manual_seed(seed))


def cohort_of(clients: Sequence[int], round: int = 1, seed: int = 0) -> Cohort:
    return Cohort(
        seed=seed,
        round=round,
        clients=tuple(clients),
        weights=torch.ones(len(clients)),
        malicious=torch.zeros(len(clients), dtype=torch.bool),
        lost=torch.zeros(len(clients), dtype=torch.bool),
        expected=float(len(clients)),
    )


def stage(name: str, **wanted: Any) -> PreAggregator:
    made = PREPARATIONS[name](**wanted)
    assert isinstance(made, PreAggregator)
    return made


def prepared(
    one: PreAggregator,
    rows: Tensor,
    weights: Tensor | None = None,
    cohort: Cohort | None = None,
    memory: Memory | None = None,
) -> PreAggregated:
    """In the first round of all, unless told otherwise."""
    clients, params = rows.shape
    return one.prepare(
        rows,
        torch.ones(clients) if weights is None else weights,
        cohort or cohort_of(range(clients)),
        one.begin(clients, params) if memory is None else memory,
    )


# --- norm bound -----------------------------------------------------------------------------------


def test_the_norm_bound_shortens_the_long_and_leaves_the_short() -> None:
    rows = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0], [-6.0, 8.0]])
    bounded = prepared(stage("norm-bound", bound=2.5), rows)
    expected = torch.tensor([[1.5, 2.0], [0.3, 0.4], [0.0, 0.0], [-1.5, 2.0]])
    assert torch.allclose(bounded.rows, expected)
    assert bounded.factors is not None
    assert bounded.factors.tolist() == [0.5, 1.0, 1.0, 0.25]


def test_without_a_bound_the_median_length_is_the_bound() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 2.0], [4.0, 0.0], [0.0, -100.0]])
    lengths = prepared(stage("norm-bound"), rows).rows.norm(dim=1)
    assert lengths.tolist() == pytest.approx([1, 2, 3, 3])


@given(seed=SEEDS, boost=st.floats(1, 1e6))
def test_boosting_is_no_use_against_a_bound(seed: int, boost: float) -> None:
    rows = rows_of(seed)
    rows[0] *= 1 + rows.norm(dim=1).max() / rows[0].norm()
    boosted = rows.clone()
    boosted[0] *= boost
    once, more = (prepared(stage("norm-bound"), some).rows for some in (rows, boosted))
    assert torch.allclose(once, more, atol=1e-5)


def test_noise_of_the_norm_bound_is_the_same_on_every_row_and_so_whole_on_the_step() -> None:
    rows = rows_of(1, 5, 20_000)
    noisy, quiet = (
        prepared(stage("norm-bound", bound=2, noise=noise), rows).rows for noise in (0.5, 0)
    )
    added = noisy - quiet
    assert torch.allclose(added, added[0].expand(5, -1), atol=1e-6)
    # Relative error of a deviation of so many draws, five times over.
    assert float(added.mean(dim=0).std()) == pytest.approx(0.5 * 2, rel=5 * 40_000**-0.5)
    later = prepared(stage("norm-bound", bound=2, noise=0.5), rows, cohort=cohort_of(range(5), 2))
    assert not torch.allclose(later.rows, noisy)


# --- centred clipping -----------------------------------------------------------------------------


def test_centred_clipping_moves_from_the_last_centre_by_shortened_ways() -> None:
    # From (1, 0): ways (3, 4) and (0, -0.5), of lengths 5 and 0.5; a radius of 1 makes the first
    # (0.6, 0.8).
    rows = torch.tensor([[4.0, 4.0], [1.0, -0.5]])
    memory = {"centre": torch.tensor([1.0, 0.0])}
    clipped = prepared(stage("centered-clipping", radius=1), rows, memory=memory)
    assert torch.allclose(clipped.rows, torch.tensor([[1.6, 0.8], [1.0, -0.5]]))
    assert clipped.memory["centre"].tolist() == pytest.approx([1.3, 0.15])
    assert clipped.factors is not None
    assert clipped.factors.tolist() == pytest.approx([0.2, 1.0])


def slow_centre(rows: Tensor, centre: Tensor, radius: float, iterations: int) -> Tensor:
    """Algorithm 1, row by row."""
    for _ in range(iterations):
        ways = [row - centre for row in rows]
        centre = centre + sum(
            (way * min(1.0, radius / float(way.norm())) for way in ways), torch.zeros(())
        ) / len(rows)
    return centre


@given(seed=SEEDS, radius=st.floats(0.1, 10), iterations=st.integers(1, 5))
def test_the_plain_mean_after_centred_clipping_is_the_papers_centre(
    seed: int, radius: float, iterations: int
) -> None:
    rows, start = rows_of(seed).double(), rows_of(seed + 1, 1)[0].double()
    one = stage("centered-clipping", radius=radius, iterations=iterations)
    clipped = prepared(one, rows, memory={"centre": start})
    expected = slow_centre(rows, start, radius, iterations)
    assert torch.allclose(clipped.rows.mean(dim=0), expected)
    assert torch.allclose(clipped.memory["centre"], expected)
    assert float((expected - start).norm()) <= iterations * radius * (1 + 1e-9)


def test_with_a_large_radius_centred_clipping_changes_nothing() -> None:
    rows = rows_of(2)
    clipped = prepared(stage("centered-clipping", radius=1e6), rows)
    assert torch.allclose(clipped.rows, rows)
    assert torch.allclose(clipped.memory["centre"], rows.mean(dim=0), atol=1e-6)


# --- FoolsGold ------------------------------------------------------------------------------------


def slow_rates(history: Tensor, confidence: float = 1.0) -> list[float]:
    """Algorithm 1, pair by pair."""
    clients = range(len(history))
    alike = [
        [
            max(0.0, float(torch.cosine_similarity(history[i], history[j], dim=0)))
            if i != j
            else 0.0
            for j in clients
        ]
        for i in clients
    ]
    most = [max(row) for row in alike]
    for i in clients:
        for j in clients:
            if most[j] > most[i]:
                alike[i][j] *= most[i] / most[j]
    rates = [1 - max(row) for row in alike]
    rates = [min(rate / max(rates), 0.99) for rate in rates]
    scores = [confidence * (np.log(rate / (1 - rate)) + 0.5) for rate in rates]
    return [min(1.0, max(0.0, score)) for score in scores]


@given(seed=SEEDS, clients=st.integers(2, 9), confidence=st.floats(0.1, 5))
def test_foolsgold_rates_are_those_of_the_pseudocode(
    seed: int, clients: int, confidence: float
) -> None:
    rows = rows_of(seed, clients, 4).double()
    result = prepared(stage("foolsgold", confidence=confidence), rows)
    assert result.factors is not None
    assert result.factors.tolist() == pytest.approx(slow_rates(rows, confidence), abs=1e-6)
    assert torch.allclose(result.rows, result.factors.unsqueeze(1) * rows)


def test_two_identical_sybils_hardly_learn_and_the_different_do() -> None:
    rows = torch.eye(5)[[0, 1, 2, 3, 3]]
    rates = prepared(stage("foolsgold"), rows).factors
    assert rates is not None
    assert rates.tolist() == [1, 1, 1, 0, 0]


def test_where_all_do_the_same_nobody_learns() -> None:
    rows = rows_of(3, 1, 50).expand(6, -1)
    assert not prepared(stage("foolsgold"), rows).rows.any()


def test_foolsgold_looks_at_all_that_a_client_ever_sent() -> None:
    """Two take turns: they are never alike in a round, and their sums are."""
    one, memory = stage("foolsgold"), stage("foolsgold").begin(4, 4)
    first, second, *others = torch.eye(4)
    for round, sent in enumerate(([first, second], [second, first]), 1):
        rows, cohort = torch.stack([*sent, *others]), cohort_of(range(4), round)
        result = prepared(one, rows, cohort=cohort, memory=memory)
        memory, rates = result.memory, result.factors
        assert rates is not None
        assert rates.tolist() == ([1, 1, 1, 1] if round == 1 else [0, 0, 1, 1])
    assert memory["history"][0].tolist() == [1, 1, 0, 0]


def test_foolsgold_compares_only_who_is_there() -> None:
    memory = {"history": torch.eye(3)[[0, 0, 1, 2]]}  # clients 0 and 1 did the same so far
    rows, cohort = torch.zeros(2, 3), cohort_of([1, 3])
    result = prepared(stage("foolsgold"), rows + 1e-3, cohort=cohort, memory=memory)
    assert result.factors is not None
    assert result.factors.tolist() == [1, 1]
    assert torch.equal(result.memory["history"][[0, 2]], memory["history"][[0, 2]])
    assert torch.equal(result.memory["history"][[1, 3]], memory["history"][[1, 3]] + 1e-3)


def test_foolsgold_must_know_whose_a_row_is() -> None:
    with pytest.raises(SettingError, match=r"3 rows of 6 clients.*put it before bucketing"):
        prepared(stage("foolsgold"), rows_of(0, 3), cohort=cohort_of(range(6)))


# --- nearest-neighbour mixing ---------------------------------------------------------------------


def test_mixing_takes_the_mean_of_the_nearest() -> None:
    # Of 0, 1, 3, 10: without one each, 0, 1, 3 stay together; the nearest of 10 are 10, 3, 1.
    rows = torch.tensor([[0.0], [1.0], [3.0], [10.0]])
    mixed = prepared(stage("nnm", faulty=1), rows).rows
    assert mixed.flatten().tolist() == pytest.approx([4 / 3, 4 / 3, 4 / 3, 14 / 3])


@given(seed=SEEDS)
def test_mixing_with_nobody_left_out_gives_everybody_the_mean(seed: int) -> None:
    rows = rows_of(seed)
    mixed = prepared(stage("nnm", faulty=0), rows).rows
    assert torch.allclose(mixed, rows.mean(dim=0).expand(9, -1), atol=1e-6)


def test_mixing_does_not_cancel_on_updates_that_are_close_together() -> None:
    rows = 1e-3 * rows_of(3, 9, 50) + 16.0
    exact = prepared(stage("nnm", faulty=3), rows.double()).rows
    assert torch.allclose(prepared(stage("nnm", faulty=3), rows).rows.double(), exact, atol=2e-6)


# --- bucketing ------------------------------------------------------------------------------------


def test_buckets_hold_means_and_the_last_may_have_fewer() -> None:
    rows = 2.0 ** torch.arange(5).unsqueeze(1)
    result = prepared(stage("bucketing", size=2), rows)
    sums = [round(one) for one in (result.rows.flatten() * torch.tensor([2, 2, 1])).tolist()]
    assert sum(sums) == 31  # each once
    assert [one.bit_count() for one in sums] == [2, 2, 1]
    assert result.weights.tolist() == [2, 2, 1]


@given(seed=SEEDS, clients=st.integers(1, 12), size=st.integers(1, 5))
def test_bucketing_leaves_the_weighted_mean_as_it_was(seed: int, clients: int, size: int) -> None:
    rows, mean, one = (
        rows_of(seed, clients),
        AGGREGATION_RULES["mean"](),
        stage("bucketing", size=size),
    )
    weights = torch.from_numpy(np.random.default_rng(seed).integers(0, 5, clients)).float()
    result = prepared(one, rows, weights, cohort_of(range(clients), seed=seed))
    assert len(result.rows) == len(result.weights) == one.leaves(clients)
    assert torch.allclose(mean(result.rows, result.weights), mean(rows, weights), atol=1e-5)


@given(seed=SEEDS)
def test_bucketing_keeps_the_plain_mean_where_buckets_are_full(seed: int) -> None:
    rows = rows_of(seed, 12)
    result = prepared(stage("bucketing", size=3), rows, cohort=cohort_of(range(12), seed=seed))
    assert torch.allclose(result.rows.mean(dim=0), rows.mean(dim=0), atol=1e-6)


def test_a_bucket_without_examples_is_a_plain_mean() -> None:
    rows = torch.tensor([[1.0], [3.0]])
    result = prepared(stage("bucketing", size=2), rows, torch.zeros(2))
    assert result.rows.tolist() == [[2.0]]
    assert result.weights.tolist() == [0.0]


def test_everybody_shares_a_bucket_with_everybody_equally_often() -> None:
    """So that the order of clients does not matter, on average over the rounds."""
    one, rows, met = stage("bucketing", size=2), torch.eye(6), torch.zeros(6, 6)
    for round in range(1000):
        means = prepared(one, rows, cohort=cohort_of(range(6), round)).rows  # (3, 6)
        met += 4 * means.T @ means
    counts = met[*torch.triu_indices(6, 6, 1)].numpy()
    assert counts.sum() == pytest.approx(3000)
    # A round's pairs hinder each other, and so vary a little less than chi-square.
    assert chisquare(counts).pvalue > 1e-3


# --- adaptive clipping ----------------------------------------------------------------------------


def test_adaptive_clipping_shortens_twice_the_faulty_share_to_the_next_length() -> None:
    # floor(2 * 1 * 5 / 6) = 1 is shortened with one faulty of six, floor(2 * 2 * 4 / 6) = 2 with 2.
    rows = torch.tensor([[1.0], [-2.0], [3.0], [-4.0], [5.0], [-600.0]])
    once, twice = (prepared(stage("arc", faulty=faulty), rows) for faulty in (1, 2))
    assert once.rows.flatten().tolist() == pytest.approx([1, -2, 3, -4, 5, -5])
    assert twice.rows.flatten().tolist() == pytest.approx([1, -2, 3, -4, 4, -4])
    assert twice.factors is not None
    assert twice.factors.tolist() == pytest.approx([1, 1, 1, 1, 4 / 5, 4 / 600])


@given(seed=SEEDS, clients=st.integers(1, 30))
def test_adaptive_clipping_shortens_as_many_as_the_paper_says(seed: int, clients: int) -> None:
    rows = rows_of(seed, clients)
    for faulty in range((clients + 1) // 2):
        factors = prepared(stage("arc", faulty=faulty), rows).factors
        assert factors is not None
        assert int((factors < 1).sum()) == int(np.floor(2 * faulty / clients * (clients - faulty)))


# --- promises -------------------------------------------------------------------------------------


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
