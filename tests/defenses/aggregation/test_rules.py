"""Rules: promises that every one in the table keeps."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from defenses import AGGREGATION_RULES
from lab.common.settings import SettingError
from lab.interfaces.aggregation import AggregationRule
from tests.support.aggregation_rules import (
    FAULTY,
    FREE,
    KRUM,
    PICKY,
    ROBUST,
    SEEDS,
    but,
    expecting,
    kept,
    median_of,
    rows_of,
    rule,
    step,
    stepped,
)

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
    # DnC drops along one direction: rows that are wild in several may hide behind each other.
    several = name != "dnc" and draw(st.booleans())
    return part, rows[faulty:], wild * rows[:faulty].sign() if several else wild


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
