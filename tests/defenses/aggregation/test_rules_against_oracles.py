"""Rules against oracles: the geometric median, the least diameter and the nearest values."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp, minimize
from torch import Tensor

from defenses.shared.distances import gaps
from defenses.shared.vertex_cover import cover
from tests.support.aggregation_rules import SEEDS, column, kept, median_of, rows_of, rule, step

# --- by hand: the geometric median ----------------------------------------------------------------


def cost(at: Tensor, rows: Tensor, weights: Tensor) -> float:
    return float(weights.double() @ torch.linalg.vector_norm(rows.double() - at, dim=1))


def imbalance(at: Tensor, rows: Tensor, weights: Tensor) -> float:
    """The least subgradient of the sum of distances, for weights that sum to 1."""
    ways, masses = at - rows.double(), weights.double() / weights.sum()
    lengths = torch.linalg.vector_norm(ways, dim=1)
    here = lengths <= 1e-12 * rows.double().abs().max()
    pull = (masses[~here] / lengths[~here]) @ ways[~here]
    return max(0.0, float(torch.linalg.vector_norm(pull) - masses[here].sum()))


def test_the_geometric_median_of_a_square_is_where_the_diagonals_meet() -> None:
    rows = torch.tensor([[0.0, 0.0], [3.0, 1.0], [2.0, 2.0], [-1.0, 1.0]])
    # From (0, 0) to (2, 2) and from (3, 1) to (-1, 1).
    assert torch.allclose(median_of(rows), torch.ones(2, dtype=torch.float64), atol=1e-12)


def test_the_geometric_median_of_a_triangle_sees_its_sides_under_120_degrees() -> None:
    rows = torch.tensor([[0.0, 0.0], [4.0, 0.0], [1.0, 3.0]]).double()
    ways = torch.nn.functional.normalize(rows - median_of(rows), dim=1)
    assert torch.allclose(ways @ ways.T, 1.5 * torch.eye(3).double() - 0.5, atol=1e-9)


def test_a_corner_of_more_than_120_degrees_is_the_geometric_median() -> None:
    rows = torch.tensor([[-4.0, 1.0], [0.0, 0.0], [3.0, 1.0]])
    assert median_of(rows).tolist() == [0.0, 0.0]
    assert median_of(rows, 1, 3, 1).tolist() == [0.0, 0.0]


def test_the_geometric_median_on_a_line_is_the_median() -> None:
    line = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    for places in ([7.0, -1.0, 0.0, 3.0, 90.0], [8.0, -1.0, 0.0, 4.0], [1.0, 5.0]):
        at = torch.tensor(places, dtype=torch.float64).quantile(0.5)
        assert torch.allclose(median_of(column(*places) * line + 1), at * line + 1, atol=1e-12)


def test_more_than_half_of_the_weight_has_its_way() -> None:
    rows = rows_of(0, 4).double()
    assert torch.equal(median_of(rows, 1, 1, 4, 1), rows[2])
    assert not torch.equal(median_of(rows, 1, 1, 1, 1), rows[2])
    weights = torch.tensor([1.0, 1.0, 4.0, 1.0])
    plain = step("geometric-median", rows, weights, weighted=False)
    assert torch.equal(plain, median_of(rows))


def test_rows_that_are_half_of_all_hold_the_median() -> None:
    rows = rows_of(1, 5).double()
    assert torch.allclose(median_of(rows[[0, 1, 2, 0, 3, 4, 0, 0]]), rows[0], rtol=1e-15, atol=0)
    assert torch.allclose(median_of(rows[[0, 0, 0]]), rows[0], rtol=1e-15, atol=0)


# --- against oracles ------------------------------------------------------------------------------


SHAPES = st.tuples(st.integers(3, 12), st.integers(1, 6))


@st.composite
def clouds(draw: st.DrawFn) -> Tensor:
    """Rows of several looks, some of them hard."""
    (clients, params), seed = draw(SHAPES), draw(SEEDS)
    rows = rows_of(seed, clients, params).double()
    look = draw(st.sampled_from(["scattered", "clusters", "line", "away", "apart", "grid"]))
    if look == "clusters":
        rows[::2] = 1e-6 * rows[::2] + 1
    if look == "line":
        rows[:, 1:] *= 1e-6
    if look == "away":
        rows = 16 + 1e-3 * rows
    if look == "apart":
        rows *= torch.exp(4 * rows_of(seed + 1, clients, 1)).double()
    return rows.round() if look == "grid" else rows


@given(rows=clouds(), seed=SEEDS)
def test_at_the_geometric_median_all_pulls_cancel(rows: Tensor, seed: int) -> None:
    weights = rows_of(seed, len(rows), 1)[:, 0].abs() + 0.01
    at = median_of(rows, *weights.tolist())
    assert imbalance(at, rows, weights) < 1e-8
    least = min(cost(row, rows, weights) for row in rows)
    assert cost(at, rows, weights) <= least * (1 + 1e-12)


@given(seed=SEEDS)
def test_no_search_finds_a_smaller_sum_of_distances(seed: int) -> None:
    rows, weights = rows_of(seed, 8, 3).double(), torch.arange(1.0, 9.0)
    found = minimize(
        lambda at: cost(torch.from_numpy(at), rows, weights), rows.mean(dim=0).numpy(), tol=1e-10
    )
    assert cost(median_of(rows, *weights.tolist()), rows, weights) <= found.fun + 1e-9


@given(seed=SEEDS)
def test_a_whole_weight_is_a_row_so_many_times(seed: int) -> None:
    rows = rows_of(seed, 6, 4).double()
    times = torch.from_numpy(np.random.default_rng(seed).integers(0, 4, 6))
    assume(times.sum() > 0)
    many = rows.repeat_interleave(times, dim=0)
    assert torch.allclose(median_of(rows, *times.tolist()), median_of(many), atol=1e-9)


@settings(max_examples=8)
@given(seed=SEEDS)
def test_the_median_follows_the_rows_as_its_gradient_says(seed: int) -> None:
    rows, weights = rows_of(seed, 6, 3).double(), torch.arange(1.0, 7.0)
    at = median_of(rows, *weights.tolist())
    # Where it comes to rest on a row, or begins to, it has no derivative that steps could find.
    assume(torch.linalg.vector_norm(rows - at, dim=1).min() > 1e-2)
    rows.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: step("geometric-median", x, weights), (rows,))


@given(seed=SEEDS, data=st.data())
def test_no_choice_has_a_smaller_diameter(seed: int, data: st.DataObject) -> None:
    clients = data.draw(st.integers(1, 9))
    faulty = data.draw(st.integers(0, (clients - 1) // 2))
    rows = rows_of(seed, clients, data.draw(st.integers(1, 3)))
    between = gaps(rows)

    def lengths(choice: tuple[int, ...]) -> list[float]:
        return sorted((float(between[pair]) for pair in combinations(choice, 2)), reverse=True)

    best = min(combinations(range(clients), clients - faulty), key=lengths)
    assert kept(rule("mda", faulty=faulty), rows) == list(best)


@pytest.mark.parametrize("params", [2, 50])
def test_no_solver_finds_a_smaller_diameter(params: int) -> None:
    rows, faulty = rows_of(3, 24, params), 8
    between = gaps(rows)
    chosen = kept(rule("mda", faulty=faulty), rows)
    assert len(chosen) == 16
    apart = torch.triu(between >= between[chosen][:, chosen].max()).nonzero()
    pairs = np.zeros((len(apart), 24))
    np.put_along_axis(pairs, apart.numpy(), 1, axis=1)
    together = LinearConstraint(pairs, ub=1)  # of two that are so far apart one at most
    most = milp(-np.ones(24), constraints=together, integrality=np.ones(24), bounds=Bounds(0, 1))
    assert round(-most.fun) < 16


@given(seed=SEEDS, share=st.floats(0.1, 0.9))
def test_a_cover_is_found_if_there_is_one(seed: int, share: float) -> None:
    count = 11
    drawn = np.triu(np.random.default_rng(seed).random((count, count)) < share, 1)
    pairs = np.argwhere(drawn).tolist()
    conflicts = {row: 0 for pair in pairs for row in pair}
    for one, other in pairs:
        conflicts[one] |= 1 << other
        conflicts[other] |= 1 << one
    covers = [
        bits
        for bits in range(1 << count)
        if all(bits >> one & 1 or bits >> other & 1 for one, other in pairs)
    ]
    least = min(bits.bit_count() for bits in covers)
    for spare in range(count):
        found = cover(conflicts, spare)
        assert (found is None) == (spare < least)
        assert found is None or (found in covers and found.bit_count() <= spare)


@given(seed=SEEDS, clients=st.integers(1, 12), data=st.data())
def test_the_values_around_the_median_are_those_that_a_sort_by_distance_finds(
    seed: int, clients: int, data: st.DataObject
) -> None:
    faulty = data.draw(st.integers(0, (clients - 1) // 2))
    rows = rows_of(seed, clients).double()
    near = (rows - rows.quantile(0.5, dim=0)).abs().argsort(dim=0)[: clients - faulty]
    expected = rows.gather(0, near).mean(dim=0)
    assert torch.allclose(step("meamed", rows, faulty=faulty), expected, atol=1e-12)
