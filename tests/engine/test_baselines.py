"""Baselines: all data in one place, and every client alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lab import Experiment, run
from lab.common.settings import SettingError
from lab.engine.client.local_training import train_centrally, train_cohort
from lab.engine.data.federation import federated_dataset
from lab.engine.run import initial_state
from lab.engine.run_state import RoundResult
from lab.experiment.baselines import baselines
from lab.interfaces.federated_algorithm import LocalTask

SKEWED = Experiment.read(
    {
        "data": {
            "source": "digits",
            "clients": 6,
            "partition": {"kind": "dirichlet", "alpha": 0.2},
        },
        "training": {"rounds": 4, "batch_size": 16, "rate": 0.2},
    }
)
BASELINES = ("centralised", "local-only")


def last(kind: str, now: Experiment = SKEWED) -> RoundResult:
    *_, moment = run(now.changed({"training.algorithm.kind": kind}))
    return moment


def test_the_baselines_stand_above_and_below_the_federation() -> None:
    above, between, below = (
        last(kind).record.accuracy for kind in ("centralised", "fedavg", "local-only")
    )
    assert above > between > below


def test_centralised_training_does_not_see_who_holds_what() -> None:
    even = SKEWED.changed({"data.partition": "iid"})
    sizes = federated_dataset(SKEWED).sizes
    assert int(sizes.sum()) == int(federated_dataset(even).sizes.sum())
    moment = last("centralised")
    model = initial_state(SKEWED).model
    for round in range(1, 5):
        model = model + train_centrally(SKEWED, round, model)
    assert torch.equal(moment.state.model, model)


def test_everybody_alone_is_local_training_that_never_meets() -> None:
    own = initial_state(SKEWED).model.expand(6, -1)
    for round in range(1, 5):
        own = own + train_cohort(SKEWED, round, range(6), LocalTask(own)).rows
    moment = last("local-only")
    assert torch.equal(moment.state.carried.algorithm["own"], own)
    assert torch.equal(moment.state.model, initial_state(SKEWED).model)


def test_each_clients_own_model_is_measured_for_itself_and_for_all() -> None:
    record = last("local-only").record
    assert len(record.single) == len(record.personal) == 6
    assert None not in record.single
    alone = [rate for rate in record.single if rate is not None]
    assert record.accuracy == pytest.approx(sum(alone) / 6, abs=1e-4)
    assert min(alone) < record.accuracy < max(alone)
    assert record.fairness == record.personal


@pytest.mark.parametrize("kind", BASELINES)
def test_a_baseline_sends_nothing(kind: str) -> None:
    moment = last(kind)
    assert (moment.record.bytes_up, moment.record.bytes_down) == (0, 0)
    assert len(moment.transcript.delivery.rows) == 0
    assert moment.record.lost == ()


@pytest.mark.parametrize("kind", BASELINES)
@pytest.mark.parametrize(
    "settings",
    [
        {"privacy.kind": "example"},
        {"secure_aggregation.enabled": True},
        {"adversary.count": 1},
        {"aggregation.rule": "median"},
        {"network.compression": "half"},
        {"network.devices": "phones"},
        {"network.dropout": 0.1},
    ],
)
def test_what_is_done_to_messages_makes_no_sense_without_any(
    kind: str, settings: dict[str, Any]
) -> None:
    with pytest.raises(SettingError, match=f"{kind} is a baseline without messages, and .*: give"):
        SKEWED.changed({"training.algorithm.kind": kind, **settings})


def test_the_baselines_of_a_run_keep_its_data_and_drop_its_defences() -> None:
    now = SKEWED.changed(
        {
            "privacy.kind": "client", "secure_aggregation.enabled": True, "adversary.count": 2,
            "network.dropout": 0.2, "training.clients_per_round": 4,
        }
    ).changed_from(3, {"training.rate": 0.5})  # fmt: skip
    found = baselines(now)
    assert tuple(found) == BASELINES
    for name, baseline in found.items():
        assert baseline.training.algorithm.kind == name
        assert (baseline.data, baseline.model, baseline.seed) == (now.data, now.model, now.seed)
        assert baseline.training.rate == 0.2
        assert baseline.training.clients_per_round == 4
        assert baseline.changes == ()


@pytest.mark.parametrize(
    "settings",
    [
        {"aggregation.rule": "krum"},
        {"network.compression": "top-k", "network.error_feedback": True},
        {"network.devices": "phones", "network.deadline": 9.0, "network.spare": 0.5},
        {"training.algorithm": {"kind": "fedbuff", "buffer": 3}},
        {"training.algorithm": {"kind": "fedper"}, "network.availability": 0.5},
    ],
)
def test_every_run_has_baselines(settings: dict[str, Any]) -> None:
    assert [each.training.rounds for each in baselines(SKEWED.changed(settings)).values()] == [4, 4]
