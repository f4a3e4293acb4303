"""The audit of a released model: mislabelled canaries that are in, or nowhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lab import Experiment
from lab.audits.audit import AuditedRun
from lab.audits.black_box import BlackBox, Mislabelled, belief, inserted, mislabelled
from lab.audits.run_audit import run_audit
from lab.common.settings import SettingError
from lab.engine.data import public_examples
from lab.engine.data.federation import federated_dataset
from lab.models.inputs import as_floats
from lab.scoring.shared.roc_curve import auc
from tests.support.experiment_files import with_

CANARIES = 100


def past(rounds: int = 2) -> AuditedRun:
    experiment = with_({"data.source": "digits", "data.clients": 4, "data.examples": 600})
    return AuditedRun(experiment, rounds, lambda round: torch.zeros(0))


def chosen_of(experiment: Experiment) -> tuple[Mislabelled, np.ndarray]:
    inside = np.random.default_rng(0).random(CANARIES) < 0.5
    return mislabelled(experiment, CANARIES), inside


def test_canaries_that_are_in_lie_there_with_a_wrong_label_and_the_others_nowhere() -> None:
    experiment = past().experiment
    chosen, inside = chosen_of(experiment)
    before, after = (
        federated_dataset(experiment),
        federated_dataset(inserted(experiment, chosen, inside)),
    )
    for client in before.everyone:
        mine = chosen.clients == client
        held, now_held = before.held(client), after.held(client)
        labels, expected = before.labels[held].tolist(), []
        here = dict(zip(chosen.positions[mine], np.flatnonzero(mine), strict=True))
        kept = []
        for place, label in enumerate(labels):
            if place not in here:
                kept.append(held[place])
                expected.append(label)
            elif inside[here[place]]:
                kept.append(held[place])
                expected.append(int(chosen.labels[here[place]]))
        assert after.labels[now_held].tolist() == expected
        pictures = [
            as_floats(each.inputs[which])
            for each, which in ((after, now_held), (before, torch.stack(kept)))
        ]
        assert torch.equal(*pictures)


def test_no_canary_has_its_right_label_and_none_comes_twice() -> None:
    chosen, _ = chosen_of(past().experiment)
    assert (chosen.labels != chosen.right).all()
    places = set(zip(chosen.clients.tolist(), chosen.positions.tolist(), strict=True))
    assert len(places) == CANARIES


def test_a_model_that_saw_none_of_them_does_not_tell_them_apart() -> None:
    experiment = past().experiment
    chosen, inside = chosen_of(experiment)
    network = experiment.architecture
    drawn = torch.randn(network.size, generator=torch.Generator().manual_seed(0)) * 0.1
    scores = belief(network, drawn, chosen, public_examples.test_data(experiment))
    assert np.isfinite(scores).all()
    assert 0.3 < auc(scores[inside], scores[~inside]) < 0.7


def test_the_audit_reads_the_model_of_each_round_and_says_what_it_rests_on() -> None:
    *_, last = run_audit(BlackBox(canaries=CANARIES), past())
    assert last.result is not None
    found = last.result.score
    assert found is not None
    assert [reading.round for reading in found.readings] == [1, 2]
    assert found.bounds[0].method == "one run of guesses"
    assert found.verdict.startswith("nothing is promised")
    assert "released model" in found.adversary
    # Nothing is Gaussian without noise, so nobody may assume it.
    assert not any("Gaussian" in line for line in found.lines() if line.startswith("assumed"))


def test_what_cannot_be_audited_is_refused_in_words() -> None:
    with pytest.raises(SettingError, match="canaries is 100000, which take the places"):
        BlackBox(canaries=100_000).refuse(past())
    with pytest.raises(SettingError, match="fault is noise-halved"):
        BlackBox(canaries=CANARIES, fault="noise-halved").refuse(past())
