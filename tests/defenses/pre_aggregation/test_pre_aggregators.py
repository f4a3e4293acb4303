"""What the server does before its rule, worked out by hand and against slow twins."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from defenses import AGGREGATION_RULES
from lab.common.settings import SettingError
from tests.support.pre_aggregated import SEEDS, cohort_of, prepared, rows_of, stage

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
