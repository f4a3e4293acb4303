"""Membership attacks: equal to what was worked out by hand, and what all of them promise."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import log

import numpy as np
import pytest
import torch
from torch import Tensor

from attacks import PRIVACY_ATTACKS
from attacks.membership.outsider.lira_online import LiraOnline
from attacks.membership.outsider.rmia import Rmia
from attacks.membership.shared.confidence import confidence, cross_entropy, log_complements
from attacks.membership.shared.public_calibration import levelled
from lab import Experiment
from lab.attack_runs.membership.outsider import run_membership
from lab.attack_runs.membership.shadow_federations import shadow_rounds
from lab.common.settings import SettingError
from lab.engine.data.federation import federated_dataset
from lab.engine.run import initial_state
from lab.interfaces.attack_data import Candidates, MembershipSignals
from lab.interfaces.privacy_attacks import MembershipInferenceAttack
from lab.interfaces.views import OutsiderView
from lab.models.inputs import as_floats
from lab.scoring.membership.membership_score import score_membership

OUTSIDERS = [
    name for name, spy in PRIVACY_ATTACKS.items() if issubclass(spy, MembershipInferenceAttack)
]
WITH_SHADOWS = [name for name in OUTSIDERS if PRIVACY_ATTACKS[name]().needs().shadows]  # type: ignore[attr-defined]
TRANSDUCTIVE = {"rank-ensemble"}
MODELS, HALF, PUBLIC = 10, 200, 500  # a target, one that saw nobody, and eight shadows


def attack(name: str, **settings: object) -> MembershipInferenceAttack:
    spy = PRIVACY_ATTACKS[name].model_validate(settings)
    assert isinstance(spy, MembershipInferenceAttack)
    return spy


def column(*values: float) -> Tensor:
    """One candidate: what each of several models says of it."""
    return torch.tensor(values).double().unsqueeze(1)


def of_one(target: float, inside: list[float], outside: list[float]) -> MembershipSignals:
    """Signals on models that were trained on a single candidate, and on models that were not."""
    saw = torch.tensor([True] * len(inside) + [False] * len(outside)).unsqueeze(1)
    return evidence(column(target)[0], column(*inside, *outside), saw)


def evidence(target: Tensor, models: Tensor, inside: Tensor) -> MembershipSignals:
    """Without examples, and without the public."""
    nobody = Candidates(torch.zeros(0, 1), torch.zeros(0, dtype=torch.int64))
    size = len(target)
    asked = Candidates(torch.zeros(size, 1), torch.zeros(size, dtype=torch.int64))
    empty = target.new_zeros(0)
    return MembershipSignals(asked, target, models, inside, nobody, empty, models[:, :0])


def odds(probability: float) -> float:
    return log(probability / (1 - probability))


# --- by hand ------------------------------------------------------------------------------------


def test_confidence_is_the_log_odds_of_the_label() -> None:
    logits = torch.tensor([[1.0, 2.0, 5.0], [5.0, 2.0, 1.0]]).log()
    found = confidence(logits, torch.tensor([2, 1]))
    assert found.tolist() == pytest.approx([log(5 / 3), log(2 / 6)])
    assert cross_entropy(logits, torch.tensor([2, 1])).tolist() == pytest.approx([log(1.6), log(4)])
    stacked = confidence(torch.stack([logits, logits + 7]), torch.tensor([2, 1]))
    assert torch.allclose(stacked, found.expand(2, 2))


def test_confidence_is_exact_where_probabilities_round() -> None:
    logits = torch.tensor([[1e3, -1e3, -1e3], [-1e3, 1e3, 0.0]])
    found = confidence(logits, torch.tensor([0, 0]))
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx([2000 - log(2), -2000], rel=1e-12)
    assert log_complements(logits)[0].tolist() == pytest.approx([log(2) - 2000, 0, 0])
    assert not torch.softmax(logits, dim=1)[0, 0].logit().isfinite()  # the naive way


def test_three_measures_of_entropy() -> None:
    view, asked = answering([[0.5, 0.3, 0.2]], [1])
    measured = {
        name: attack("entropy", measure=name).signal(view, asked).item()
        for name in ("confidence", "entropy", "modified")
    }
    whole = -(0.5 * log(0.5) + 0.3 * log(0.3) + 0.2 * log(0.2))
    modified = -(0.7 * log(0.3) + 0.5 * log(0.5) + 0.2 * log(0.8))
    assert measured == pytest.approx(
        {"confidence": 0.0, "entropy": whole, "modified": modified}, abs=1e-6
    )


def answering(rows: list[list[float]], labels: list[int]) -> tuple[OutsiderView, Candidates]:
    """A logistic model of a digit's pixels, and examples that it gives those probabilities."""
    network = experiment(**{"model.kind": "logistic", "data.source": "digits"}).architecture
    model = torch.full((network.size,), -1e3)
    parts = network.split(model)
    parts["out.weight"].zero_()
    parts["out.bias"][: len(rows[0])] = 0  # all other classes are impossible
    inputs = torch.zeros(len(rows), 64)
    for row, probabilities in enumerate(rows):
        inputs[row, row] = 1
        parts["out.weight"][: len(probabilities), row] = torch.tensor(probabilities).log()
    asked = Candidates(inputs.view(len(rows), *network.shape), torch.tensor(labels))
    return OutsiderView(1, network, model), asked


@pytest.mark.parametrize(
    ("centre", "expected"),
    [("median", 1 - 3 / 28 + log(3 / 7) / 2), ("mean", 1 / 4 + log(3 / 7) / 2)],
)
def test_lira_by_hand(centre: str, expected: float) -> None:
    """Trained: median 1, mean 2, variance 14/3.  Not: median 0, mean 1, variance 2."""
    told = of_one(2.0, [0, 1, 5], [0, 0, 3])
    found = attack("lira-online", variance="per-example", centre=centre)(told)
    assert found.item() == pytest.approx(expected)


def test_pooled_variance_is_about_each_candidates_own_mean() -> None:
    """Trained: (1 + 1 + 4 + 4) / 2 = 5.  Not: (1 + 1 + 0) / 2 = 1."""
    models = torch.tensor([[0.0, 10], [2, 14], [0, 0], [2, 0]]).double()
    inside = torch.tensor([True, True, False, False]).unsqueeze(1).expand(4, 2)
    told = evidence(torch.tensor([1.0, 12]).double(), models, inside)
    found = attack("lira-online", variance="pooled")(told)
    assert found.tolist() == pytest.approx([-log(5) / 2, -log(5) / 2 + 72])


def test_shrinking_a_lone_candidate_leaves_it_alone() -> None:
    """There is nobody to borrow from: unbiased variances of 8 and 2 about 4 and -1."""
    found = attack("lira-online")(of_one(0.0, [2, 6], [-2, 0]))
    assert found.item() == pytest.approx(-log(8) / 2 - 16 / 16 + log(2) / 2 + 1 / 4)


def test_shrinking_draws_to_the_others() -> None:
    """Two candidates, as hard on average.  Variances 2 and 8 become (2 + 16 x 5) / 17 and
    (8 + 16 x 5) / 17, on either side; gaps 2 and 6 become (4 x 2 + 8 x 4) / 10 less one on each.
    """
    models = torch.tensor([[0.0, 1], [2, 5], [-2, -5], [0, -1]]).double()
    inside = torch.tensor([True, True, False, False]).unsqueeze(1).expand(4, 2)
    gaps = [(2 * 2 + 8 * 4) / 10, (2 * 6 + 8 * 4) / 10]
    variances = [82 / 17, 88 / 17]
    found = attack("lira-online")(evidence(torch.ones(2).double(), models, inside))
    expected = [gap * 1.0 / variance for gap, variance in zip(gaps, variances, strict=True)]
    assert found.tolist() == pytest.approx(expected)


def test_offline_lira_is_one_sided() -> None:
    spy = attack("lira-offline", variance="per-example")
    scores = [spy(of_one(target, [9.0, 9.0], [1.0, 3.0])).item() for target in (0.0, 2.0, 4.0)]
    assert scores == pytest.approx([-2, 0, 2])


def test_calibrated_loss_by_hand() -> None:
    assert attack("calibrated-loss")(of_one(0.5, [9.0], [1.0, 2.0])).item() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("settings", "average"),
    [
        ({}, 0.65),
        ({"references": "outside", "correction": 1.0}, 0.4),
        ({"references": "outside", "correction": 0.3}, 0.61),
    ],
)
def test_the_ratio_of_rmia_by_hand(settings: dict[str, object], average: float) -> None:
    told = of_one(odds(0.8), [odds(0.9)], [odds(0.4)])
    assert attack("rmia", **settings)(told).item() == pytest.approx(log(0.8 / average))


@pytest.mark.parametrize(
    ("settings", "share"),
    [
        ({}, 1 / 3),  # 0.8 / 0.65 against 1, 1.5 and 3
        ({"gamma": 0.5}, 2 / 3),
        ({"references": "outside", "correction": 1.0}, 2 / 3),  # 2 against those
        ({"references": "outside", "correction": 1.0, "gamma": 3.0}, 0.0),
    ],
)
def test_rmia_as_published_by_hand(settings: dict[str, object], share: float) -> None:
    """Of three public examples the ratios are 0.5 / 0.5, 0.6 / 0.4 and 0.9 / 0.3."""
    told = replace(
        of_one(odds(0.8), [odds(0.9)], [odds(0.4)]),
        target_public=torch.tensor([odds(0.5), odds(0.6), odds(0.9)]).double(),
        shadows_public=torch.tensor([[odds(0.5), odds(0.4), odds(0.3)]] * 2).double(),
    )
    assert attack("rmia", score="quantised", **settings)(told).item() == pytest.approx(share)


def test_the_ensemble_takes_the_lower_rank() -> None:
    told = replace(measured("rank-ensemble"), public=evidence(*blank()).public)
    ranks = [_places(spy(told)) for spy in (LiraOnline(), Rmia())]
    expected = np.minimum(*ranks) / (2 * HALF)
    assert attack("rank-ensemble")(told).numpy() == pytest.approx(expected)


def blank() -> tuple[Tensor, Tensor, Tensor]:
    return torch.zeros(1), torch.zeros(2, 1), torch.tensor([[True], [False]])


def _places(scores: Tensor) -> np.ndarray:
    """How many score lower, and oneself."""
    return np.array([(scores < score).sum().item() + 1 for score in scores])


# --- against an oracle --------------------------------------------------------------------------


def test_gradient_norms_are_those_of_autograd() -> None:
    view, asked, _ = trained()
    few = Candidates(asked.inputs[:5], asked.labels[:5])
    found = attack("gradient-norm").signal(view, few)  # (5, layers)
    for inputs, label, lengths in zip(few.inputs, few.labels, found, strict=True):
        model = view.model.double().requires_grad_()
        logits = view.network(model, inputs.double()[None])
        torch.nn.functional.cross_entropy(logits, label[None]).backward()  # type: ignore[no-untyped-call]
        assert model.grad is not None
        sizes = view.network.sizes(view.network.size)
        expected = [part.norm() for part in model.grad.split(list(sizes))]
        assert torch.allclose(lengths, torch.stack(expected), rtol=1e-9)


# --- what all of them promise -------------------------------------------------------------------


def experiment(**settings: object) -> Experiment:
    plain = {"data.source": "fashion-mnist", "data.clients": 2, "data.examples": 2 * HALF}
    training = {"training.rounds": 1, "training.epochs": 60, "training.batch_size": 20}
    return Experiment().changed(plain | training | {"training.rate": 0.2} | settings)


@cache
def trained() -> tuple[OutsiderView, Candidates, tuple[Candidates, Tensor, Tensor]]:
    """The model under attack, who is asked about, and (public, all models, who is inside).

    The second model was trained on none of them.
    """
    now = experiment()
    federation = federated_dataset(now.changed({"data.examples": 4 * HALF + PUBLIC}))
    every = Candidates(as_floats(federation.inputs), federation.labels)
    pool, other, public = (
        Candidates(every.inputs[start:stop], every.labels[start:stop])
        for start, stop in ((0, 400), (400, 800), (800, 1300))
    )
    (mine,) = shadow_rounds(now, 1, pool, range(MODELS - 1))
    (foreign,) = shadow_rounds(now, 1, other, [0])
    models = torch.cat([mine.models[:1], foreign.models, mine.models[1:]])
    inside = torch.cat([mine.inside[:1], torch.zeros(1, 400).bool(), mine.inside[1:]])
    return OutsiderView(1, now.architecture, models[0]), pool, (public, models, inside)


@cache
def measured(
    name: str, scale: float = 1.0, target: int = 0, **settings: object
) -> MembershipSignals:
    view, pool, (public, models, inside) = trained()
    spy = attack(name, **settings)
    signals = [
        [spy.signal(replace(view, model=scale * model), asked) for asked in (pool, public)]
        for model in models
    ]
    mine, public_ones = (torch.stack(part) for part in zip(*signals, strict=True))
    return MembershipSignals(
        pool, mine[target], mine[2:], inside[2:], public, public_ones[target], public_ones[2:]
    )


def member() -> np.ndarray:
    truth: np.ndarray = trained()[2][2][0].numpy()
    return truth


@pytest.mark.parametrize("name", OUTSIDERS)
def test_members_of_an_overfitted_model_score_higher(name: str) -> None:
    scores = attack(name)(measured(name)).numpy()
    found = score_membership(scores, member(), None, None)
    assert found.auc_low > 0.5
    assert scores.shape == (2 * HALF,)


@pytest.mark.parametrize("name", OUTSIDERS)
def test_a_model_that_saw_nobody_betrays_nobody(name: str) -> None:
    scores = attack(name)(measured(name, target=1)).numpy()
    found = score_membership(scores, member(), None, None)
    assert found.auc_low <= 0.5 <= found.auc_high


@pytest.mark.parametrize("name", OUTSIDERS)
@pytest.mark.parametrize("scale", [1e-3, 100.0])
def test_scores_are_finite_whatever_the_logits(name: str, scale: float) -> None:
    """A hundred times the parameters of two layers: logits of thousands."""
    assert attack(name)(measured(name, scale=scale)).isfinite().all()


@pytest.mark.parametrize("name", OUTSIDERS)
def test_answers_for_others_do_not_move_a_score(name: str) -> None:
    told = measured(name)
    target = told.target.clone()
    target[1:] = target[1:].flip(0) * 2 + 1
    before, after = (attack(name)(each)[0].item() for each in (told, replace(told, target=target)))
    assert (before == after) == (name not in TRANSDUCTIVE)


@pytest.mark.parametrize("name", OUTSIDERS)
def test_the_order_of_candidates_does_not_matter(name: str) -> None:
    told = measured(name)
    order = torch.randperm(2 * HALF, generator=torch.Generator().manual_seed(0))
    mixed = replace(
        told,
        candidates=Candidates(told.candidates.inputs[order], told.candidates.labels[order]),
        target=told.target[order],
        shadows=told.shadows[:, order],
        inside=told.inside[:, order],
    )
    assert torch.allclose(attack(name)(told)[order], attack(name)(mixed), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", WITH_SHADOWS)
def test_without_shadows_there_is_nothing_to_compare_with(name: str) -> None:
    told = measured(name)
    alone = replace(
        told,
        shadows=told.shadows[:0],
        inside=told.inside[:0],
        shadows_public=told.shadows_public[:0],
    )
    with pytest.raises(SettingError, match="was given none"):
        attack(name)(alone)


@pytest.mark.parametrize("name", ["lira-online", "rank-ensemble"])
def test_an_untrained_model_betrays_nobody(name: str) -> None:
    *_, glimpse = run_membership(attack(name), initial_state(experiment()))
    assert glimpse.result is not None
    found = glimpse.result.score
    assert found is not None
    assert found.auc_low <= 0.5 <= found.auc_high


@pytest.mark.parametrize("name", ["lira-online", "lira-offline", "rank-ensemble"])
def test_a_variance_takes_two_models_on_a_side(name: str) -> None:
    with pytest.raises(SettingError, match="give 4 or more"):
        attack(name)(of_one(0.0, [1.0], [2.0]))


def test_quantile_regression_needs_the_public() -> None:
    told = measured("quantile-regression")
    alone = replace(
        told,
        public=Candidates(told.public.inputs[:0], told.public.labels[:0]),
        target_public=told.target_public[:0],
    )
    with pytest.raises(SettingError, match="0 are left"):
        attack("quantile-regression")(alone)


@pytest.mark.parametrize("name", WITH_SHADOWS)
def test_candidates_whom_all_or_no_models_saw_are_scored_too(name: str) -> None:
    told = measured(name)
    inside = told.inside.clone()
    inside[:, 0], inside[:, 1] = True, False
    assert attack(name)(replace(told, inside=inside)).isfinite().all()


def test_a_shadow_that_overflowed_says_nothing() -> None:
    told = measured("lira-online")
    broken = told.shadows.clone()
    broken[0] = torch.nan
    without = replace(told, shadows=told.shadows[1:], inside=told.inside[1:])
    for spy in (LiraOnline(), Rmia()):
        assert torch.allclose(spy(replace(told, shadows=broken)), spy(without))


def test_a_lean_that_the_public_shows_is_taken_away() -> None:
    told = measured("lira-online")
    leaning = replace(
        told,
        target=told.target + 5.0 * (told.candidates.labels == 3),
        target_public=told.target_public + 5.0 * (told.public.labels == 3),
    )
    moved = levelled(leaning).target - levelled(told).target
    threes = told.candidates.labels == 3
    assert moved[threes].mean() < 2.0
    assert moved[~threes].abs().mean() < 0.2


def test_without_public_examples_no_lean_is_known() -> None:
    told = of_one(0.0, [1.0, 3.0], [-1.0, -2.0])
    assert levelled(told) is told
    asked = measured("rank-ensemble")
    alone = replace(asked, public=told.public, shadows_public=asked.shadows_public[:, :0])
    off = attack("rank-ensemble", public=0)
    assert torch.equal(off(asked), attack("rank-ensemble")(alone))
