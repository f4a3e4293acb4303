"""Lies that are tried out against the rule, and the search for the most harmful."""

from __future__ import annotations

from math import inf, log, nan

import pytest
import torch
from torch import Tensor

from attacks import POISONING_ATTACKS
from attacks.poisoning.shared.line_search import strongest
from lab.interfaces.poisoning import AdversaryKnowledge
from tests.support.poisoned_rounds import folding, party, rows_of

DEPLOYED = [("mean", {}), ("median", {}), ("trimmed-mean", {"faulty": 3}), ("krum", {"faulty": 3})]


def harm(rows: Tensor, sent: Tensor, insight: AdversaryKnowledge) -> float:
    assert insight.fold is not None
    return float(torch.linalg.vector_norm(insight.fold(sent) - rows[:8].mean(dim=0)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("rule", "settings"), DEPLOYED)
@pytest.mark.parametrize(
    ("tried", "fixed"),
    [("opt-alie", {"z": 1.5}), ("opt-alie", {}), ("opt-ipm", {"scale": 2})],
)
def test_what_was_tried_out_harms_no_less_than_what_is_fixed(
    seed: int, rule: str, settings: dict[str, int], tried: str, fixed: dict[str, float]
) -> None:
    rows, cohort, insight = rows_of(seed, 11, 40), party(3, 11), folding(rule, **settings)
    plain = POISONING_ATTACKS[tried.removeprefix("opt-")](**fixed).rows(rows, cohort)
    best = POISONING_ATTACKS[tried]().rows(rows, cohort, insight)
    # An equal lie may be rounded in another way.
    assert harm(rows, best, insight) >= harm(rows, plain, insight) * (1 - 1e-6)


def test_trying_out_finds_more_harm_than_the_fixed_factors_where_there_is_more() -> None:
    rows, cohort, krum = rows_of(0, 11, 40), party(3, 11), folding("krum", faulty=3)
    grid = [POISONING_ATTACKS["ipm"](scale=0.01 * k).rows(rows, cohort) for k in range(1, 400)]
    best = harm(rows, POISONING_ATTACKS["opt-ipm"]().rows(rows, cohort, krum), krum)
    assert best > 1.1 * harm(rows, POISONING_ATTACKS["ipm"]().rows(rows, cohort), krum)
    assert best > 0.95 * max(harm(rows, sent, krum) for sent in grid)


@pytest.mark.parametrize("name", ["opt-alie", "opt-ipm"])
@pytest.mark.parametrize("evaluations", [2, 3, 4, 19, 20, 100])
def test_the_rule_is_asked_as_often_as_was_said(name: str, evaluations: int) -> None:
    asked = []

    def fold(rows: Tensor) -> Tensor:
        asked.append(rows)
        return rows.mean(dim=0)

    sent = POISONING_ATTACKS[name](evaluations=evaluations).rows(
        rows_of(0), party(4), AdversaryKnowledge(fold=fold)
    )
    assert len(asked) == evaluations
    assert sent.isfinite().all()
    if evaluations == 20:  # the mean believes everything
        assert sent[-1].abs().max() > 100


@pytest.mark.parametrize("peak", [0.02, 0.3, 2.0, 7.0, 40.0])
def test_the_search_climbs_a_hill_to_a_twentieth(peak: float) -> None:
    found = strongest(lambda factor: -abs(log(factor / peak)), (1.5,), 20)
    assert found == pytest.approx(peak, rel=0.05)


def test_the_search_sees_the_higher_of_two_hills() -> None:
    """ByzFL's, which walks on from 0 for as long as it rises, would stop at the first."""
    hills = {0.25: 1.0, 20.0: 2.0}
    found = strongest(
        lambda factor: max(high - abs(log(factor / top)) for top, high in hills.items()), (2.0,), 20
    )
    assert found == pytest.approx(20, rel=0.05)


@pytest.mark.parametrize("known", [(1.5, 0.14), (1.0, 2.0), (1.0, 1.0)])
@pytest.mark.parametrize("trials", [2, 3, 5, 20, 100])
def test_the_search_takes_its_trials_and_no_two_alike(
    known: tuple[float, ...], trials: int
) -> None:
    tried: list[float] = []
    found = strongest(lambda factor: tried.append(factor) or factor, known, trials)
    assert len(tried) == len(set(tried)) == trials or max(tried) == 1e6
    assert set(known) <= set(tried)
    assert found == max(tried) <= 1e6


def test_a_little_tries_the_papers_formula_too() -> None:
    """A rule that believes just that, and otherwise nobody."""
    rows, cohort = rows_of(0, 11, 40), party(2, 11)
    wanted = POISONING_ATTACKS["alie"]().rows(rows, cohort)[-1]

    def fold(each: Tensor) -> Tensor:
        return each[-1] if torch.allclose(each[-1], wanted) else rows[:9].mean(dim=0)

    sent = POISONING_ATTACKS["opt-alie"](evaluations=4).rows(
        rows, cohort, AdversaryKnowledge(fold=fold)
    )
    assert torch.allclose(sent[-1], wanted)


@pytest.mark.parametrize("trouble", [inf, nan])
def test_a_step_that_is_no_number_is_no_harm(trouble: float) -> None:
    def fold(rows: Tensor) -> Tensor:
        return rows.mean(dim=0) if rows.abs().max() < 10 else torch.full((7,), trouble)

    sent = POISONING_ATTACKS["opt-ipm"]().rows(rows_of(0), party(4), AdversaryKnowledge(fold=fold))
    assert 5 < sent[-1].abs().max() < 10


def test_where_nothing_matters_the_search_keeps_the_known_factor() -> None:
    assert strongest(lambda factor: 1.0, (1.5, 0.14), 20) == 1.5
