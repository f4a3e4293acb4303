"""An active attack on membership: what it adds, what it sees, what it gains, and what it costs."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from attacks import PRIVACY_ATTACKS
from lab import Experiment
from lab.attack_runs.dispatch import start_attack
from lab.attack_runs.membership.active import before_of, run_active_membership
from lab.attack_runs.membership.active_rounds import client_update, next_state
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.common.settings import SettingError
from lab.engine.round import run_round
from lab.engine.run import initial_state
from lab.engine.run_state import RunState
from lab.interfaces.attack_data import ActiveSignals, Candidates
from lab.interfaces.privacy_attacks import ActiveMembershipAttack
from lab.interfaces.views import OutsiderView
from lab.jobs.run_job import carry_out_run
from lab.models.architectures import Logistic
from lab.models.network import Network
from lab.scoring.attack_result import AttackResult
from lab.scoring.membership.active_gain import ActiveGain, rival_of
from lab.scoring.tampering_signs import TamperingSigns
from lab.storage.replay import StoredRun
from lab.storage.store import Store
from lab.storage.worker_store import WorkerStore

SMALL: dict[str, Any] = {
    "data.source": "digits",
    "data.clients": 4,
    "data.examples": 120,
    "model": {"kind": "mlp", "hidden": 64},
    "training.rounds": 6,
    "training.epochs": 8,
    "training.batch_size": 10,
}
ACTS: list[dict[str, Any]] = [{}, {"client": 1}, {"by": "client", "client": 2}]


def spy_of(**settings: Any) -> ActiveMembershipAttack:
    part = PRIVACY_ATTACKS["gradient-ascent"].read({"kind": "gradient-ascent", **settings})
    assert isinstance(part, ActiveMembershipAttack)
    return part


@cache
def _states(settings: tuple[tuple[str, Any], ...]) -> list[RunState]:
    now = Experiment().changed(SMALL | {k.replace("__", "."): v for k, v in settings})
    found = [initial_state(now)]
    for _ in range(now.training.rounds):
        found.append(run_round(found[-1]).state)
    return found


def states(**settings: Any) -> list[RunState]:
    return _states(tuple(sorted(settings.items())))


@cache
def _result(
    spy: ActiveMembershipAttack, run: tuple[RunState, ...], client: int | None
) -> AttackResult:
    usual = run[-1]
    *_, glimpse = run_active_membership(spy, run[before_of(spy, usual.round)], usual, client)
    assert glimpse.result is not None
    return glimpse.result


def told(acts: dict[str, Any], run: list[RunState], **settings: Any) -> AttackResult:
    by = {"by": acts["by"]} if "by" in acts else {}
    spy = spy_of(**{"rounds": 2, "together": 80} | settings | by)
    return _result(spy, tuple(run), acts.get("client"))


# --- by hand ------------------------------------------------------------------------------------


def test_the_push_is_an_ascent_step_on_the_sum_of_losses() -> None:
    network = Network(Logistic(), (2,), 2)
    view = OutsiderView(1, network, torch.zeros(6))
    asked = Candidates(torch.tensor([[1.0, 2.0], [1.0, 2.0]]), torch.tensor([0, 0]))
    # All zeros: both classes have 1/2, so each example's slope is (-1/2, 1/2) times (1, 2, 1).
    push = spy_of(rate=0.1).provoke(view, asked)
    assert torch.allclose(push, 0.1 * torch.tensor([-1.0, -2, 1, 2, -1, 1]))
    assert torch.allclose(spy_of().signal(view, asked), torch.full((2,), float(np.log(2))))
    before = spy_of().signal(view, asked)
    after = spy_of().signal(OutsiderView(1, network, push), asked)
    assert (after > before).all()


def test_the_loss_after_the_last_answer_decides() -> None:
    losses = torch.tensor([[9.0, 0.0, 5.0], [1.0, 3.0, 2.0]])
    scores = spy_of()(ActiveSignals(losses[0], losses, losses))
    assert scores.argsort(descending=True).tolist() == [0, 2, 1]


def test_a_gain_is_the_difference_of_two_areas_on_the_same_draws() -> None:
    member = np.array([True] * 4 + [False] * 4)
    acting, other = np.r_[5.0, 6, 7, 8, 1, 2, 3, 4], np.r_[1.0, 2, 7, 8, 3, 4, 5, 6]
    found = rival_of("other", acting, other, member)
    assert (found.auc, found.gain) == (0.5, 0.5)
    assert found.low < found.gain < found.high
    same = rival_of("itself", acting, acting, member)
    assert (same.gain, same.low, same.high) == (0, 0, 0)


# --- the rounds are the run's own ---------------------------------------------------------------

AS_IN_THE_RUN: list[dict[str, Any]] = [
    {},
    {"aggregation.rule": "median", "adversary__count": 1},
    {"privacy__kind": "client", "privacy__noise": 0.5},
    {"privacy__kind": "example", "privacy__noise": 0.5},
    {"secure_aggregation__enabled": True},
    {"network__compression": "half", "network__dropout": 0.3},
    {"training__algorithm": "fedprox", "training__clients_per_round": 2},
]


@pytest.mark.parametrize("settings", AS_IN_THE_RUN, ids=str)
def test_a_round_without_a_push_is_the_runs_own(settings: dict[str, Any]) -> None:
    run = states(**settings, training__epochs=1, training__rounds=2)
    assert torch.equal(next_state(run[1]).model, run[2].model)


@pytest.mark.parametrize("settings", [{}, {"privacy__kind": "example", "privacy__noise": 0.5}])
def test_a_client_answers_alone_what_it_answers_among_others(settings: dict[str, Any]) -> None:
    run = states(**settings, training__epochs=1, training__rounds=2)
    rows = run_round(run[1]).transcript.delivery.rows
    assert torch.allclose(client_update(run[1], 2), rows[2], atol=1e-6)


def test_a_client_gets_the_whole_of_its_push_into_the_mean() -> None:
    run = states()
    push = torch.linspace(-1, 1, len(run[0].model))
    moved = next_state(run[1], 2, push).model - next_state(run[1]).model
    assert torch.allclose(moved, push, atol=1e-5)


def test_clipping_shortens_a_clients_push() -> None:
    run = states(privacy__kind="client", privacy__noise=0.1, training__rounds=2)
    push = torch.ones(len(run[0].model))
    moved = next_state(run[1], 2, push).model - next_state(run[1]).model
    assert moved.norm() < push.norm() / 10


# --- what it achieves ---------------------------------------------------------------------------


@pytest.mark.parametrize("acts", ACTS, ids=str)
def test_clients_who_learn_nothing_betray_nobody(acts: dict[str, Any]) -> None:
    found = told(acts, states(training__rate=1e-6, training__rounds=3)).score
    assert found is not None
    assert found.auc_low <= 0.5 <= found.auc_high


@pytest.mark.parametrize("acts", ACTS, ids=str)
def test_members_of_an_overfitted_run_are_pulled_back(acts: dict[str, Any]) -> None:
    found = told(acts, states())
    assert found.score is not None
    assert found.score.auc_low > 0.5
    assert found.score.verdict.startswith("members stand out")


def test_isolation_tells_more_than_the_released_model() -> None:
    gain = told({"client": 1}, states(), rounds=3).find(ActiveGain)
    assert gain is not None
    isolated, released = gain.rivals
    assert isolated.name == "isolating alone, without a push"
    assert released.low > 0.05
    assert released.gain > isolated.gain


@pytest.mark.parametrize("acts", ACTS, ids=str)
def test_without_a_push_there_is_nothing_to_gain(acts: dict[str, Any]) -> None:
    found, other = (told(acts, states(), rate=0, together=size) for size in (150, 256))
    assert found.find(ActiveGain) is not None
    assert found.find(ActiveGain).rivals[0].gain == 0
    assert found.score is not None
    assert other.score is not None
    assert found.score.auc == pytest.approx(other.score.auc, abs=1e-4)


def test_a_long_push_costs_accuracy() -> None:
    weak, strong = (told({}, states(), rate=rate).find(ActiveGain) for rate in (0.001, 1.0))
    assert weak is not None
    assert strong is not None
    assert weak.accuracy == pytest.approx(weak.usual, abs=0.05)
    assert strong.accuracy < strong.usual - 0.1


def test_only_a_server_sends_what_a_client_could_notice() -> None:
    assert told({}, states()).find(TamperingSigns) is not None
    assert told({"client": 1}, states()).find(TamperingSigns) is not None
    assert told({"by": "client"}, states()).find(TamperingSigns) is None


def test_the_attacker_is_not_asked_about_its_own_examples() -> None:
    mine = told({"by": "client", "client": 2}, states()).score
    everybody = told({}, states()).score
    assert mine is not None
    assert everybody is not None
    assert (mine.members, everybody.members) == (90, 120)


def test_privacy_puts_its_ceiling_on_it() -> None:
    run = states(privacy__kind="example", privacy__noise=5.0, training__rounds=2)
    found = told({"client": 0}, run)
    assert found.guarantee is not None
    assert found.score is not None
    assert found.score.ceiling_auc is not None
    assert found.score.auc_low < found.score.ceiling_auc


def test_an_isolated_client_is_asked_more_often_than_the_guarantee_counts() -> None:
    private = {"privacy__kind": "example", "privacy__noise": 1.0, "training__rounds": 2}
    run = states(**private, training__epochs=1, training__clients_per_round=2)
    assert told({"client": 0}, run).guarantee is None
    assert told({}, run).guarantee is not None


# --- refusals -----------------------------------------------------------------------------------


def test_more_rounds_than_there_were_are_refused() -> None:
    with pytest.raises(SettingError, match="takes 3 rounds, and round 2 has 1 before it"):
        before_of(spy_of(rounds=3), 2)
    with pytest.raises(SettingError, match="takes 3 rounds"):
        before_of(spy_of(rounds=2, by="client"), 2)
    assert before_of(spy_of(rounds=2), 2) == 0


def test_nobody_is_isolated_under_masks_but_all_can_be_pushed() -> None:
    run = states(secure_aggregation__enabled=True, training__rounds=2)
    with pytest.raises(SettingError, match="leave the client out"):
        told({"client": 1}, run)
    assert told({}, run).score is not None


def test_clients_with_a_memory_of_their_own_are_refused() -> None:
    with pytest.raises(SettingError, match="scaffold"):
        told({}, states(training__algorithm="scaffold", training__rounds=2))


def test_a_client_who_is_not_asked_cannot_attack() -> None:
    run = states(training__clients_per_round=2)
    left = next(one for one in range(4) if one not in run_round(run[3]).record.clients)
    with pytest.raises(SettingError, match=f"client {left} is not asked in round 4"):
        told({"by": "client", "client": left}, run)


# --- from a store -------------------------------------------------------------------------------


def test_a_stored_run_is_attacked_twice_with_the_same_numbers(store: Store) -> None:
    ledger = WorkerStore(store)
    job = ledger.start(Experiment().changed(SMALL | {"training.rounds": 3}))
    for _ in carry_out_run(ledger, job):
        pass
    order = AttackRequest(attack=spy_of(rounds=2, together=64), round=3, client=1)
    found = []
    for _ in "ab":
        *glimpses, last = start_attack(order, StoredRun(store, job.id))
        assert [each.step for each in glimpses] == list(range(1, len(glimpses) + 1))
        assert last.steps == len(glimpses) + 1
        assert last.result is not None
        found.append(last.result)
    assert found[0] == found[1]
    assert AttackResult.model_validate_json(found[0].model_dump_json()) == found[0]
    assert any("isolating alone" in line for line in found[0].lines())
