"""The line-up: whom a membership attack is asked about, and who of them is a member."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lab.attack_runs.membership.candidates import SPARED, MembershipCandidates, select_candidates
from lab.common.settings import SettingError
from lab.engine.data.federation import federated_dataset
from lab.engine.data.malicious_clients import malicious_clients
from lab.engine.data.public_examples import outsiders, root_dataset
from lab.experiment.experiment import Experiment
from lab.interfaces.privacy_attacks import AttackResources
from lab.models.inputs import as_floats
from tests.support.data import of_digits

SHADOWS = AttackResources(shadows=2, public=50)


def rows_of(inputs: Tensor, labels: Tensor) -> list[bytes]:
    floats = as_floats(inputs).flatten(1)
    return [
        row.numpy().tobytes() + bytes([label])
        for row, label in zip(floats, labels.tolist(), strict=True)
    ]


def drawn(found: MembershipCandidates, which: np.ndarray) -> list[bytes]:
    kept = torch.from_numpy(which)
    return rows_of(found.candidates.inputs[kept], found.candidates.labels[kept])


def test_members_are_the_examples_of_honest_clients_and_each_knows_its_owner() -> None:
    experiment = of_digits(data__examples=400, adversary__count=2)
    found, federation = (
        select_candidates(experiment, AttackResources()),
        federated_dataset(experiment),
    )
    honest = [one for one in range(6) if one not in malicious_clients(experiment)]
    assert sorted(set(found.owner.tolist())) == [-1, *honest]
    for client in honest:
        held = federation.held(client)
        expected = rows_of(federation.inputs[held], federation.labels[held])
        assert sorted(drawn(found, found.owner == client)) == sorted(expected)
    assert found.member.sum() == sum(int(federation.sizes[client]) for client in honest)
    assert not found.member[int(found.member.sum()) :].any(), "members come first"


def test_others_and_public_examples_are_of_nobody_and_apart() -> None:
    experiment = of_digits(data__examples=400)
    found, federation = select_candidates(experiment, SHADOWS), federated_dataset(experiment)
    held = torch.cat([federation.held(client) for client in federation.everyone])
    members = set(rows_of(federation.inputs[held], federation.labels[held]))
    others, public = drawn(found, ~found.member), rows_of(found.public.inputs, found.public.labels)
    # Digits of 8 x 8 repeat now and then, so a coincidence or two is none of our doing.
    assert len(members.intersection(others)) <= 2
    assert len(members.intersection(public)) <= 2
    assert len(set(others).intersection(public)) <= 2
    assert len(public) == 50


def test_others_are_training_examples_that_nobody_holds_as_long_as_there_are_any() -> None:
    experiment = of_digits(data__examples=400)
    federation = federated_dataset(experiment)
    free = outsiders(experiment)
    few, all_ = (
        select_candidates(experiment, SHADOWS),
        select_candidates(experiment, AttackResources()),
    )
    known = set(rows_of(federation.inputs[free], federation.labels[free]))
    assert set(drawn(few, ~few.member)) <= known
    assert few.others == "400 that no client holds, 0 test"
    assert all_.others == f"{len(free):,} that no client holds, 359 test"


def test_an_attack_with_shadows_is_asked_about_as_many_others_as_members() -> None:
    found = select_candidates(of_digits(data__examples=300), SHADOWS)
    assert (int(found.member.sum()), int((~found.member).sum())) == (300, 300)
    without = select_candidates(of_digits(data__examples=300), AttackResources())
    assert int((~without.member).sum()) == 1438 - 300 + 359


def test_the_attack_is_judged_by_one_clients_examples_and_all_others() -> None:
    experiment = of_digits(data__examples=300)
    whole, one = (
        select_candidates(experiment, SHADOWS),
        select_candidates(experiment, SHADOWS, client=3),
    )
    assert torch.equal(whole.pool.inputs, one.pool.inputs), "the attack is asked about the same"
    assert whole.counted.all()
    assert sorted(set(one.owner[one.counted].tolist())) == [-1, 3]
    assert one.counted[one.owner < 0].all()


def test_a_malicious_client_is_nobody_to_judge_by() -> None:
    experiment = of_digits(
        adversary__count=1, adversary__clients=[2], adversary__attack="sign-flip"
    )
    with pytest.raises(SettingError, match="client 2 is malicious or holds nothing: choose from"):
        select_candidates(experiment, AttackResources(), client=2)
    with pytest.raises(SettingError, match="client 77 is malicious or holds nothing"):
        select_candidates(experiment, AttackResources(), client=77)


def test_a_federation_of_malicious_clients_has_no_members() -> None:
    experiment = of_digits(adversary__count=6)
    with pytest.raises(SettingError, match="no honest client holds anything"):
        select_candidates(experiment, AttackResources())


def test_few_examples_leave_few_others_and_fewer_public_ones() -> None:
    """All 607 patients are shared out, so that 313 test examples are all there is."""
    experiment = Experiment().changed({"data.source": "heart", "data.clients": 4})
    found = select_candidates(experiment, AttackResources(shadows=2, public=1000))
    assert len(found.public.labels) == 313 // SPARED
    assert int(found.member.sum()) == 607
    assert int((~found.member).sum()) == 313 - 313 // SPARED
    assert found.others == "0 that no client holds, 235 test"


def test_public_data_of_the_server_is_not_asked_about() -> None:
    experiment = of_digits(data__examples=400, aggregation__rule={"kind": "fltrust", "root": 100})
    root, found = root_dataset(experiment), select_candidates(experiment, AttackResources())
    known = set(rows_of(root.inputs[root.held(0)], root.labels[root.held(0)]))
    assert len(known.intersection(drawn(found, ~found.member))) <= 2
    assert int((~found.member).sum()) == 1438 - 400 - 100 + 359


def test_where_clients_see_their_own_way_members_are_what_was_trained_on() -> None:
    experiment = of_digits(data__examples=300, data__partition={"kind": "feature"})
    federation, found = federated_dataset(experiment), select_candidates(experiment, SHADOWS)
    held = federation.held(1)
    expected = rows_of(federation.inputs[held], federation.labels[held])
    assert sorted(drawn(found, found.owner == 1)) == sorted(expected)


def test_pictures_wait_as_bytes_and_are_read_as_floats() -> None:
    found = select_candidates(of_digits(data__examples=300), SHADOWS)
    assert found.pool.inputs.dtype == torch.uint8
    assert torch.equal(as_floats(found.pool.inputs), found.candidates.inputs)
    assert found.candidates is found.candidates, "read once"


def test_the_same_seed_asks_the_same_question() -> None:
    one, same, other = (
        select_candidates(of_digits(data__examples=300, seed=seed), SHADOWS).pool
        for seed in (1, 1, 2)
    )
    assert torch.equal(one.inputs, same.inputs)
    assert not torch.equal(one.inputs, other.inputs)
