"""The engine: limits that can be worked out by hand, and a run that can be cut anywhere."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from defenses import CODECS
from lab import ROOT, Experiment, run
from lab.common.settings import SettingError
from lab.engine.client.local_training import train_cohort
from lab.engine.data.federation import federated_dataset
from lab.engine.evaluation.record import RoundRecord
from lab.engine.run import initial_state
from lab.engine.run_state import RoundResult, RunStopped
from lab.interfaces.federated_algorithm import LocalTask
from lab.interfaces.messages import Cohort
from lab.models.inputs import as_floats

GOLDEN = ROOT / "tests" / "golden" / "records.json"
SMALL = {
    "data": {"source": "digits", "clients": 6, "partition": {"kind": "dirichlet", "alpha": 0.5}},
    "training": {"rounds": 4, "batch_size": 16, "rate": 0.2},
}
# One of everything that can be switched on by itself.
VARIANTS: dict[str, dict[str, object]] = {
    "plain": {},
    "sampled": {"training.clients_per_round": 3},
    "lost": {"network.dropout": 0.3},
    "cnn": {"model.kind": "cnn", "model.channels": 2, "model.hidden": 8},
    "example": {"privacy.kind": "example", "privacy.noise": 1.0},
    "client": {"privacy.kind": "client", "privacy.noise": 1.0},
    "client, sampled": {
        "privacy.kind": "client", "privacy.noise": 1.0, "training.clients_per_round": 3,
    },
    "client, fixed": {
        "privacy.kind": "client", "privacy.noise": 1.0, "training.clients_per_round": 3,
        "privacy.sampling": "fixed",
    },
    "example, shuffled": {
        "privacy.kind": "example", "privacy.noise": 1.0, "privacy.sampling": "fixed",
    },
    "masked": {"secure_aggregation.enabled": True, "network.dropout": 0.1},
    "masked client": {
        "secure_aggregation.enabled": True, "privacy.kind": "client", "privacy.noise": 1.0,
    },
    "scaffold": {"training.algorithm.kind": "scaffold", "training.clients_per_round": 3},
    "feddyn": {"training.algorithm.kind": "feddyn", "secure_aggregation.enabled": True},
    "fedadam": {"training.algorithm.kind": "fedadam", "network.dropout": 0.3},
    "packed": {"network.compression.kind": "top-k", "network.dropout": 0.2},
    "late": {"network.devices": "mixed", "network.spare": 0.5, "training.clients_per_round": 3},
    "fed back": {"network.compression.kind": "sign", "network.error_feedback": True},
    "krum": {"aggregation.rule.kind": "krum", "adversary.count": 1},
    "median": {
        "aggregation.rule.kind": "median",
        "adversary.count": 2,
        "adversary.attack.kind": "backdoor",
    },
    "flipped": {"aggregation.rule.kind": "trimmed-mean", "adversary.count": 1,
                "adversary.attack.kind": "label-flip"},
}  # fmt: skip


def experiment(**settings: object) -> Experiment:
    return Experiment.read(SMALL).changed(
        {path.replace("__", "."): value for path, value in settings.items()}
    )


def records(moments: list[RoundResult]) -> list[RoundRecord]:
    return [moment.record for moment in moments]


# --- by hand ------------------------------------------------------------------------------------


def test_one_full_batch_step_a_client_is_gradient_descent_on_all_data() -> None:
    now = experiment(training__batch_size=1024, training__steps=1, training__rounds=1)
    start, federation = initial_state(now).model, federated_dataset(now)
    flat = start.clone().requires_grad_(True)
    held = torch.cat([federation.held(client) for client in federation.everyone])
    inputs, labels = as_floats(federation.inputs[held]), federation.labels[held]
    loss = F.cross_entropy(now.architecture(flat, inputs), labels)
    (slope,) = torch.autograd.grad(loss, flat)
    (moment,) = run(now)
    assert torch.allclose(moment.state.model, start - 0.2 * slope, atol=1e-6)


def test_the_step_is_the_mean_weighted_by_examples() -> None:
    (moment,) = run(experiment(training__rounds=1))
    delivery, sizes = moment.transcript.delivery, federated_dataset(experiment()).sizes.float()
    step = (sizes / sizes.sum()) @ delivery.rows
    assert torch.allclose(moment.state.model - moment.transcript.sent, step, atol=1e-6)
    assert delivery.weights.tolist() == sizes.tolist()


def test_bytes_are_those_of_the_rows_and_of_the_models() -> None:
    (moment,) = run(experiment(training__rounds=1, training__clients_per_round=4))
    size = experiment().architecture.size
    assert moment.record.bytes_up == moment.record.bytes_down == 4 * 4 * size


def test_lost_updates_are_not_in_the_step() -> None:
    for moment in run(experiment(network__dropout=0.5, training__rounds=3)):
        asked, gone = set(moment.record.clients), set(moment.record.lost)
        seen = {client for senders in moment.transcript.delivery.senders for client in senders}
        assert seen == asked - gone
        assert len(moment.transcript.delivery.rows) == len(seen)


def test_a_rule_that_gets_too_few_updates_takes_no_step_and_says_so() -> None:
    moments = list(run(experiment(aggregation__rule__kind="krum", network__dropout=0.6)))
    still = [moment for moment in moments if "krum needs 5: no step" in moment.record.note]
    assert still
    for moment in still:
        assert torch.equal(moment.state.model, moment.transcript.sent)


def test_rows_that_are_not_finite_are_left_out_and_reported() -> None:
    """Weights near the end of the floats: every update overflows, and the model stays."""
    start = initial_state(experiment())
    moment = next(run(experiment(), state=replace(start, model=start.model * 1e38)))
    assert "not finite, left out: client 0, 1, 2, 3, 4, 5" in moment.record.note
    assert moment.record.lost == moment.record.clients
    assert torch.equal(moment.state.model, moment.transcript.sent)
    assert moment.record.loss is None


def test_an_aborted_round_leaves_the_model_or_ends_the_run_as_configured() -> None:
    lossy = experiment(secure_aggregation__enabled=True, network__dropout=0.7)
    skipped = [moment for moment in run(lossy) if "aborted" in moment.record.note]
    assert skipped
    for moment in skipped:
        assert torch.equal(moment.state.model, moment.transcript.sent)
        assert set(moment.record.lost) == set(moment.record.clients)
    with pytest.raises(RunStopped, match=r"round \d: secure aggregation aborted: \d of 6 clients"):
        list(run(lossy.changed({"secure_aggregation.on_abort": "stop"})))


@pytest.mark.parametrize("kind", ["client", "example"])
def test_a_budget_ends_the_run_before_it_is_passed(kind: str) -> None:
    limit = {"client": 9.0, "example": 2.0}[kind]
    private = {"privacy.kind": kind, "privacy.noise": 1.5, "privacy.epsilon": limit}
    budget = experiment(training__rounds=40).changed({**private, "privacy.stop": True})
    moments: list[RoundResult] = []
    with pytest.raises(RunStopped, match=r"would bring epsilon to \d+.*past the budget"):
        moments.extend(run(budget))
    spending = [moment.record.epsilon for moment in run(budget.changed({"privacy.stop": False}))]
    within = [epsilon for epsilon in spending if epsilon is not None and epsilon <= limit]
    assert 0 < len(within) < len(spending)
    assert [moment.record.epsilon for moment in moments] == within


def test_a_budget_that_the_noise_is_made_for_lasts_to_the_end() -> None:
    budget = experiment().changed({"privacy.kind": "client", "privacy.stop": True})
    assert len(list(run(budget))) == budget.training.rounds


# --- promises -----------------------------------------------------------------------------------


@cache
def whole_run(name: str) -> list[RoundResult]:
    return list(run(experiment().changed(VARIANTS[name])))


@pytest.mark.parametrize("name", VARIANTS)
def test_the_same_experiment_gives_the_same_records(name: str) -> None:
    again = list(run(experiment().changed(VARIANTS[name])))
    assert records(again) == records(whole_run(name))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_run_that_is_cut_and_resumed_ends_as_if_it_had_not_been(name: str) -> None:
    now = experiment().changed(VARIANTS[name])
    half = list(islice(run(now), 2))
    rest = list(run(now, state=half[-1].state))
    assert records(half + rest) == records(whole_run(name))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_run_learns_and_every_number_is_sound(name: str) -> None:
    now = experiment().changed(VARIANTS[name])
    for number, moment in enumerate(whole_run(name), start=1):
        record = moment.record
        assert record.round == number
        assert 0 <= record.accuracy <= 1
        assert record.bytes_up > 0
        assert set(record.lost) <= set(record.clients)
        assert len(record.norms) == len(record.clients)
        assert (record.epsilon is None) == (now.privacy.kind == "none")
        assert RoundRecord.model_validate_json(record.model_dump_json()) == record


def test_another_seed_gives_another_run() -> None:
    assert records(list(run(experiment()))) != records(list(run(experiment(seed=1))))


def test_switching_a_defence_on_leaves_every_other_draw_alone() -> None:
    """The same clients, lost ones and true updates in the first round, whatever stands by."""
    plain = next(run(experiment(training__clients_per_round=3, network__dropout=0.3))).record
    for settings in ({"aggregation.rule.kind": "median"}, {"secure_aggregation.enabled": True}):
        other = experiment(training__clients_per_round=3, network__dropout=0.3).changed(settings)
        record = next(run(other)).record
        assert (record.clients, record.norms) == (plain.clients, plain.norms)


def test_secure_aggregation_changes_the_numbers_by_rounding_only() -> None:
    plain = list(run(experiment()))
    masked = list(run(experiment(secure_aggregation__enabled=True)))
    for one, other in zip(plain, masked, strict=True):
        assert torch.allclose(one.state.model, other.state.model, atol=1e-5)


# --- changes in mid-run -------------------------------------------------------------------------


def test_a_changed_experiment_holds_from_the_next_round_on() -> None:
    first = list(islice(run(experiment()), 2))
    changed = experiment(aggregation__rule__kind="median")
    rest = list(run(changed, state=first[-1].state))
    written = experiment().changed_from(3, {"aggregation.rule.kind": "median"})
    assert records(first + rest) == records(list(run(written)))
    assert rest[-1].state.experiment == written


def test_a_change_can_make_the_run_longer() -> None:
    done = list(run(experiment()))
    more = list(run(experiment(training__rounds=6), state=done[-1].state))
    assert [moment.record.round for moment in more] == [5, 6]


def test_what_a_run_is_made_of_cannot_change_in_its_course() -> None:
    first = next(run(experiment()))
    for settings in ({"data.clients": 5}, {"model.kind": "cnn"}, {"seed": 3}):
        with pytest.raises(SettingError, match="cannot change in mid-run"):
            next(run(experiment().changed(settings), state=first.state))


def test_privacy_that_is_switched_off_and_on_again_guarantees_nothing() -> None:
    noisy = experiment(privacy__kind="example", privacy__noise=2.0)
    first = next(run(noisy))
    assert first.record.epsilon is not None
    second = next(run(experiment(), state=first.state))
    third = next(run(noisy, state=second.state))
    assert second.record.epsilon is None
    assert third.record.epsilon is None


# --- golden -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CODECS)
def test_bytes_that_are_counted_are_those_of_the_packets(kind: str) -> None:
    """And the server adds what it has unpacked to its model, nothing finer."""
    codec = CODECS[kind]()
    bare = Experiment.read(SMALL)
    packed = bare.changed({"network.compression": kind})
    moment, plain = next(run(packed)), next(run(bare))
    nobody = torch.zeros(6, dtype=torch.bool)
    party = Cohort(0, 1, moment.record.clients, torch.ones(6), nobody, nobody, 6.0)
    shapes = [shape for _, shape in packed.architecture.slots.values()]
    rows, sizes = codec.transmit(plain.transcript.delivery.rows, party, shapes)
    assert moment.record.bytes_up == sum(sizes)
    assert moment.record.bytes_down == plain.record.bytes_down
    assert torch.equal(moment.transcript.delivery.rows, rows)


@pytest.mark.parametrize("lost", [0.0, 0.4])
def test_error_feedback_loses_nothing(lost: float) -> None:
    """What arrived and what is carried over is all that the clients ever sent."""
    experiment = Experiment.read(SMALL).changed(
        {"network.compression": {"kind": "top-k", "share": 0.05}, "network.dropout": lost}
    )
    fed = experiment.changed({"network.error_feedback": True})
    state, arrived, meant = initial_state(fed), torch.zeros(1), torch.zeros(1)
    for moment in run(fed):
        delivery = moment.transcript.delivery
        arrived = arrived + delivery.rows.double().sum(dim=0)
        trained = train_cohort(
            fed, moment.record.round, moment.record.clients, LocalTask(state.model)
        )
        meant = meant + trained.rows.double().sum(dim=0)
        state = moment.state
    carried = state.carried.residuals.double().sum(dim=0)
    assert torch.allclose(arrived + carried, meant, atol=1e-5)
    bare = list(run(experiment))[-1].record
    assert bare.loss is not None
    assert moment.record.loss is not None
    assert moment.record.loss < bare.loss


@pytest.mark.parametrize(
    "packing",
    ["none", "random-k", {"kind": "qsgd", "levels": 1}, {"kind": "quantise", "bits": 2}],
)
def test_feedback_that_would_grow_is_refused(packing: object) -> None:
    with pytest.raises(SettingError, match=r"network\.error_feedback"):
        Experiment().changed({"network.error_feedback": True, "network.compression": packing})


@pytest.mark.parametrize(
    "other", [{"secure_aggregation.enabled": True}, {"privacy.kind": "client"}]
)
def test_what_hides_in_a_sum_is_not_packed_one_by_one(other: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=r"network\.compression\.kind sign"):
        Experiment().changed({"network.compression": "sign", **other})


@pytest.mark.parametrize("name", VARIANTS)
def test_records_are_those_of_the_golden_run(name: str) -> None:
    """To change them on purpose: python -m tests.golden writes tests/golden/records.json anew."""
    golden = json.loads(GOLDEN.read_text())[name]
    for moment, expected in zip(whole_run(name), golden, strict=True):
        record = moment.record
        assert record.accuracy == pytest.approx(expected["accuracy"], abs=0.01)
        assert record.loss == pytest.approx(expected["loss"], rel=1e-3)
        assert record.norms == pytest.approx(expected["norms"], rel=1e-3)
        assert list(record.clients) == expected["clients"]
        assert list(record.lost) == expected["lost"]
        for name, slack in (("epsilon", 1e-6), ("backdoor", 0.02)):
            if expected[name] is None:
                assert getattr(record, name) is None
            else:
                assert getattr(record, name) == pytest.approx(expected[name], abs=slack)
