"""Poisons of updates: worked out by hand, promises, and what they do to rules and runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from attacks import POISONING_ATTACKS
from attacks.poisoning.shared.malicious_updates import Way, way_of
from attacks.poisoning.updates.alie import tolerated
from attacks.poisoning.updates.fang import strength
from attacks.poisoning.updates.min_max import largest as largest_max
from attacks.poisoning.updates.min_sum import largest as largest_sum
from defenses import AGGREGATION_RULES
from lab.interfaces.poisoning import AdversaryKnowledge, PoisoningAttack
from tests.support.poisoned_rounds import folding, lie, party, rows_of
from tests.support.poisoning import attacked, cohort_of, last

# --- by hand --------------------------------------------------------------------------------------


def test_the_sign_flip_negates_the_own_update_or_the_honest_mean() -> None:
    assert lie("sign-flip").tolist() == [-27, -27]
    assert lie("sign-flip", reading="mean").tolist() == [-6, -9]
    assert lie("sign-flip", reading="mean", scale=0.5).tolist() == [-1, -1.5]


def test_a_little_is_so_many_deviations_off_the_mean() -> None:
    deviations = torch.tensor([2.0, 3**0.5])
    mean = torch.tensor([2.0, 3.0])
    assert torch.allclose(lie("alie", z=1), mean + deviations)
    assert torch.allclose(lie("alie", z=0.5, sign="minus"), mean - 0.5 * deviations)


def test_how_little_is_enough_follows_from_the_majority_it_needs() -> None:
    assert tolerated(11, 2) == pytest.approx(0.1397, abs=5e-5)  # of 9, 4 must lie farther out
    assert tolerated(50, 24) == pytest.approx(1.4261, abs=5e-5)  # Phi^-1(24 / 26)
    assert tolerated(10, 1) == 0  # it would take 5 of 9
    assert tolerated(5, 3) == 0  # 1 of 2, as if a majority needed one
    assert tolerated(9, 6) == pytest.approx(0.4307, abs=5e-5)  # 1 of 3
    assert tolerated(5, 5) == pytest.approx(0.8416, abs=5e-5)  # 1 of 5, all malicious


def test_inner_products_are_turned_by_minus_twice_the_mean() -> None:
    assert lie("ipm").tolist() == [-4, -6]


@pytest.mark.parametrize("way", ["unit", "sign", "std"])
def test_on_a_line_the_largest_lies_are_plain_to_see(way: str) -> None:
    # 0, 1 and 3 lie 3 apart, so within 3 of all is 0 to 3.  From 3, squares sum to 9 + 4 = 13; as
    # they do from -1/3, to 1/9 + 16/9 + 100/9.
    rows = torch.tensor([[0.0], [1.0], [3.0], [50.0]])
    last = cohort_of([False, False, False, True])
    for name, expected in (("min-max", 0.0), ("min-sum", -1 / 3)):
        sent = POISONING_ATTACKS[name](deviation=way).rows(rows, last)[3].item()
        assert sent == pytest.approx(expected, abs=1e-6)


def test_fang_draws_beyond_the_last_honest_value_against_the_way() -> None:
    honest = torch.tensor(
        [[1.0, -1, -1, 1, 0], [2.0, 2, -2, -2, 0], [3.0, 3, -3, -3, 0], [2.0, 3, -2, -3, 0]]
    )
    bad = cohort_of([False] * 4 + [True] * 200)
    sent = POISONING_ATTACKS["fang"]().rows(torch.cat([honest, honest[3:].expand(200, 5)]), bad)[4:]
    ends = [(0.5, 1), (-2, -1), (-1, -0.5), (1, 2), (0, 0)]
    for drawn, (low, high) in zip(sent.T, ends, strict=True):
        assert low <= drawn.min() <= low + 0.05
        assert high - 0.05 <= drawn.max() <= high


def test_mimic_copies_whoever_is_longest_where_most_varies() -> None:
    rows = torch.tensor([[0.0, 5], [1, 5], [-3, 5], [0, 5.1], [7, 7]])
    sent = POISONING_ATTACKS["mimic"]().rows(rows, cohort_of([False] * 4 + [True]))
    assert sent[4].tolist() == [-3, 5]


def test_fake_clients_drag_the_model_to_an_untrained_one() -> None:
    sent, fresh = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 5.0])
    assert lie("mpaf", AdversaryKnowledge(sent=sent, fresh=fresh), scale=100).tolist() == [
        -100,
        300,
    ]
    assert lie("mpaf", AdversaryKnowledge(sent=sent), scale=100).tolist() == [-100, -200]
    assert lie("mpaf").tolist() == [0, 0]


def test_a_free_rider_sends_nothing_or_what_it_saw_last() -> None:
    known = AdversaryKnowledge(change=torch.tensor([3.0, -4.0]))
    assert lie("free-rider", known).tolist() == [0, 0]
    assert lie("free-rider", known, what="last").tolist() == [3, -4]
    for what in ("nothing", "last", "noise"):
        assert lie("free-rider", what=what).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("poison", "mean", "deviation"),
    [
        (POISONING_ATTACKS["gaussian"](), 0, 1),
        (POISONING_ATTACKS["gaussian"](mean=-3, deviation=0.1), -3, 0.1),
        (POISONING_ATTACKS["free-rider"](what="noise", deviation=0.5), 0, 2),  # of changes of 4
    ],
)
def test_noise_has_the_moments_that_were_asked_for(
    poison: PoisoningAttack, mean: float, deviation: float
) -> None:
    known = AdversaryKnowledge(change=torch.tensor([4.0, -4.0]).repeat(20_000))
    rows = torch.zeros(3, 40_000)
    drawn = poison.rows(rows, cohort_of([True, True, False]), known)[:2].double()
    assert drawn.mean(dim=1).sub(mean).abs().max() < 5 * deviation / 200
    assert drawn.std(dim=1).sub(deviation).abs().max() < 5 * deviation / 280
    assert abs(np.corrcoef(drawn)[0, 1]) < 5 / 200  # each its own
    second = replace(cohort_of([True, True, False]), round=2)
    later = poison.rows(rows, second, known)[:2].double()
    assert abs(np.corrcoef(drawn[0], later[0])[0, 1]) < 5 / 200


# --- a little is enough, inner products -----------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("sign", "factor"), [("plus", 1), ("minus", -1)])
def test_a_little_lies_along_the_deviations(seed: int, sign: str, factor: int) -> None:
    rows = rows_of(seed, 11, 50)
    moved = POISONING_ATTACKS["alie"](sign=sign).rows(rows, party(2, 11))[-1] - rows[:9].mean(dim=0)
    assert torch.allclose(moved, factor * tolerated(11, 2) * rows[:9].std(dim=0), atol=1e-5)


def test_a_little_grows_with_the_attackers_and_stays_finite() -> None:
    for clients in range(1, 60):
        found = [tolerated(clients, faulty) for faulty in range(clients + 1)]
        assert all(0 <= z < 4 for z in found)
        minority = found[: (clients + 1) // 2]
        assert minority == sorted(minority)


@pytest.mark.parametrize("faulty", [1, 3, 4, 7])
def test_the_mean_turns_just_where_epsilon_exceeds_honest_over_malicious(faulty: int) -> None:
    rows, threshold = rows_of(9, 10), (10 - faulty) / faulty
    honest = rows[: 10 - faulty].mean(dim=0)
    for scale, turned in ((0.99 * threshold, False), (1.01 * threshold, True)):
        step = POISONING_ATTACKS["ipm"](scale=scale).rows(rows, party(faulty, 10)).mean(dim=0)
        assert bool(step @ honest < 0) == turned


# --- Min-Max and Min-Sum --------------------------------------------------------------------------


def within_max(among: Tensor, sent: Tensor) -> bool:
    apart = torch.linalg.vector_norm(among.unsqueeze(1) - among, dim=2)
    return bool(torch.linalg.vector_norm(among - sent, dim=1).max() <= apart.max())


def within_sum(among: Tensor, sent: Tensor) -> bool:
    apart = (among.unsqueeze(1) - among).square().sum(dim=2)
    return bool((among - sent).square().sum() <= apart.sum(dim=1).max())


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("way", ["unit", "sign", "std"])
@pytest.mark.parametrize(
    ("largest", "within"), [(largest_max, within_max), (largest_sum, within_sum)]
)
def test_gamma_is_the_largest_that_halving_finds(
    seed: int,
    way: Way,
    largest: Callable[[Tensor, Tensor], Tensor],
    within: Callable[[Tensor, Tensor], bool],
) -> None:
    among = rows_of(seed, 8, 30).double() + seed  # the farther, the more they agree on a way
    perturbation, mean = way_of(among, way), among.mean(dim=0)
    low, high = 0.0, 1e4
    for _ in range(80):
        middle = (low + high) / 2
        fits = within(among, mean - middle * perturbation)
        low, high = (middle, high) if fits else (low, middle)
    found = float(largest(among, perturbation))
    assert found == pytest.approx(low, rel=1e-9)
    assert within(among, mean - found * (1 - 1e-9) * perturbation)
    assert not within(among, mean - found * (1 + 1e-6) * perturbation)


def test_gamma_of_updates_without_a_way_is_none() -> None:
    for largest in (largest_max, largest_sum):
        assert largest(rows_of(0).double(), torch.zeros(7).double()) == 0


# --- Fang -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_fang_leaves_the_trimmed_mean_the_lowest_honest_values(seed: int) -> None:
    """Attackers fill the one end that is cut off, and honest values at the other are lost."""
    rows, insight = rows_of(seed, 11, 40), folding("trimmed-mean", faulty=3)
    assert insight.fold is not None
    way = insight.fold(rows).sign()
    step = insight.fold(POISONING_ATTACKS["fang"]().rows(rows, party(3, 11), insight))
    against = (rows[:8] * way).sort(dim=0).values  # the first are farthest against the way
    assert torch.allclose(step * way, against[:5].mean(dim=0), atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("faulty", [2, 3, 4])
def test_krum_picks_what_fang_made_for_it(seed: int, faulty: int) -> None:
    rows, krum = rows_of(seed, 11, 40), folding("krum", faulty=faulty)
    assert krum.fold is not None
    sent = POISONING_ATTACKS["fang"](against="krum").rows(rows, party(faulty, 11), krum)
    assert torch.equal(krum.fold(sent), sent[-1])
    lamda = sent[-1].abs().max()
    assert torch.equal(sent[-1], -lamda * krum.fold(rows).sign())
    assert lamda > 0.01


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("faulty", [1, 2, 3, 4])
def test_lambda_is_what_the_papers_search_finds(seed: int, faulty: int) -> None:
    """Step by step, with m = 11 workers of which c are compromised, d = 40 and w_Re = 0."""
    honest = rows_of(seed, 11 - faulty, 40).double() - seed / 10
    way, m, c, d = honest.mean(dim=0).sign(), 11, faulty, 40
    apart = torch.cdist(honest, honest).square().sort(dim=1).values[:, 1:]
    spread = float(apart[:, : m - c - 2].sum(dim=1).min())
    bound = sqrt(spread / ((m - 2 * c - 1) * d)) + float(honest.norm(dim=1).max()) / sqrt(d)
    lamda, krum = bound, AGGREGATION_RULES["krum"](faulty=c)
    while lamda > 1e-5 * bound:
        sent = torch.cat([honest, (-lamda * way).expand(c, -1)])
        if torch.equal(krum(sent, torch.ones(m)), sent[-1]):
            break
        lamda /= 2
    assert strength(honest, way, faulty) == pytest.approx(lamda, rel=1e-9)


def test_fang_sends_hardly_anything_where_krum_cannot_be_had() -> None:
    """Honest updates that agree, far from nothing: then there is no lie that lies among them."""
    rows = 100 + rows_of(0, 11, 40)
    sent = POISONING_ATTACKS["fang"](against="krum").rows(rows, party(3, 11))
    assert 0 < sent[-1].abs().max() < 1e-5 * 250


def test_fang_goes_by_the_step_of_the_rule_that_it_knows() -> None:
    rows, one = rows_of(3), torch.ones(7)
    up = POISONING_ATTACKS["fang"]().rows(rows, party(3), AdversaryKnowledge(fold=lambda _: one))
    down = POISONING_ATTACKS["fang"]().rows(rows, party(3), AdversaryKnowledge(fold=lambda _: -one))
    assert (up[6:] <= rows[:6].amin(dim=0)).all()
    assert (down[6:] >= rows[:6].amax(dim=0)).all()
    still = POISONING_ATTACKS["fang"]().rows(
        rows, party(3), AdversaryKnowledge(fold=lambda _: 0 * one)
    )
    assert (still[6:] == 0).all()


# --- Mimic ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_mimic_sends_the_row_that_is_longest_along_the_first_component(seed: int) -> None:
    rows = rows_of(seed, 9, 30)
    main = np.linalg.eigh(np.cov(rows[:6].numpy().T))[1][:, -1]
    longest = int(np.abs(rows[:6].numpy() @ main).argmax())
    sent = POISONING_ATTACKS["mimic"]().rows(rows, party(3))
    assert torch.equal(sent[6:], rows[longest].expand(3, -1))


# --- whole runs -----------------------------------------------------------------------------------


def accuracy(poison: dict[str, Any], rule: str = "mean") -> float:
    return last(
        attacked(count=4, **poison).changed({"aggregation.rule.kind": rule})
    ).record.accuracy


@pytest.mark.parametrize(
    "poison",
    [{"kind": "ipm", "scale": 10}, {"kind": "gaussian", "deviation": 100}, {"kind": "opt-alie"}],
    ids=str,
)
def test_the_mean_falls_where_the_median_stands(poison: dict[str, Any]) -> None:
    assert accuracy(poison) < 0.4
    assert accuracy(poison, "median") > 0.7


@pytest.mark.parametrize("what", ["nothing", "last", "noise"])
def test_a_federation_learns_in_spite_of_free_riders(what: str) -> None:
    assert accuracy({"kind": "free-rider", "what": what}) > 0.8
