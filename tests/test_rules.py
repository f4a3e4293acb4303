"""Rules: worked out by hand, against oracles, and promises that every one in the table keeps."""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp, minimize
from torch import Tensor

from defenses import AGGREGATION_RULES
from defenses.shared.distances import gaps
from defenses.shared.vertex_cover import cover
from lab.common.settings import SettingError
from lab.interfaces.aggregation import AggregationContext, AggregationRule

SEEDS = st.integers(0, 10**6)
EQUAL = torch.ones(9)


def rows_of(seed: int, clients: int = 9, params: int = 7) -> Tensor:
    return torch.randn(clients, params, generator=torch.Generator().manual_seed(seed))


def column(*values: float) -> Tensor:
    """Clients with a single parameter each."""
    return torch.tensor(values, dtype=torch.float64).unsqueeze(1)


def rule(name: str, **settings: Any) -> AggregationRule:
    return AGGREGATION_RULES[name](**settings)


def expecting(name: str, faulty: int) -> AggregationRule:
    """The rule, told how many clients are malicious, where it is to be told."""
    return rule(
        name, **({"faulty": faulty} if "faulty" in AGGREGATION_RULES[name].model_fields else {})
    )


def aid_of(part: AggregationRule, rows: Tensor) -> AggregationContext:
    """The rows' median for an update of the server's own, where the rule needs one."""
    return (
        AggregationContext(root=rows.detach().quantile(0.5, dim=0))
        if part.public
        else AggregationContext()
    )


def stepped(part: AggregationRule, rows: Tensor, weights: Tensor | None = None) -> Tensor:
    return part(rows, torch.ones(len(rows)) if weights is None else weights, aid_of(part, rows))


def step(name: str, rows: Tensor, weights: Tensor | None = None, **settings: Any) -> Tensor:
    return stepped(rule(name, **settings), rows, weights)


def kept(part: AggregationRule, rows: Tensor) -> list[int]:
    """Who counts, by the rule's own word."""
    verdict = part.judge(rows, torch.ones(len(rows)), aid_of(part, rows))
    assert verdict is not None
    return [int(place) for place in verdict.kept.nonzero()]


def but(*names: str) -> list[str]:
    """All rules in the table except some, which need not be there."""
    return [name for name in AGGREGATION_RULES if name not in names]


# What each does not promise, because its paper has it do something else.
NORMED = ("fltrust", "flame", "rlr", "signguard")  # directions or lengths from the origin count
FREE = but(*NORMED)
ROBUST = but("mean", "geometric-median", *NORMED)
FAULTY = [name for name, part in AGGREGATION_RULES.items() if "faulty" in part.model_fields]
PICKY = ["krum", "multi-krum", "bulyan", "mda"]  # who is in is in whole


# --- by hand: coordinates -------------------------------------------------------------------------


def test_mean_weighs_clients_by_their_examples() -> None:
    rows = torch.tensor([[0.0, 4.0], [4.0, 0.0]])
    assert step("mean", rows, torch.tensor([3.0, 1.0])).tolist() == [1.0, 3.0]


def test_mean_of_clients_without_examples_is_no_step() -> None:
    for name in ("mean", "geometric-median"):
        assert step(name, torch.ones(2, 3), torch.zeros(2)).tolist() == [0.0, 0.0, 0.0]


def test_a_mean_without_weights_ignores_what_clients_report() -> None:
    rows = torch.tensor([[0.0, 4.0], [4.0, 0.0]])
    assert step("mean", rows, torch.tensor([3.0, 1.0]), weighted=False).tolist() == [2.0, 2.0]


def test_a_cap_counts_nobody_for_more_than_so_many_medians() -> None:
    # Reported 10, 20, 30, 1000: the median is 25, so that twice that, 50, is the most.
    reported = torch.tensor([10.0, 20.0, 30.0, 1000.0])
    rows = torch.eye(4)
    capped = step("mean", rows, reported, cap=2)
    assert torch.allclose(capped, torch.tensor([10.0, 20.0, 30.0, 50.0]) / 110)
    assert torch.equal(step("mean", rows, reported, cap=100), step("mean", rows, reported))


def test_clients_without_examples_do_not_lower_the_cap() -> None:
    reported = torch.tensor([0.0, 0.0, 0.0, 10.0, 90.0])  # the median of those who hold any is 50
    assert torch.allclose(
        step("mean", torch.eye(5), reported, cap=1),
        torch.tensor([0.0, 0.0, 0.0, 10.0, 50.0]) / 60,
    )


def test_only_a_plain_mean_does_without_single_rows() -> None:
    means = [rule("mean"), rule("mean", cap=3), rule("mean", weighted=False)]
    assert [mean.needs_rows for mean in means] == [False, True, True]
    assert all(AGGREGATION_RULES[name]().needs_rows for name in but("mean"))


def test_median_of_an_even_number_averages_the_two_middles() -> None:
    assert step("median", column(1, 9, 2, 4)).item() == 3.0


def test_trimmed_mean_drops_the_extremes_of_each_coordinate() -> None:
    rows = torch.tensor([[0.0, 9.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [100.0, -50.0]])
    assert step("trimmed-mean", rows, faulty=1).tolist() == [2.0, 2.0]


def test_the_mean_around_the_median_drops_what_is_farthest_from_it() -> None:
    # Medians 1.5 and -2: 10 is 8.5 away and 7 is 9 away.  A trimmed mean would drop both ends.
    rows = torch.tensor([[0.0, 7.0], [1.0, -2.0], [2.0, -2.0], [10.0, -5.0]])
    assert step("meamed", rows, faulty=1).tolist() == [1.0, -3.0]


def test_of_two_values_equally_near_to_the_median_the_lower_counts() -> None:
    assert step("meamed", column(0, 1, 2), faulty=1).item() == 0.5


@pytest.mark.parametrize("name", ["trimmed-mean", "meamed", "mda", "multi-krum", "bulyan"])
def test_a_rule_that_expects_nobody_malicious_is_the_mean(name: str) -> None:
    rows = rows_of(0)
    assert torch.allclose(step(name, rows, faulty=0), rows.mean(dim=0), atol=1e-6)


# --- by hand: choices -----------------------------------------------------------------------------

# Krum, n = 5 and f = 1, so two nearest others; scores .0725, .0325, .025, .0425, 189.15.
KRUM = column(0, 0.1, 0.25, 0.3, 10)


def test_krum_picks_the_point_with_the_nearest_neighbours() -> None:
    assert step("krum", KRUM, faulty=1).item() == 0.25
    assert kept(rule("krum", faulty=1), KRUM) == [2]


def test_multi_krum_averages_the_best_scores() -> None:
    assert step("multi-krum", KRUM, faulty=1).item() == pytest.approx(0.65 / 4)
    assert step("multi-krum", KRUM, faulty=1, chosen=2).item() == pytest.approx(0.35 / 2)
    assert kept(rule("multi-krum", faulty=1, chosen=2), KRUM) == [1, 2]
    assert torch.equal(step("multi-krum", KRUM, chosen=1), step("krum", KRUM))


def test_one_more_neighbour_picks_another_point() -> None:
    # Scores of two others 5, 2, 5, 5, 10; of three 21, 11, 9, 14, 26.
    rows = column(0, 1, 2, 4, 5)
    assert step("krum", rows, faulty=1).item() == 1
    assert step("krum", rows, faulty=1, neighbours="one-more").item() == 2
    assert step("multi-krum", rows, chosen=1, neighbours="one-more").item() == 2


def test_two_that_are_each_others_nearest_are_told_apart_by_the_next() -> None:
    # One neighbour: 2 and 3 have the same score, 1; the next is 4 away from 2 and 9 from 3.
    assert step("krum", column(0, 3, 2), faulty=0).item() == 2
    assert step("krum", column(2, 3, 0), faulty=0).item() == 2


def test_bulyan_asks_krum_again_for_every_pick() -> None:
    """Scores (n = 7, f = 1) of who is left; every pick changes those of the others.

    0, 1, 2, 5, 8, 10, 12, four others: 94, 67, 50, 59, 65, 97, 169: 2
    0, 1, 5, 8, 10, 12, three others: 90, 66, 50, 29, 33, 69: 8
    0, 1, 5, 10, 12, two others: 26, 17, 41, 29, 53: 1
    0, 5, 10, 12, one other: 25, 25, 4, 4, and then 25 before 49: 10
    0, 5, 12, one other: 25, 25, 49, and then 49 before 144: 5
    Of 1, 2, 5, 8, 10 the three nearest to 5 are 2, 5, 8.  The best five scores of the first line
    would have been those of 0, 1, 2, 5, 8, whose three nearest to 2 are 0, 1, 2.
    """
    rows = column(0, 1, 2, 5, 8, 10, 12)
    assert kept(rule("bulyan", faulty=1), rows) == [1, 2, 3, 4, 5]
    assert step("bulyan", rows, faulty=1).item() == 5


def test_the_least_diameter_leaves_the_farthest_out() -> None:
    # Without 9 the diameter is 4; without any other it is 8 or 9.
    assert kept(rule("mda", faulty=1), column(0, 9, 1, 4)) == [0, 2, 3]


def test_of_equal_diameters_the_next_longest_distance_decides() -> None:
    # The first two are 1 apart; with them go the third, .94 away, or the fourth, .86 away.
    rows = torch.tensor([[-0.5, 0.0], [0.5, 0.0], [0.0, 0.8], [0.0, -0.7]])
    assert kept(rule("mda", faulty=1), rows) == [0, 1, 3]


@pytest.mark.parametrize(
    ("name", "faulty", "clients", "message"),
    [
        ("krum", 4, 10, "krum needs 2 faulty \\+ 3; give 3 at most"),
        ("krum", 1, 2, "ask 3 or more"),
        ("multi-krum", 4, 10, "give 3 at most"),
        ("bulyan", 2, 10, "bulyan needs 4 faulty \\+ 3; give 1 at most"),
        ("trimmed-mean", 5, 10, "give 4 at most"),
        ("meamed", 5, 10, "give 4 at most"),
        ("mda", 5, 10, "mda needs 2 faulty \\+ 1; give 4 at most"),
    ],
)
def test_the_refusal_says_how_many_would_do(
    name: str, faulty: int, clients: int, message: str
) -> None:
    told = (
        f"aggregation.rule.faulty is {faulty}, too many for {clients} clients a round: .*{message}"
    )
    with pytest.raises(SettingError, match=told):
        rule(name, faulty=faulty).check(clients)


def test_multi_krum_averages_no_more_than_are_honest() -> None:
    part = rule("multi-krum", faulty=2, chosen=9)
    with pytest.raises(
        SettingError, match=r"aggregation.rule.chosen is 9, .* leave 8: give 8 at most"
    ):
        part.check(10)
    part.check(11)
    assert part.fewest() == 11


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


def median_of(rows: Tensor, *weights: float) -> Tensor:
    return step("geometric-median", rows.double(), torch.tensor(weights) if weights else None)


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


# --- distances ------------------------------------------------------------------------------------


def test_gaps_are_squared_distances() -> None:
    rows = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    expected = torch.tensor([[0, 25, 1], [25, 0, 18], [1, 18, 0]]).double()
    assert torch.allclose(gaps(rows), expected, rtol=1e-15, atol=0)
    assert gaps(rows_of(0, 1)).tolist() == [[0]]


def test_gaps_of_close_rows_do_not_cancel_and_a_wild_one_does_not_blur_them() -> None:
    """Norm expansion in float32 loses all digits here, in a well-known library."""
    rows = 1e-3 * rows_of(3, 9, 3000) + 16.0
    rows[8], rows[7] = 1e30, rows[6]
    exact = (rows.double().unsqueeze(1) - rows.double()).square().sum(dim=2)
    assert torch.allclose(gaps(rows), exact, rtol=1e-12, atol=0)
    assert gaps(rows)[6, 7] == 0


# --- promises -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", AGGREGATION_RULES)
@given(seed=SEEDS)
def test_order_of_clients_does_not_matter(name: str, seed: int) -> None:
    rows, order = rows_of(seed), torch.from_numpy(np.random.default_rng(seed).permutation(9))
    weights = torch.arange(1.0, 10.0)
    mixed = step(name, rows[order], weights[order])
    assert torch.allclose(step(name, rows, weights), mixed, atol=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in AGGREGATION_RULES
        if AGGREGATION_RULES[name].judge is not AggregationRule.judge
    ],
)
@given(seed=SEEDS)
def test_order_of_clients_does_not_matter_to_who_is_kept(name: str, seed: int) -> None:
    rows, order = rows_of(seed, 11), np.random.default_rng(seed).permutation(11)
    mixed, straight = kept(rule(name), rows[torch.from_numpy(order)]), kept(rule(name), rows)
    assert {int(order[place]) for place in mixed} == set(straight)


@pytest.mark.parametrize("name", FREE)
@given(seed=SEEDS)
def test_moved_and_scaled_rows_give_the_moved_and_scaled_step(name: str, seed: int) -> None:
    rows, shift = rows_of(seed).double(), rows_of(seed + 1, 1).double()[0]
    moved = step(name, 3 * rows + shift)
    assert torch.allclose(moved, 3 * step(name, rows) + shift, atol=1e-9)


@pytest.mark.parametrize("name", ["mean", "geometric-median", "krum", "multi-krum", "mda"])
@given(seed=SEEDS)
def test_turned_rows_give_the_turned_step(name: str, seed: int) -> None:
    """An update is one vector: neither coordinates nor layers are looked at one by one."""
    rows, turn = rows_of(seed).double(), torch.linalg.qr(rows_of(seed + 1, 7).double()).Q
    assert torch.allclose(step(name, rows @ turn), step(name, rows) @ turn, atol=1e-9)


@pytest.mark.parametrize("name", FREE)
@given(seed=SEEDS)
def test_the_step_lies_among_the_rows(name: str, seed: int) -> None:
    rows = rows_of(seed)
    found = step(name, rows)
    assert (found >= rows.amin(dim=0) - 1e-6).all()
    assert (found <= rows.amax(dim=0) + 1e-6).all()
    centre = rows.mean(dim=0)
    radius = torch.linalg.vector_norm(rows - centre, dim=1).max()
    assert torch.linalg.vector_norm(found - centre) <= radius + 1e-6


@st.composite
def crowds(draw: st.DrawFn, name: str) -> tuple[AggregationRule, Tensor, Tensor]:
    """The rule, honest rows, and as many wild ones as it is to withstand at that number."""
    faulty = draw(st.integers(1, 3))
    part = expecting(name, faulty)
    clients = max(part.fewest(), 2 * faulty + 1) + draw(st.integers(0, 3))
    rows, size = rows_of(draw(SEEDS), clients), draw(st.sampled_from([1e38, 1e30, -1e30, 1e3]))
    wild = size * torch.ones(faulty, 7)
    return part, rows[faulty:], wild * rows[:faulty].sign() if draw(st.booleans()) else wild


@pytest.mark.parametrize("name", ROBUST)
@given(data=st.data())
def test_wild_rows_cannot_leave_the_honest_range(name: str, data: st.DataObject) -> None:
    part, honest, wild = data.draw(crowds(name))
    found = stepped(part, torch.cat([wild, honest]))
    assert (found >= honest.amin(dim=0)).all()
    assert (found <= honest.amax(dim=0)).all()


@pytest.mark.parametrize("name", [name for name in PICKY if name != "bulyan"])
@given(data=st.data())
def test_wild_rows_are_left_out(name: str, data: st.DataObject) -> None:
    part, honest, wild = data.draw(crowds(name))
    assert min(kept(part, torch.cat([wild, honest]))) >= len(wild)


@given(data=st.data())
def test_wild_rows_move_the_geometric_median_only_so_far(data: st.DataObject) -> None:
    """Minsker 2015, lemma 2.1: 2 (n - f) / (n - 2f) honest radii."""
    part, honest, wild = data.draw(crowds("geometric-median"))
    radius = torch.linalg.vector_norm(honest, dim=1).max()
    most = 2 * len(honest) / (len(honest) - len(wild)) * radius
    assert torch.linalg.vector_norm(stepped(part, torch.cat([wild, honest]))) <= most


def test_less_than_half_at_a_billion_is_withstood_and_more_than_half_is_followed() -> None:
    rows = rows_of(0, 11).double()
    rows[:5] = 1e9
    assert median_of(rows).norm() < 30
    rows[5] = 1e9
    assert torch.allclose(median_of(rows), rows[0], rtol=1e-15, atol=0)


def test_one_wild_row_carries_the_mean_away() -> None:
    rows = rows_of(0)
    rows[0] = 1e6
    assert step("mean", rows).min() > 1e5


@pytest.mark.parametrize("name", AGGREGATION_RULES)
@pytest.mark.parametrize(("far", "size"), [(0.0, 1.0), (16.0, 1e-3)])
def test_float32_agrees_with_float64(name: str, far: float, size: float) -> None:
    rows = far + size * rows_of(5, 12, 500)
    assert torch.allclose(step(name, rows).double(), step(name, rows.double()), rtol=0, atol=1e-5)


def test_a_median_that_float32_would_round_does_not_change_who_is_near() -> None:
    # Between the middle two, 1 and 2 units, -1000 and 1003 are equally near to 1.5, and not to 2.
    units = torch.tensor([[-1000.0], [1.0], [2.0], [1003.0]])
    rows = 16 + units * 2**-19
    assert step("meamed", rows, faulty=1).item() < 16
    assert step("meamed", rows.double(), faulty=1).item() < 16


@pytest.mark.parametrize("name", AGGREGATION_RULES)
def test_the_input_is_left_as_it_was(name: str) -> None:
    rows, weights = rows_of(1), torch.arange(1.0, 10.0)
    before = rows.clone()
    step(name, rows, weights).zero_()
    assert torch.equal(rows, before)
    assert torch.equal(weights, torch.arange(1.0, 10.0))


@pytest.mark.parametrize("name", FAULTY)
@pytest.mark.parametrize("faulty", [0, 1, 2, 7])
def test_too_many_faulty_clients_are_refused(name: str, faulty: int) -> None:
    part = rule(name, faulty=faulty)
    part.check(part.fewest())
    few = rows_of(0, part.fewest() - 1)
    told = f"aggregation.rule.faulty is {faulty}, too many for {len(few)} clients a round"
    with pytest.raises(SettingError, match=told):
        part.check(len(few))
    with pytest.raises(SettingError, match=told):
        stepped(part, few)


@pytest.mark.parametrize("name", but("mean"))
def test_a_rule_can_do_with_the_fewest_rows_that_it_asks_for(name: str) -> None:
    part = rule(name)
    assert stepped(part, rows_of(0, part.fewest())).isfinite().all()


@pytest.mark.parametrize("name", PICKY)
@given(seed=SEEDS)
def test_the_step_is_made_of_those_who_are_kept(name: str, seed: int) -> None:
    rows = rows_of(seed, 11)
    chosen = rows[kept(rule(name), rows)]
    verdict = rule(name).judge(rows, torch.ones(11))
    assert verdict is not None
    assert (verdict.factors == 1).all()
    if name == "bulyan":
        assert torch.equal(step(name, rows), step("meamed", chosen, faulty=2))
    else:
        assert torch.equal(step(name, rows), chosen.mean(dim=0))


# --- influence ------------------------------------------------------------------------------------


def influence(name: str, rows: Tensor) -> Tensor:
    """How far the step moves, for each client whose row moves as far.  (clients,)"""
    moving = rows.clone().requires_grad_()
    step(name, moving).sum().backward()
    assert moving.grad is not None
    return moving.grad.mean(dim=1)


@pytest.mark.parametrize("name", FREE)
@given(seed=SEEDS)
def test_influences_sum_to_one(name: str, seed: int) -> None:
    assert float(influence(name, rows_of(seed)).sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", [name for name in FREE if name != "geometric-median"])
@given(seed=SEEDS)
def test_nobody_pulls_backwards(name: str, seed: int) -> None:
    assert (influence(name, rows_of(seed)) >= 0).all()


def test_who_is_left_out_has_no_influence() -> None:
    assert influence("krum", KRUM).tolist() == [0, 0, 1, 0, 0]
    assert influence("multi-krum", KRUM).tolist() == [0.25, 0.25, 0.25, 0.25, 0]
    assert influence("mda", KRUM).tolist() == [0.25, 0.25, 0.25, 0.25, 0]
    assert influence("median", KRUM).tolist() == [0, 0, 1, 0, 0]
    assert influence("geometric-median", KRUM).tolist() == [0, 0, 1, 0, 0]
    assert influence("trimmed-mean", KRUM).tolist() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 0])
    assert influence("meamed", KRUM).tolist() == [0.25, 0.25, 0.25, 0.25, 0]


def test_a_far_row_has_less_influence_on_the_geometric_median() -> None:
    rows = rows_of(0, 9).double()
    shares = []
    for away in (1.0, 10.0, 100.0, 1e30):
        rows[0] = away * torch.linspace(1, 2, 7)
        shares.append(float(influence("geometric-median", rows)[0]))
    assert all(more > less for more, less in pairwise(shares))
    assert abs(shares[-1]) < 1e-20
