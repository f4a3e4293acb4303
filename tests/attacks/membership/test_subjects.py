"""People: who took part at all, told by examples on which nobody trained."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch

from attacks.membership.subject_membership import SubjectMembership
from datasets import PARTITIONS
from lab import Experiment, run
from lab.attack_runs.dispatch import start_attack
from lab.attack_runs.membership.subject import run_subject_membership
from lab.attack_runs.membership.subject_candidates import select_subjects
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.common.random_streams import random_stream
from lab.common.settings import SettingError
from lab.engine.data.federation import examples_of, federated_dataset
from lab.engine.run import initial_state
from lab.engine.run_state import RunState
from lab.interfaces.attack_data import Candidates, MembershipSignals
from lab.interfaces.data import DataSource, Examples
from lab.interfaces.privacy_attacks import AttackResources
from lab.jobs.run_job import carry_out_run
from lab.models.layers import Shape
from lab.scoring.attack_result import AttackProgress
from lab.scoring.membership.membership_score import MembershipScore
from lab.storage.replay import StoredRun
from lab.storage.store import Store
from lab.storage.worker_store import WorkerStore
from tests.support.data import no_data_of_the_user as no_data_of_the_user
from tests.support.experiment_files import refusal

PEOPLE, EACH = 120, 12
ODD = {"seed": 3, "data.clients": 6, "model.kind": "mlp", "training.rounds": 12}
HALF = {"kind": "people", "left_out": 0.5}


class Village(DataSource):
    """People who all look another way, and each has an opinion of its own: what is to be learnt."""

    kind: Literal["village"] = "village"
    source: ClassVar[str] = "made up"
    licence: ClassVar[str] = "none"
    shape: ClassVar[Shape] = (20,)
    classes: ClassVar[tuple[str, ...]] = ("no", "yes")
    size: ClassVar[int] = PEOPLE * EACH
    groups: ClassVar[tuple[str, ...]] = tuple(str(one) for one in range(PEOPLE))
    content: ClassVar[Literal["table"]] = "table"

    def load(self) -> Examples:
        drawn = random_stream(0, "village")
        centre, opinion = drawn.normal(size=(PEOPLE, 20)), drawn.integers(2, size=PEOPLE)
        owner = np.arange(PEOPLE).repeat(EACH)

        def seen() -> torch.Tensor:
            return torch.from_numpy(
                (centre[owner] + 0.3 * drawn.normal(size=(len(owner), 20))).astype(np.float32)
            )

        labels, groups = torch.from_numpy(opinion[owner]), torch.from_numpy(owner)
        return Examples(seen(), labels, seen(), labels, groups, groups)


def village(**settings: Any) -> Experiment:
    """Registered nowhere, so it takes the place of another table after all checks."""
    paths = {name.replace("__", "."): value for name, value in settings.items()}
    now = Experiment().changed({"data.source": "heart"} | ODD | {"data.clients": 4} | paths)
    split = PARTITIONS["people"].read(HALF)
    data = now.data.model_copy(update={"source": Village(), "partition": split, "clients": 6})
    return now.model_copy(update={"data": data})


def chat(**settings: Any) -> Experiment:
    paths = {name.replace("__", "."): value for name, value in settings.items()}
    usual = {"data.source": "chat", "data.partition": HALF, "data.clients": 10}
    small = {"model": {"kind": "keyboard", "width": 4, "hidden": 8}, "training.rounds": 1}
    return Experiment().changed(usual | small | paths)


def last(glimpses: list[AttackProgress]) -> MembershipScore:
    assert glimpses[-1].result is not None
    assert glimpses[-1].result.score is not None
    return glimpses[-1].result.score


@cache
def trained(**settings: Any) -> RunState:
    *_, moment = run(village(**settings))
    return moment.state


# --- by hand ------------------------------------------------------------------------------------


def test_a_person_counts_by_the_mean_of_what_the_model_does_better() -> None:
    evidence = MembershipSignals(
        candidates=Candidates(torch.zeros(3, 2), torch.zeros(3).long()),
        target=torch.tensor([1.0, 3.0, 2.0]),
        shadows=torch.tensor([[2.0, 2.0, 6.0], [4.0, 2.0, 4.0]]),
        inside=torch.zeros(2, 3, dtype=torch.bool),
        public=Candidates(torch.zeros(0, 2), torch.zeros(0).long()),
        target_public=torch.zeros(0),
        shadows_public=torch.zeros(2, 0),
    )
    person = torch.tensor([0, 0, 1])
    assert SubjectMembership()(evidence, person).tolist() == [0.5, 3.0]  # (2 - 1)/2, 5 - 2
    alone = replace(evidence, shadows=torch.zeros(0, 3))
    assert SubjectMembership(shadows=0)(alone, person).tolist() == [-2.0, -2.0]


def test_people_are_dealt_out_whole_and_some_to_nobody() -> None:
    groups = np.array([7, 3, 7, 5, 3, 9])
    split = PARTITIONS["people"].read({"left_out": 0.25})
    shares = split(np.zeros(6, int), groups, 2, random_stream(0, "split"))
    owners = [set(groups[share].tolist()) for share in shares]
    assert sorted(len(each) for each in owners) == [1, 2]
    assert not owners[0] & owners[1]
    for share, each in zip(shares, owners, strict=True):
        assert len(share) == sum(int((groups == owner).sum()) for owner in each)


def test_a_larger_share_of_people_left_out_adds_to_a_smaller_one() -> None:
    groups = np.arange(200) % 40

    def gone(left_out: float) -> set[int]:
        split = PARTITIONS["people"].read({"left_out": left_out})
        shares = split(groups, groups, 4, random_stream(0, "split"))
        return set(range(40)) - set(groups[np.concatenate(shares)].tolist())

    assert gone(0.0) == set()
    assert gone(0.25) < gone(0.5)
    assert len(gone(0.5)) == 20


def test_clients_know_how_much_they_hold_on_average() -> None:
    now = chat()
    assert now.recipe.mean_size == float(federated_dataset(now).sizes.float().mean()) == 1000


# --- who is asked about -------------------------------------------------------------------------


def test_nobody_trained_on_what_people_are_asked_by() -> None:
    now = chat()
    found = select_subjects(now, AttackResources(shadows=2), seen=False)
    examples = examples_of(now)
    asked = {tuple(row) for row in found.asked.inputs.tolist()}
    pool = {tuple(row) for row in examples.inputs.tolist()}
    assert len(asked & pool) < 3  # who says the same twice, such as a greeting
    assert int(found.member.sum()) == 100
    assert int((~found.member).sum()) == 50
    assert len(found.others.labels) == 50 * 100
    assert torch.bincount(found.person).tolist() == [10] * 150


def test_a_member_is_who_trained_at_a_client_and_the_attackers_own_are_not_asked_about() -> None:
    now = chat()
    found, examples, federation = (
        select_subjects(now, AttackResources(shadows=2), seen=True),
        examples_of(now),
        federated_dataset(now),
    )
    for place in (0, 50, 99, 100, 149):
        mine = found.asked.inputs[found.person == place]
        where = (examples.inputs.unsqueeze(0) == mine[:1].unsqueeze(1)).all(dim=2)[0].nonzero()
        holders = [
            client
            for client in federation.everyone
            if bool(torch.isin(where.flatten(), federation.held(client)).any())
        ]
        assert (int(found.owner[place]) in holders) == bool(found.member[place])
    own = {tuple(row) for row in found.others.inputs[:500].tolist()}
    held = {tuple(row) for row in examples.inputs[federation.held(0)].tolist()}
    assert len(own & held) < 3


def test_one_clients_people_are_asked_about_alone() -> None:
    found = select_subjects(chat(), AttackResources(), seen=False, client=3)
    assert set(found.owner.tolist()) == {3, -1}
    assert int(found.member.sum()) == 10
    assert int((~found.member).sum()) == 100


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"data__partition": "iid"}, "is at several clients: use data.partition.kind people"),
        ({"data__partition": {"kind": "people"}}, "with data.partition.left_out 0.5"),
        ({"aggregation.rule": "fltrust"}, "use another rule"),
        ({"data__clients": 101}, "of the 200 people of chat 100 take part: give 2 to 100"),
    ],
)
def test_where_nobody_can_be_told_apart_it_is_refused(settings: Any, told: str) -> None:
    assert told in refusal(lambda: select_subjects(chat(**settings), AttackResources(), seen=False))


def test_data_without_people_are_refused() -> None:
    now = Experiment().changed(
        {"data.source": "heart", "data.partition": "natural", "data.clients": 4}
    )
    assert "use data.source chat" in refusal(
        lambda: select_subjects(now, AttackResources(), seen=False)
    )
    with pytest.raises(SettingError, match="fashion-mnist has none"):
        Experiment().changed({"data.partition": "people"})


# --- what it achieves ---------------------------------------------------------------------------


@pytest.mark.parametrize(("shadows", "others", "least"), [(0, 60, 0.6), (2, 30, 0.5)])
def test_people_with_opinions_of_their_own_are_told_by_examples_nobody_trained_on(
    shadows: int, others: int, least: float
) -> None:
    """Here everybody is equally hard to tell, so models on other people add nothing but noise."""
    found = last(list(run_subject_membership(SubjectMembership(shadows=shadows), trained())))
    assert found.auc_low > least
    assert (found.members, found.others) == (60, others)


def test_the_examples_that_they_trained_on_tell_them_at_least_as_well() -> None:
    unseen, seen = (
        last(
            list(run_subject_membership(SubjectMembership(shadows=0, examples=which), trained()))
        ).auc
        for which in ("unseen", "seen")
    )
    assert seen > unseen - 0.02


def test_an_untrained_model_knows_nobody() -> None:
    found = last(
        list(run_subject_membership(SubjectMembership(shadows=0), initial_state(village())))
    )
    assert found.auc_low < 0.5 < found.auc_high


def test_under_a_clients_epsilon_of_one_nobody_is_known() -> None:
    state = trained(privacy__kind="client", privacy__epsilon=1.0)
    found = last(list(run_subject_membership(SubjectMembership(shadows=0), state)))
    assert found.auc_low < 0.5 < found.auc_high
    assert found.ceiling_auc is not None
    assert found.auc_low < found.ceiling_auc


def test_an_examples_epsilon_puts_no_ceiling_on_people() -> None:
    state = trained(privacy__kind="example", privacy__epsilon=1.0, training__rounds=2)
    assert (
        last(list(run_subject_membership(SubjectMembership(shadows=0), state))).ceiling_auc is None
    )


# --- how it runs --------------------------------------------------------------------------------


def test_it_is_an_attack_on_a_stored_run_with_a_glimpse_each_round(tmp_path: object) -> None:
    store = Store(f"sqlite:///{tmp_path}/lab.db")
    job = (ledger := WorkerStore(store)).start(chat(training__rounds=2))
    list(carry_out_run(ledger, job))
    order = AttackRequest(attack=SubjectMembership(), round=2)
    first, again = (list(start_attack(order, StoredRun(store, job.id))) for _ in range(2))
    assert [glimpse.step for glimpse in first] == [1, 2, 3]
    assert first[-1].result == again[-1].result
    assert first[-1].result is not None
    assert "members: 100 people of all honest clients" in first[-1].result.lines()
    blind = last(first)
    assert blind.blind_low is not None
    assert blind.blind_high is not None
    assert blind.blind_low < 0.5 < blind.blind_high
