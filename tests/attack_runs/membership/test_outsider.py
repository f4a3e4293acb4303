"""Membership attacks with shadow models: what they are given, and what is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import pytest
import torch
from torch import Tensor

from attacks.membership.outsider.loss_threshold import LossThreshold
from lab.attack_runs.membership import shadow_models
from lab.attack_runs.membership.outsider import run_membership
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.common.settings import SettingError
from lab.engine.run import run
from lab.engine.run_state import RunState
from lab.experiment.experiment import Experiment
from lab.interfaces.attack_data import Candidates, MembershipSignals
from lab.interfaces.privacy_attacks import AttackResources, MembershipInferenceAttack
from lab.interfaces.views import OutsiderView
from lab.jobs.attack_job import carry_out_attack
from lab.jobs.run_job import carry_out_run
from lab.scoring.attack_result import AttackProgress
from lab.scoring.membership.further_scores import PooledScore
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from lab.storage.worker_store import WorkerStore
from tests.attack_runs.membership.test_shadow_models import Memory

OVERFITTED = {
    "data.source": "digits",
    "data.clients": 4,
    "data.examples": 200,
    "training.rounds": 8,
    "training.epochs": 5,
    "training.rate": 0.5,
}
SEEN: list[MembershipSignals] = []


class Toy(MembershipInferenceAttack):
    """Loss, less the mean loss on shadows without the example."""

    kind: Literal["toy"] = "toy"
    attacker: ClassVar[str] = "a test"
    knows: ClassVar[str] = "everything"
    fails: ClassVar[str] = "never"
    shadows: int = 4

    def needs(self) -> AttackResources:
        return AttackResources(shadows=self.shadows, public=20)

    def signal(self, view: OutsiderView, asked: Candidates) -> Tensor:
        return LossThreshold().signal(view, asked)

    def __call__(self, evidence: MembershipSignals) -> Tensor:
        SEEN.append(evidence)
        outside = torch.where(evidence.inside, torch.nan, evidence.shadows)
        return outside.nanmean(dim=0).nan_to_num() - evidence.target


@pytest.fixture(scope="module")
def state() -> RunState:
    torch.set_num_threads(1)
    *_, last = run(Experiment().changed(OVERFITTED))
    return last.state


def done(steps: Sequence[AttackProgress]) -> AttackProgress:
    assert [each.result is None for each in steps] == [True] * (len(steps) - 1) + [False]
    assert [each.step for each in steps] == sorted(each.step for each in steps)
    assert steps[-1].step == steps[-1].steps
    return steps[-1]


def test_an_attack_gets_shadows_and_who_is_inside_of_them(state: RunState) -> None:
    SEEN.clear()
    result = done(list(run_membership(Toy(), state))).result
    (evidence,) = SEEN
    assert evidence.shadows.shape == evidence.inside.shape == (4, 400)
    assert evidence.shadows_public.shape == (4, 20)
    assert evidence.inside.sum(dim=1).tolist() == [200] * 4
    losses = [evidence.shadows[evidence.inside].mean(), evidence.shadows[~evidence.inside].mean()]
    assert losses[0] < losses[1] / 2, "they know what is inside of them"
    assert result.score.auc_low > 0.5
    assert result.find(PooledScore) is None
    assert result.declared["shadow models"].startswith("4 federations of 4 clients, by federated")
    assert result.declared["each trains on"] == "200 examples, a random half of all candidates"


@pytest.mark.parametrize("shadows", [0, 3, 4])
def test_further_targets_are_judged_together_and_none_is_its_own_shadow(
    state: RunState, shadows: int
) -> None:
    SEEN.clear()
    steps = list(run_membership(Toy(shadows=shadows), state, targets=3))
    result = done(steps).result
    assert len(steps) == 8 + 3 + 1, "a glimpse for each round, each target, and the result"
    assert (
        result.find(PooledScore).targets,
        result.find(PooledScore).score.members,
        result.find(PooledScore).score.others,
    ) == (3, 600, 600)
    assert result.find(PooledScore).score.auc_low > 0.5
    assert result.score.members == 200, "the run's own comes first"
    assert len({id(each.shadows) for each in SEEN}) == 1
    for each in SEEN[1:]:
        assert not any(torch.equal(each.target, own) for own in each.shadows)
    told = "\n".join(result.lines())
    assert "models like this one, 3 federations by the same recipe together:" in told
    assert told.index("AUC") < told.index("models like this one")


def test_who_is_inside_of_a_target_follows_from_no_shadow(state: RunState) -> None:
    """With three shadows the fourth of the numbers would be the other half of the third."""
    cache = Memory()
    list(run_membership(Toy(shadows=3), state, targets=1, cache=cache))
    (evidence,) = SEEN[-1:]
    losses = evidence.target
    for inside in evidence.inside:
        shared = (losses[inside] < 0.05).float().mean() - (losses[~inside] < 0.05).float().mean()
        assert abs(shared) < 0.4, "as a pair it would be minus 1, or nearly"


def test_a_second_attack_trains_nothing(state: RunState) -> None:
    cache = Memory()
    first = list(run_membership(Toy(), state, targets=2, cache=cache))
    again = list(run_membership(Toy(), state, targets=2, cache=cache))
    assert len(first) == 8 + 2 + 1
    assert len(again) == 2 + 1
    assert done(first).result == done(again).result
    assert len(list(run_membership(Toy(shadows=2), state, cache=cache))) == 1, (
        "nor does one with fewer"
    )


def test_too_few_others_make_smaller_shadows_and_it_is_said() -> None:
    heart = Experiment().changed(
        {"data.source": "heart", "data.clients": 4, "training.rounds": 1, "model.kind": "logistic"}
    )
    (moment,) = run(heart)
    result = done(list(run_membership(Toy(shadows=2), moment.state))).result
    assert result.declared["each trains on"] == (
        "450 examples, a random half of all candidates, fewer than the 607 of the run: there are "
        "too few non-members"
    )


def trained_run(store: Store, settings: dict[str, object]) -> str:
    ledger = WorkerStore(store)
    job = ledger.start(Experiment().changed(OVERFITTED | settings))
    list(carry_out_run(ledger, job))
    return job.id


def test_the_store_keeps_shadows_for_the_next_attack(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, ledger = trained_run(store, {"training.rounds": 2}), WorkerStore(store)
    order = AttackRequest.read({"kind": "loss-threshold", "round": 2, "targets": 3})
    assert order.command("R") == "leaklab attack loss-threshold --run R --round 2 --targets 3"
    first = ledger.start_attack(run_id, order)
    list(carry_out_attack(ledger, first))
    monkeypatch.setattr(shadow_models, "shadow_rounds", None)  # whoever trains now fails
    second = ledger.start_attack(run_id, order)
    list(carry_out_attack(ledger, second))
    results = [store.job(job.id).result for job in (first, second)]
    assert results[0] == results[1]
    (pooled,) = [one for one in results[0]["extras"] if one["kind"] == "pooled"]
    assert pooled["targets"] == 3


def test_an_attack_stopped_in_mid_training_leaves_nothing_behind(store: Store) -> None:
    run_id, ledger = trained_run(store, {"training.rounds": 8}), WorkerStore(store)
    job = ledger.start_attack(
        run_id, AttackRequest.read({"kind": "loss-threshold", "round": 8, "targets": 64})
    )
    for glimpse in carry_out_attack(ledger, job):
        assert glimpse.result is None
        RunCommands(store).stop(job.id)
    assert store.job(job.id).status == "stopped"
    assert store.job(job.id).result is None


def test_a_reconstruction_has_no_further_targets(store: Store) -> None:
    run_id = trained_run(store, {"training.rounds": 1})
    order = AttackRequest.read({"kind": "idlg", "round": 1, "targets": 2})
    with pytest.raises(SettingError, match="targets is 2, and idlg attacks one round of one run"):
        RunCommands(store).attack(run_id, order)
