"""Membership attacks where the best possible curve is known: Gaussian answers, equal spreads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from attacks import PRIVACY_ATTACKS
from lab.interfaces.attack_data import Candidates, MembershipSignals
from lab.interfaces.privacy_attacks import MembershipInferenceAttack
from lab.scoring.shared.roc_curve import auc, true_positives

GAP = 1.5  # between models that were trained on a candidate and models that were not, in deviations
SIZE, SHADOWS = 20_000, 64
RATES = np.array([0.001, 0.01, 0.1, 0.5])
BEST = norm.cdf(GAP + norm.ppf(RATES))  # Neyman and Pearson 1933: what the likelihood ratio reaches


@pytest.fixture(scope="module")
def toy() -> tuple[MembershipSignals, np.ndarray]:
    """Candidates of any difficulty and spread; half of them are members."""
    draw = torch.Generator().manual_seed(0)
    centre = 3 * torch.randn(SIZE, generator=draw).double()
    spread = 0.5 + torch.rand(SIZE, generator=draw).double()
    halves = torch.rand(SHADOWS // 2 + 1, SIZE, generator=draw) < 0.5
    inside = torch.stack([halves, ~halves], dim=1).flatten(0, 1)[1:]  # (1 + shadows, candidates)
    noise = torch.randn(SHADOWS + 1, SIZE, generator=draw).double()
    answers = centre + spread * (GAP * inside + noise)
    public = Candidates(torch.zeros(0, 1), torch.zeros(0, dtype=torch.int64))
    asked = Candidates(torch.zeros(SIZE, 1), torch.zeros(SIZE, dtype=torch.int64))
    told = MembershipSignals(
        asked, answers[0], answers[1:], inside[1:], public, answers[0, :0], answers[1:, :0]
    )
    exact: Tensor = GAP * (answers[0] - centre) / spread - GAP**2 / 2
    return told, np.stack([exact.numpy(), inside[0].numpy()])


def reached(scores: np.ndarray, member: np.ndarray) -> np.ndarray:
    return true_positives(scores[member], scores[~member], RATES)


def band(members: int) -> np.ndarray:
    """Four deviations: of the members found, and of the threshold that others set."""
    slope = norm.pdf(GAP + norm.ppf(RATES)) / norm.pdf(norm.ppf(RATES))
    found, set_by = BEST * (1 - BEST), slope**2 * RATES * (1 - RATES)
    wide: np.ndarray = 4 * np.sqrt((found + set_by) / members)
    return wide


def scored(name: str, told: MembershipSignals, **settings: object) -> np.ndarray:
    spy = PRIVACY_ATTACKS[name].model_validate(settings)
    assert isinstance(spy, MembershipInferenceAttack)
    return spy(told).numpy()


def test_the_exact_ratio_reaches_the_neyman_pearson_curve(
    toy: tuple[MembershipSignals, np.ndarray],
) -> None:
    _, (exact, member) = toy
    assert np.abs(reached(exact, member.astype(bool)) - BEST) == pytest.approx(
        0, abs=band(SIZE // 2).max()
    )
    assert (np.abs(reached(exact, member.astype(bool)) - BEST) <= band(SIZE // 2)).all()


@pytest.mark.parametrize("variance", ["per-example", "pooled", "shrunk"])
def test_lira_comes_close_and_not_above(
    toy: tuple[MembershipSignals, np.ndarray], variance: str
) -> None:
    """With 64 shadows it may lose a quarter of the best at 0.1 %, and hardly anything at 10 %."""
    told, (_, member) = toy
    found = reached(scored("lira-online", told, variance=variance), member.astype(bool))
    assert (found <= BEST + band(SIZE // 2)).all()
    assert (found >= np.array([0.6, 0.8, 0.94, 0.98]) * BEST - band(SIZE // 2)).all()


def test_two_sided_offline_scores_fail(toy: tuple[MembershipSignals, np.ndarray]) -> None:
    """The released code's score, the negative log-density under outside models."""
    told, (_, truth) = toy
    member = truth.astype(bool)
    one_sided = scored("lira-offline", told)
    found = [auc(scores[member], scores[~member]) for scores in (one_sided, np.abs(one_sided))]
    best = norm.cdf(GAP / 2**0.5)
    assert found[0] > best - 0.02
    assert found[1] < best - 0.08


def test_one_reference_tells_something_at_a_low_rate_unless_it_is_quantised() -> None:
    """Of 20,000 others more than 0.1 % beat the whole population, and all of them tie."""
    draw = torch.Generator().manual_seed(2)
    noise = torch.randn(4, SIZE, generator=draw).double()
    inside = torch.rand(SIZE, generator=draw) < 0.5
    centre = 2 * noise[0]
    asked = Candidates(torch.zeros(SIZE, 1), torch.zeros(SIZE, dtype=torch.int64))
    told = MembershipSignals(
        asked,
        centre + 2.5 * inside + noise[1],
        (centre + noise[2]).unsqueeze(0),  # a lone reference, which saw nobody
        torch.zeros(1, SIZE, dtype=torch.bool),
        asked,
        centre[:200] + noise[3, :200],
        (centre + noise[2]).unsqueeze(0)[:, :200],
    )
    found = {
        kind: reached(scored("rmia", told, score=kind), inside.numpy())[0]
        for kind in ("ratio", "quantised")
    }
    assert found["ratio"] > 0
    assert found["quantised"] == 0
