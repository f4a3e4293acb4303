"""A property that no label names: told from updates, judged by clients, and where it ends."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from attacks import PRIVACY_ATTACKS
from lab import Experiment
from lab.attack_runs.dispatch import start_attack
from lab.attack_runs.property_inference import made_of, run_property_inference, share_of
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.attack_runs.shared.auxiliary_info import auxiliary_info
from lab.common.settings import SettingError
from lab.engine.round import run_round
from lab.engine.run import initial_state
from lab.engine.run_state import RoundResult
from lab.interfaces.columns import Column
from lab.interfaces.messages import TrainingPlan
from lab.interfaces.privacy_attacks import PropertyInferenceAttack
from lab.interfaces.properties import property_of
from lab.interfaces.views import AuxiliaryInfo, ServerView, server_view
from lab.jobs.run_job import carry_out_run
from lab.models.architectures import Logistic
from lab.models.network import Network
from lab.scoring.attack_result import AttackResult
from lab.scoring.property_score import PropertyEstimate, score_property
from lab.storage.replay import StoredRun
from lab.storage.store import Store
from lab.storage.worker_store import WorkerStore

SMALL: dict[str, Any] = {
    "data.source": "digits",
    "data.clients": 24,
    "data.partition": {"kind": "dirichlet", "alpha": 0.5},
    "model": {"kind": "mlp", "hidden": 32},
    "training.rounds": 2,
}


def spy_of(**settings: Any) -> PropertyInferenceAttack:
    part = PRIVACY_ATTACKS["property-inference"].read({"kind": "property-inference", **settings})
    assert isinstance(part, PropertyInferenceAttack)
    return part


@cache
def _moments(settings: tuple[tuple[str, Any], ...]) -> list[RoundResult]:
    now = Experiment().changed(SMALL | {k.replace("__", "."): v for k, v in settings})
    state, found = initial_state(now), []
    for _ in range(now.training.rounds):
        found.append(run_round(state))
        state = found[-1].state
    return found


def moments(**settings: Any) -> list[RoundResult]:
    return _moments(tuple(sorted(settings.items())))


def told(
    spy: PropertyInferenceAttack, run: list[RoundResult], client: int | None = None
) -> AttackResult:
    *_, glimpse = run_property_inference(spy, iter(run), len(run), client)
    assert glimpse.result is not None
    assert glimpse.result.score is not None
    return glimpse.result


# --- properties ---------------------------------------------------------------------------------

PICTURES = AuxiliaryInfo(
    torch.tensor([0.1, 0.2, 0.3, 0.9]).view(4, 1, 1, 1).expand(4, 1, 2, 2), torch.arange(4)
)
COLUMNS = (Column("age", spread=10.0), Column("sex", answers=("Female", "Male")))
RECORDS = AuxiliaryInfo(
    torch.tensor([[0.5, 1, 0], [-1, 0, 1], [2, 1, 0]]), torch.tensor([0, 1, 1]), COLUMNS
)


def test_properties_are_told_from_the_example_itself() -> None:
    def has(asked: str, known: AuxiliaryInfo) -> list[bool]:
        found: list[bool] = property_of(asked, known, 4).holds(known.inputs, known.labels).tolist()
        return found

    assert has("label=2", PICTURES) == [False, False, True, False]
    assert has("bright", PICTURES) == [False, False, True, True]
    assert has("sex=Female", RECORDS) == [True, False, True]
    assert has("sex=Male", RECORDS) == [False, True, False]


@pytest.mark.parametrize(
    ("asked", "known", "there"),
    [
        ("label=4", PICTURES, "label=0 to label=3; bright"),
        ("sex=Female", PICTURES, "label=0 to label=3; bright"),
        ("bright", RECORDS, "label=0 to label=3; sex=Female, Male"),
        ("age=52", RECORDS, "sex=Female, Male"),
        ("sex=Other", RECORDS, "sex=Female, Male"),
        ("label=", RECORDS, "label=0"),
    ],
)
def test_other_properties_are_refused_with_what_there_is(
    asked: str, known: AuxiliaryInfo, there: str
) -> None:
    with pytest.raises(SettingError, match=r"property is .*: choose from") as caught:
        property_of(asked, known, 4)
    assert there in str(caught.value)


# --- the attack, by hand ------------------------------------------------------------------------


def view_of(rows: Tensor) -> ServerView:
    network = Network(Logistic(), (3,), 2)
    recipe = TrainingPlan(1, 0, 2, 0.1, None, True, 2.0)
    senders = tuple((one,) for one in range(len(rows)))
    sent, weights = torch.zeros(8), torch.ones(len(rows))
    return ServerView(1, network, recipe, sent, rows, weights, senders, 8, None)


def test_the_share_is_read_off_the_direction_of_an_update() -> None:
    sets = torch.tensor([[0, 0], [0, 1], [1, 1], [2, 1], [2, 0]])  # shares 1, 1/2, 0, 1/2, 1
    shares = torch.tensor([1.0, 0.5, 0, 0.5, 1])
    usual, mark = torch.eye(8)[0], torch.eye(8)[1]
    made = usual + 0.01 * shares.unsqueeze(1) * mark  # hardly turned at all
    rows = torch.stack([usual, usual + 0.01 * mark, 7 * usual + 0.07 * mark])
    said = spy_of(property="sex=Female")(view_of(rows), RECORDS, sets, made)
    # The ridge shrinks towards the mean of 0.6; length does not matter.
    assert said[0] < 0.3
    assert said[1] > 0.8
    assert said[2] == pytest.approx(float(said[1]), abs=1e-6)


def test_sets_vary_in_the_property_beside_the_classes() -> None:
    run = moments()
    view, known = server_view(run[0].transcript), auxiliary_info(run[0].state.experiment, 1)
    spy = spy_of(property="bright", made=60)
    sets = spy.sets(view, known)
    assert sets.shape == (60, round(view.recipe.mean_size))
    assert all(len(set(each.tolist())) == len(each) for each in sets)
    has = spy.trait(known, 10).holds(known.inputs, known.labels).double()
    shares = has[sets].mean(dim=1)
    assert shares.std() > 0.1
    assert torch.equal(sets, spy.sets(view, known))


# --- the score, by hand -------------------------------------------------------------------------


def said_of(scores: list[float], shares: list[float], each: int = 1) -> list[PropertyEstimate]:
    return [
        PropertyEstimate(clients=(place // each,), round=1 + place % each, score=score, share=share)
        for place, (score, share) in enumerate(zip(scores, shares, strict=True))
    ]


def test_a_census_is_worked_out_by_hand() -> None:
    found = score_property(
        "bright", "is bright", 0.5, said_of([0.1, 0.6, 0.4, 0.9], [0.2, 0.4, 0.6, 0.8])
    )
    assert found.present == 0.5
    assert found.auc == 0.75  # of four pairs the one of 0.6 and 0.4 is lost
    assert found.rank == pytest.approx(0.8)
    assert found.error == pytest.approx((0.1 + 0.2 + 0.2 + 0.1) / 4)
    assert found.guessed == pytest.approx((0.3 + 0.1 + 0.1 + 0.3) / 4)
    assert found.verdict.startswith("too few to say: 2 clients with the property and 2 without")
    assert found.low is None
    fewer = score_property(
        "bright", "", 0.5, said_of([0.1, 0.6, 0.4, 0.9], [0.2, 0.4, 0.6, 0.8]), 0.7
    )
    assert fewer.auc == 1.0


def test_more_updates_of_the_same_clients_are_no_more_evidence() -> None:
    drawn = np.random.default_rng(0)
    scores = np.r_[drawn.normal(0, 1, 12), drawn.normal(1, 1, 12)]
    shares = np.r_[np.full(12, 0.2), np.full(12, 0.8)]
    once = score_property("x", "", 0.5, said_of(scores.tolist(), shares.tolist()))
    often = score_property(
        "x", "", 0.5, said_of(np.repeat(scores, 5).tolist(), np.repeat(shares, 5).tolist(), each=5)
    )
    assert once.auc == often.auc
    assert (once.low, once.high) == (often.low, often.high)


def test_a_share_that_all_have_leaves_nothing_to_tell() -> None:
    found = score_property("x", "", 0.5, said_of([0.1, 0.2], [0.4, 0.4]))
    assert found.verdict.startswith("nothing to tell apart")
    assert found.auc is None


# --- on runs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["label=3", "bright"])
def test_skewed_clients_give_their_share_away(asked: str) -> None:
    found = told(spy_of(property=asked), moments()).score
    assert found is not None
    assert found.low is not None
    assert found.low > 0.5
    assert found.rank is not None
    assert found.rank > 0.2
    assert found.verdict.startswith("the property shows")


def test_noise_leaves_no_more_than_a_guess() -> None:
    private = {"privacy__kind": "client", "privacy__noise": 5.0, "privacy__place": "local"}
    found = told(spy_of(property="bright"), moments(**private)).score
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low <= 0.5 <= found.high
    assert found.verdict.startswith("no better than chance")


def test_few_clients_get_no_interval() -> None:
    found = told(spy_of(), moments(data__clients=8)).score
    assert found is not None
    assert (found.low, found.high) == (None, None)
    assert found.verdict.startswith("too few to say")


def test_under_masks_it_tells_of_the_cohort_and_of_nobody() -> None:
    run = moments(secure_aggregation__enabled=True)
    found = told(spy_of(property="bright"), run)
    assert found.score is not None
    assert [one.clients for one in found.score.said] == [tuple(range(24))] * 2
    assert found.score.auc is None
    assert found.score.verdict.startswith("only the share of a sum")
    assert found.declared["sees"] == "the sum over the cohort only"
    with pytest.raises(SettingError, match="of the whole cohort only; leave the client out"):
        told(spy_of(), run, client=3)


def test_the_true_share_is_of_the_examples_behind_the_update() -> None:
    run = moments()
    now = run[0].state.experiment
    known = auxiliary_info(now, 1)
    shares = [
        share_of(now, 1, (3,), property_of(f"label={label}", known, 10)) for label in range(10)
    ]
    assert sum(shares) == pytest.approx(1.0)
    pair = share_of(now, 1, (3, 4), property_of("bright", known, 10))
    each = [share_of(now, 1, (one,), property_of("bright", known, 10)) for one in (3, 4)]
    assert min(each) <= pair <= max(each)


def test_what_it_makes_is_clipped_as_clients_clip() -> None:
    run = moments(privacy__kind="client", privacy__noise=1.0, privacy__clip=0.05)
    now, view = run[0].state.experiment, server_view(run[0].transcript)
    known = auxiliary_info(now, 1)
    sets = spy_of(made=10).sets(view, known)
    made = made_of(now, view, known, sets)
    assert made.shape == (10, len(view.sent))
    assert made.norm(dim=1).max() <= 0.05 + 1e-6


def test_clients_with_models_of_their_own_are_refused() -> None:
    with pytest.raises(SettingError, match="fedper"):
        told(spy_of(), moments(training__algorithm="fedper"))


def test_somebody_who_sent_nothing_is_refused() -> None:
    run = moments(training__clients_per_round=5)
    gone = next(one for one in range(24) if one not in run[0].record.clients)
    with pytest.raises(SettingError, match=f"client {gone} sent nothing in round 1"):
        told(spy_of(), run, client=gone)


# --- from a store -------------------------------------------------------------------------------


def test_a_stored_run_gives_the_same_numbers_twice(store: Store) -> None:
    ledger = WorkerStore(store)
    job = ledger.start(Experiment().changed(SMALL))
    for _ in carry_out_run(ledger, job):
        pass
    order, found = AttackRequest(attack=spy_of(property="bright", made=20), round=2), []
    for _ in "ab":
        *glimpses, last = start_attack(order, StoredRun(store, job.id))
        assert [each.step for each in glimpses] == [1, 2]
        assert last.result is not None
        found.append(last.result)
    assert found[0] == found[1]
    assert AttackResult.model_validate_json(found[0].model_dump_json()) == found[0]
    assert any("rank correlation" in line for line in found[0].lines())
