"""Rules that sort updates out before they add them up: by hand, by promise, against slow twins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from defenses import AGGREGATION_RULES
from lab.common.settings import SettingError
from lab.interfaces.aggregation import AggregationContext, AggregationDecision, AggregationRule

SEEDS = st.integers(0, 10**6)
NAMES = ("fltrust", "flame", "rlr", "signguard", "dnc")
FILTERS = ("flame", "signguard", "dnc")  # which find the majority by themselves
BOUNDED = ("fltrust", *FILTERS)  # rlr bounds no length
SILENT: dict[str, dict[str, Any]] = {"flame": {"noise": 0}}


def rows_of(seed: int, clients: int = 9, params: int = 40) -> Tensor:
    return torch.randn(clients, params, generator=torch.Generator().manual_seed(seed))


def rule(name: str, **wanted: Any) -> AggregationRule:
    return AGGREGATION_RULES[name](**wanted)


def aid_of(seed: int, params: int = 40) -> AggregationContext:
    return AggregationContext(root=rows_of(seed + 1, 1, params)[0], seed=seed)


def honest(seed: int, clients: int = 30, params: int = 400) -> Tensor:
    """Updates around a common way, in which more coordinates rise than fall."""
    way = rows_of(seed + 1, 1, params)[0] + 0.5
    return way + 0.5 * rows_of(seed, clients, params)


def lied(rows: Tensor, lie: str, seed: int) -> Tensor:
    """What liars send whose honest updates would be those rows."""
    far = 100 * rows_of(seed + 2, 1, rows.shape[1])
    return {"flipped": -rows, "boosted": 10 * rows, "far": rows + far}[lie]


def judged(one: AggregationRule, rows: Tensor, aid: AggregationContext) -> AggregationDecision:
    verdict = one.judge(rows, torch.ones(len(rows)), aid)
    assert verdict is not None
    return verdict


def mean_of(rows: Tensor, verdict: AggregationDecision) -> Tensor:
    return (verdict.factors.unsqueeze(1) * rows)[verdict.kept].mean(dim=0)


# --- FLTrust, by hand -----------------------------------------------------------------------------


def test_fltrust_weighs_directions_by_their_cosine_and_gives_all_one_length() -> None:
    # Cosines 1, 0, -1, 1/sqrt(2); brought to length 2: (2, 0), and (1, 1) times sqrt(2).
    rows = torch.tensor([[3.0, 0.0], [0.0, 5.0], [-1.0, 0.0], [7.0, 7.0]])
    aid = AggregationContext(root=torch.tensor([2.0, 0.0]))
    step = rule("fltrust")(rows, torch.ones(4), aid)
    assert step.tolist() == pytest.approx([3 / (1 + 0.5**0.5), 1 / (1 + 0.5**0.5)])
    verdict = judged(rule("fltrust"), rows, aid)
    assert verdict.kept.tolist() == [True, False, False, True]
    assert verdict.factors.tolist() == pytest.approx([2 / 3, 2 / 5, 2, 2 / 98**0.5])


def test_without_anybody_to_trust_fltrust_takes_no_step() -> None:
    rows = torch.tensor([[-3.0, 0.0], [0.0, 0.0], [-1.0, 5.0]])
    step = rule("fltrust")(rows, torch.ones(3), AggregationContext(root=torch.tensor([2.0, 0.0])))
    assert step.tolist() == [0.0, 0.0]
    still = rule("fltrust")(rows, torch.ones(3), AggregationContext(root=torch.zeros(2)))
    assert still.tolist() == [0.0, 0.0]


def test_fltrust_needs_an_update_of_the_server() -> None:
    assert AGGREGATION_RULES["fltrust"]().public == 100
    with pytest.raises(SettingError, match="fltrust needs an update of the server's own"):
        rule("fltrust")(rows_of(0), torch.ones(9))


@given(seed=SEEDS, factors=st.lists(st.floats(1e-3, 1e3), min_size=9, max_size=9))
def test_fltrust_cares_for_no_length(seed: int, factors: list[float]) -> None:
    rows, aid = rows_of(seed), aid_of(seed)
    longer = rows * torch.tensor(factors).unsqueeze(1)
    steps = [rule("fltrust")(some, torch.ones(9), aid) for some in (rows, longer)]
    assert torch.allclose(*steps, atol=1e-5)


# --- FLAME, by hand -------------------------------------------------------------------------------


def test_flame_admits_the_majority_and_clips_to_the_median_of_all() -> None:
    # Lengths 1, 2, 9, 4, 5: the median is 4, so that the mean is of 1, 2 and 4.
    rows = torch.tensor([[1.0, 0.0], [2.0, 0.0], [9.0, 0.0], [0.0, 4.0], [-5.0, 0.0]])
    assert rule("flame", noise=0)(rows, torch.ones(5)).tolist() == pytest.approx([7 / 3, 0])
    verdict = judged(rule("flame"), rows, AggregationContext())
    assert verdict.kept.tolist() == [True, True, True, False, False]
    assert verdict.factors.tolist() == pytest.approx([1, 1, 4 / 9, 1, 4 / 5])


def test_flame_admits_everybody_where_no_direction_is_closer_than_another() -> None:
    assert judged(rule("flame"), torch.eye(6), AggregationContext()).kept.all()


def cluster(rows: Tensor) -> Tensor:
    """The first component of more than half, when ever longer distances become edges."""
    units = F.normalize(rows.double(), dim=1)
    gaps = (1 - units @ units.T).round(decimals=12)
    for longest in gaps.unique():
        reach = (gaps <= longest).double()
        for _ in range(len(rows)):
            reach = (reach @ reach > 0).double()
        sizes = reach.sum(dim=1)
        if sizes.max() > len(rows) / 2:
            return sizes == sizes.max()
    raise AssertionError("the longest distance connects all")


@given(seed=SEEDS, clients=st.integers(3, 14), params=st.integers(2, 6))
def test_flame_admits_the_first_majority_that_grows_together(
    seed: int, clients: int, params: int
) -> None:
    rows = rows_of(seed, clients, params)
    rows[clients // 2] = rows[0]  # a twin, at no distance
    assert torch.equal(judged(rule("flame"), rows, AggregationContext()).kept, cluster(rows))


def test_noise_of_flame_is_a_multiple_of_the_median_length() -> None:
    rows, params = rows_of(3, 9, 20_000), 20_000
    steps = [rule("flame", noise=noise)(rows, torch.ones(9)) for noise in (0.5, 0.0)]
    noise = steps[0] - steps[1]
    # Relative error of a deviation of so many draws, five times over.
    expected = 0.5 * float(rows.norm(dim=1).median())
    assert float(noise.std()) == pytest.approx(expected, rel=5 * (2 * params) ** -0.5)
    assert not torch.equal(
        rule("flame")(rows, torch.ones(9), AggregationContext(round=1)),
        rule("flame")(rows, torch.ones(9), AggregationContext(round=2)),
    )


# --- robust learning rate, by hand ----------------------------------------------------------------


def test_rlr_turns_round_what_too_few_agree_on() -> None:
    # Sums of signs 3, 1, -3, 2: below a threshold of 3 the mean is turned round.
    rows = torch.tensor([[1.0, 1.0, -1.0, 0.0], [2.0, 1.0, -2.0, 3.0], [3.0, -5.0, -3.0, 3.0]])
    step = rule("rlr", threshold=3)(rows, torch.ones(3))
    assert step.tolist() == pytest.approx([2, 1, -2, -2])
    weighted = rule("rlr", threshold=3)(rows, torch.tensor([0.0, 0.0, 4.0]))
    assert weighted.tolist() == [3.0, 5.0, -3.0, -3.0]


@given(seed=SEEDS)
def test_rlr_without_a_threshold_is_the_weighted_mean(seed: int) -> None:
    rows, weights = rows_of(seed), torch.arange(9.0)
    step = rule("rlr", threshold=0)(rows, weights)
    assert torch.equal(step, AGGREGATION_RULES["mean"]()(rows, weights))


# --- SignGuard, by hand ---------------------------------------------------------------------------


def test_signguard_sorts_out_by_length_and_by_signs() -> None:
    up, down = torch.ones(1, 8), -torch.ones(1, 8)
    # Lengths in medians: 1, 1, 1.5, 4 (too long), 0.05 (too short), 1 with the other signs.
    factors = (1, 1, 1.5, 4, 0.05)
    rows = torch.cat([*(factor * up for factor in factors), down])
    verdict = judged(rule("signguard"), rows, AggregationContext())
    assert verdict.kept.tolist() == [True, True, True, False, False, False]
    assert verdict.factors.tolist() == pytest.approx([1, 1, 2 / 3, 1 / 4, 1, 1])
    assert rule("signguard")(rows, torch.ones(6)).tolist() == pytest.approx([1.0] * 8)


def test_signguard_takes_no_step_where_signs_and_lengths_agree_on_nobody() -> None:
    up, down = torch.ones(1, 8), -torch.ones(1, 8)
    both = torch.cat([up[:, :4], down[:, :4]], dim=1)
    # The largest cluster of signs is a fiftieth of the median in length, the others about twice.
    rows = torch.cat([*(0.01 * up,) * 5, *(down,) * 3, *(both,) * 2])
    assert not judged(rule("signguard", share=1), rows, AggregationContext()).kept.any()
    assert not rule("signguard", share=1)(rows, torch.ones(10)).any()


def test_signguard_is_blind_to_a_flip_of_balanced_signs() -> None:
    way = torch.ones(400)
    way[::2] = -1
    rows = way + 0.5 * rows_of(0, 100, 400)
    rows[:20] *= -1
    assert judged(rule("signguard", share=1), rows, AggregationContext()).kept[:20].any()


# --- divide and conquer, by hand ------------------------------------------------------------------


def test_dnc_drops_who_lies_furthest_out() -> None:
    # Centred on 8.25: the squares of -8.25, -7.25, -6.25 and 21.75.
    rows = torch.tensor([[0.0], [1.0], [2.0], [30.0]])
    assert rule("dnc", faulty=1)(rows, torch.ones(4)).item() == pytest.approx(1.0)
    verdict = judged(rule("dnc", faulty=1), rows, AggregationContext())
    assert verdict.kept.tolist() == [True, True, True, False]
    assert verdict.factors.tolist() == [1.0] * 4


@given(seed=SEEDS, faulty=st.integers(1, 4))
def test_dnc_projects_on_the_top_right_singular_vector(seed: int, faulty: int) -> None:
    rows = rows_of(seed).double()
    centred = rows - rows.mean(dim=0)
    scores = (centred @ torch.linalg.svd(centred, full_matrices=False).Vh[0]).square()
    kept = judged(rule("dnc", faulty=faulty), rows, AggregationContext()).kept
    assert set(kept.nonzero().flatten().tolist()) == set(scores.argsort()[: 9 - faulty].tolist())


@pytest.mark.parametrize(("share", "dropped"), [(0.5, 1), (1.0, 3), (1.5, 4), (2.0, 6), (0.1, 0)])
def test_dnc_drops_a_share_of_the_faulty_rounded_down(share: float, dropped: int) -> None:
    verdict = judged(rule("dnc", faulty=3, share=share), rows_of(1), AggregationContext())
    assert int((~verdict.kept).sum()) == dropped


def test_dnc_keeps_whom_every_look_keeps() -> None:
    rows, looks = rows_of(0, 30, 400), {"faulty": 3, "coordinates": 20}
    few = judged(rule("dnc", **looks), rows, AggregationContext()).kept
    many = judged(rule("dnc", rounds=5, **looks), rows, AggregationContext()).kept
    assert int((~few).sum()) == 3
    assert int((~many).sum()) > 3
    assert not (many & ~few).any()


def test_dnc_takes_no_step_once_everybody_was_an_outlier() -> None:
    lonely = rule("dnc", faulty=1, share=2, rounds=20, coordinates=1)
    rows = rows_of(0, 3, 40)
    assert not judged(lonely, rows, AggregationContext()).kept.any()
    assert not lonely(rows, torch.ones(3)).any()


# --- promises -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@given(seed=SEEDS)
def test_order_of_clients_does_not_matter(name: str, seed: int) -> None:
    rows, order = rows_of(seed), torch.from_numpy(np.random.default_rng(seed).permutation(9))
    weights, aid = torch.arange(1.0, 10.0), aid_of(seed)
    mixed = rule(name)(rows[order], weights[order], aid)
    assert torch.allclose(rule(name)(rows, weights, aid), mixed, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@given(seed=SEEDS, unit=st.sampled_from([1e-12, 3.0, 1e12]))
def test_the_unit_of_measurement_does_not_matter(name: str, seed: int, unit: float) -> None:
    rows, aid = rows_of(seed).double(), aid_of(seed)
    assert aid.root is not None
    scaled = rule(name)(
        unit * rows, torch.ones(9), AggregationContext(root=unit * aid.root.double(), seed=seed)
    )
    step = rule(name)(rows, torch.ones(9), AggregationContext(root=aid.root.double(), seed=seed))
    assert torch.allclose(scaled / unit, step, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_float32_agrees_with_float64(name: str) -> None:
    rows, aid = rows_of(5, 9, 500), aid_of(5, 500)
    step = rule(name)(rows, torch.ones(9), aid)
    assert step.dtype == torch.float32
    exact = rule(name)(rows.double(), torch.ones(9), aid)
    assert exact.dtype == torch.float64
    assert torch.allclose(step.double(), exact, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_input_is_left_as_it_was(name: str) -> None:
    rows, aid = rows_of(1), aid_of(1)
    assert aid.root is not None
    before, root = rows.clone(), aid.root.clone()
    rule(name)(rows, torch.ones(9), aid).zero_()
    rule(name).judge(rows, torch.ones(9), aid)
    assert torch.equal(rows, before)
    assert torch.equal(aid.root, root)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wild", [1e30, 1e38, 3.4e38])
@pytest.mark.parametrize("many", [1, 5, 9])
def test_wild_rows_give_numbers(name: str, wild: float, many: int) -> None:
    rows = rows_of(2).clamp(-1, 1)
    rows[:many] *= wild
    assert rule(name)(rows, torch.ones(9), aid_of(2)).isfinite().all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("empty", [1, 5, 9])
def test_zero_rows_give_numbers_and_gradients(name: str, empty: int) -> None:
    rows = rows_of(3)
    rows[:empty] = 0
    rows.requires_grad_()
    step = rule(name)(rows, torch.ones(9), aid_of(3))
    assert step.isfinite().all()
    step.sum().backward()
    assert rows.grad is not None
    assert rows.grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_to_gradients_a_row_adds_what_it_adds_as_it_was_filtered_and_shortened(name: str) -> None:
    rows, root = rows_of(4, 7, 5).double().requires_grad_(), rows_of(6, 1, 5)[0]
    made = rule(name, **SILENT.get(name, {}))(
        rows, torch.ones(7), AggregationContext(root=root, seed=1)
    ).sum()
    made.backward()
    assert rows.grad is not None
    assert torch.allclose((rows.grad * rows).sum(), made)


@pytest.mark.parametrize("name", FILTERS)
@given(seed=SEEDS)
def test_the_step_is_the_mean_of_what_the_verdict_kept(name: str, seed: int) -> None:
    rows, aid = rows_of(seed, 12), aid_of(seed)
    one = rule(name, **SILENT.get(name, {}))
    expected = mean_of(rows, judged(one, rows, aid)).float()
    assert torch.allclose(one(rows, torch.ones(12), aid), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "lie"),
    [(name, lie) for name in FILTERS for lie in ("flipped", "boosted", "far")],
)
@settings(max_examples=10)
@given(seed=SEEDS)
def test_a_minority_of_liars_is_sorted_out(name: str, lie: str, seed: int) -> None:
    rows = honest(seed)
    rows[:9] = lied(rows[:9], lie, seed)
    one = rule(name, **({"faulty": 9} if name == "dnc" else {}))
    verdict, aid = judged(one, rows, AggregationContext(seed=seed)), AggregationContext(seed=seed)
    if (name, lie) == ("flame", "boosted"):  # the direction is honest; it is the length that lies
        assert (verdict.factors[:9] < 0.2).all()
    else:
        assert not verdict.kept[:9].any()
    assert verdict.kept[9:].any()
    step, centre = one(rows, torch.ones(30), aid), rows[9:].mean(dim=0)
    assert float((step - centre).norm()) < float((rows[9:] - centre).norm(dim=1).max())


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize("wild", [1e30, -1e30, 1e38])
@settings(max_examples=5)
@given(seed=SEEDS)
def test_wild_rows_do_not_get_in(name: str, wild: float, seed: int) -> None:
    rows = honest(seed)
    rows[:9] = wild * rows_of(seed + 3, 1, 400).clamp(-3, 3)
    one = rule(name, **({"faulty": 9} if name == "dnc" else {}))
    step = one(rows, torch.ones(30), AggregationContext(root=rows[-1], seed=seed))
    assert float(step.norm()) <= 1.05 * float(rows[9:].norm(dim=1).max())


@pytest.mark.parametrize(
    ("name", "least"), [("fltrust", 100), ("flame", 51), ("signguard", 75), ("dnc", 97)]
)
@settings(max_examples=5)
@given(seed=SEEDS)
def test_honest_clients_are_kept(name: str, least: int, seed: int) -> None:
    """Not all: FLAME wants a tight majority, and DnC drops as many as it fears, honest or not."""
    rows = honest(seed, clients=100, params=4000)
    one = rule(name, **({"faulty": 3} if name == "dnc" else {}))
    verdict = judged(one, rows, AggregationContext(root=rows.mean(dim=0), seed=seed))
    assert int(verdict.kept.sum()) >= least


@pytest.mark.parametrize("name", NAMES)
def test_draws_repeat_themselves_within_a_round(name: str) -> None:
    rows, aid = rows_of(7, 9, 300), aid_of(7, 300)
    steps = [rule(name)(rows, torch.ones(9), aid) for _ in range(2)]
    assert torch.equal(*steps)


@pytest.mark.parametrize(
    ("name", "wanted", "clients", "complaint"),
    [
        (
            "rlr",
            {"threshold": 9},
            5,
            "aggregation.rule.threshold is 9, more than 5 .*: give 5 at most",
        ),
        (
            "dnc",
            {"faulty": 5},
            10,
            "aggregation.rule.faulty is 5, too many for 10 .*2 faulty \\+ 1; give 4 at most",
        ),
        ("flame", {}, 2, "aggregation.rule.kind flame needs 3 clients a round, and there are 2"),
        (
            "signguard",
            {},
            1,
            "aggregation.rule.kind signguard needs 3 clients a round, and there are 1",
        ),
    ],
)
def test_too_few_clients_are_refused_with_the_numbers(
    name: str, wanted: dict[str, Any], clients: int, complaint: str
) -> None:
    one = rule(name, **wanted)
    with pytest.raises(SettingError, match=complaint):
        one.check(clients)
    one.check(one.fewest())
    with pytest.raises(SettingError):
        one.check(one.fewest() - 1)
    with pytest.raises(SettingError):
        one(rows_of(0, clients), torch.ones(clients), aid_of(0))
