"""Spies: exact where they must be, blind where a defence stands, and never shown the truth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace

import pytest
import torch
from torch import Tensor

from attacks import PRIVACY_ATTACKS
from attacks.reconstruction.shared.observed_gradient import label_counts, observe
from datasets import DATA_SOURCES
from lab import Experiment, run
from lab.attack_runs.membership.outsider import run_membership
from lab.attack_runs.reconstruction.model_manipulation import run_active_reconstruction
from lab.attack_runs.reconstruction.own_example import view_of
from lab.attack_runs.reconstruction.reconstruction import run_reconstruction
from lab.attack_runs.shared.auxiliary_info import auxiliary_info
from lab.attack_runs.shared.ground_truth import reconstruction_scorer
from lab.common.settings import SettingError
from lab.engine.client.batches import touched
from lab.engine.data.federation import federated_dataset
from lab.engine.run import initial_state
from lab.engine.run_state import RoundResult
from lab.interfaces.attack_data import Candidates
from lab.interfaces.privacy_attacks import (
    ActiveMembershipAttack,
    ActiveReconstructionAttack,
    MembershipInferenceAttack,
    PropertyInferenceAttack,
    ReconstructionAttack,
    ServerMembershipAttack,
)
from lab.interfaces.views import (
    AuxiliaryInfo,
    OutsiderView,
    ServerView,
    client_view,
    outsider_view,
    server_view,
)
from lab.models.inputs import as_floats
from lab.scoring.attack_result import AttackProgress, AttackResult

# One picture an update: the setting of the published attacks.
FEDSGD = {
    "data": {"source": "fashion-mnist", "clients": 10},
    "model": {"kind": "lenet"},
    "training": {"rounds": 1, "steps": 1, "batch_size": 1},
}
OVERFITTED = {
    "data": {"source": "fashion-mnist", "clients": 4, "examples": 120},
    "model": {"kind": "mlp", "hidden": 256},
    "training": {"rounds": 12, "epochs": 15, "batch_size": 10, "rate": 0.2},
}


TYPED: dict[str, object] = {
    "data.source": "chat",
    "data.clients": 10,
    "model": "transformer",
    "training.steps": 1,
    "training.batch_size": 2,
}
# What an attack works on, where that is not a picture behind a dense layer.
SUITED: dict[str, dict[str, object]] = {
    "tabular": {"data.source": "adult", "training.batch_size": 4},
    "tokens": TYPED,
    "sentences": TYPED,
}


def experiment(base: dict[str, object] = FEDSGD, **settings: object) -> Experiment:
    return Experiment.read(base).changed(
        {path.replace("__", "."): value for path, value in settings.items()}
    )


def suited(name: str) -> Experiment:
    return experiment(model__kind="mlp").changed(SUITED.get(name, {}))


def last(now: Experiment) -> RoundResult:
    *_, moment = run(now)
    return moment


def attack(name: str, moment: RoundResult, client: int = 0, **settings: object) -> AttackResult:
    spy = PRIVACY_ATTACKS[name].read({"kind": name, **settings})
    assert isinstance(spy, ReconstructionAttack)
    if isinstance(spy, ActiveReconstructionAttack):
        *_, glimpse = run_active_reconstruction(
            spy, initial_state(moment.state.experiment), moment, client
        )
    else:
        *_, glimpse = run_reconstruction(spy, moment, client)
    assert glimpse.result is not None
    return glimpse.result


def psnr(result: AttackResult) -> float:
    assert result.score is not None
    return result.score.psnr


def gain(result: AttackResult) -> float:
    """dB over the best guess without the gradient."""
    assert result.score is not None
    return result.score.psnr - result.score.floor


# --- exact identities ---------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["fashion-mnist", "photos", "faces", "digits"])
def test_a_dense_first_layer_gives_one_picture_away_exactly(source: str) -> None:
    moment = last(experiment(model__kind="mlp", data__source=source))
    for client in range(5):
        result = attack("first-layer", moment, client)
        assert psnr(result) > 60
        assert result.score is not None
        assert result.score.labels == 1.0
        assert result.score.verdict == "exact"


def test_a_dense_first_layer_gives_a_patients_record_away() -> None:
    moment = last(
        experiment(
            model__kind="logistic", data__source="heart", data__partition="natural", data__clients=4
        )
    )
    found = attack("first-layer", moment).score
    assert found is not None
    assert found.verdict.startswith("exact")


def test_first_layer_refuses_a_model_that_begins_with_a_convolution() -> None:
    moment = last(experiment())
    with pytest.raises(SettingError, match="lenet begins with a convolution: use idlg"):
        attack("first-layer", moment)


@pytest.mark.parametrize("kind", ["logistic", "mlp", "cnn", "lenet"])
def test_the_label_of_one_example_is_read_off_the_last_bias(kind: str) -> None:
    moment = last(experiment(model__kind=kind))
    federation = federated_dataset(experiment())
    for client in range(10):
        seen = observe(server_view(moment.transcript), client)
        glimpse = next(
            run_reconstruction(PRIVACY_ATTACKS["idlg"](iterations=10, restarts=1), moment, client)
        )  # type: ignore[arg-type]
        assert glimpse.score is not None
        assert glimpse.score.labels == 1.0
        assert (
            int(
                label_counts(
                    server_view(moment.transcript), seen, auxiliary_info(moment.state.experiment, 1)
                ).sum()
            )
            == 1
        )
    assert len(federation.labels) == 10_000


def test_label_counts_of_an_untrained_model_are_exact_with_repeated_labels() -> None:
    moment = last(experiment(model__kind="cnn", training__batch_size=32))
    now, view = (
        experiment(model__kind="cnn", training__batch_size=32),
        server_view(moment.transcript),
    )
    federation = federated_dataset(now)
    for client in range(10):
        seen = observe(view, client)
        assert seen.images == 32
        found = label_counts(view, seen, auxiliary_info(now, 1))
        held = federation.held(client)
        used = held[torch.from_numpy(touched(now, 1, client, len(held)))]
        true = torch.bincount(federation.labels[used], minlength=10)
        assert int((found - true).abs().sum()) <= 2


# --- numbers that must be reached ---------------------------------------------------------------


def test_idlg_recovers_pictures_from_lenet_above_30_db() -> None:
    moment = last(experiment())
    found = [psnr(attack("idlg", moment, client)) for client in range(3)]
    assert min(found) > 30


def test_idlg_still_does_after_training() -> None:
    moment = last(experiment(data__source="faces", training__rounds=15))
    assert psnr(attack("idlg", moment)) > 30


def test_idlg_takes_its_time_over_colour() -> None:
    moment = last(experiment(data__source="photos"))
    assert psnr(attack("idlg", moment, seconds=600)) > 30


@pytest.mark.parametrize("kind", ["cnn", "mlp"])
def test_inverting_gradients_recognises_pictures_through_relu(kind: str) -> None:
    moment = last(experiment(model__kind=kind))
    found = [attack("inverting-gradients", moment, client, iterations=300) for client in (0, 3, 5)]
    assert sorted(map(psnr, found))[1] > 22
    assert min(map(gain, found)) > 3


# --- defences, against the same attack ----------------------------------------------------------


@pytest.mark.parametrize("name", ["idlg", "inverting-gradients"])
@pytest.mark.parametrize("kind", ["client", "example"])
@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_noise_leaves_no_more_than_a_guess(name: str, kind: str, noise: float) -> None:
    moment = last(experiment(privacy__kind=kind, privacy__noise=noise))
    settings = {"iterations": 100, "restarts": 1} if name == "idlg" else {"iterations": 150}
    sent = [client for client in range(10) if not empty(moment, client)]
    for client in sent[:2]:
        result = attack(name, moment, client, **settings)
        assert gain(result) < 1
        assert result.score is not None
        assert result.score.verdict.startswith("no better than a guess")
    assert len(sent) >= 2


def empty(moment: RoundResult, client: int) -> bool:
    """Whether the client drew an empty Poisson batch."""
    now = moment.state.experiment
    return not len(touched(now, 1, client, int(federated_dataset(now).sizes[client])))


def test_an_empty_batch_cannot_be_attacked_and_it_is_said_why() -> None:
    moment = last(experiment(privacy__kind="example", privacy__noise=1.0))
    client = next(client for client in range(10) if empty(moment, client))
    with pytest.raises(SettingError, match=f"client {client} drew an empty batch in round 1"):
        attack("idlg", moment, client)


def test_noise_leaves_no_more_than_a_guess_of_a_dense_layer() -> None:
    moment = last(experiment(model__kind="mlp", privacy__kind="client", privacy__noise=0.5))
    assert max(gain(attack("first-layer", moment, client)) for client in range(5)) < 1


@pytest.mark.parametrize("name", ["first-layer", "idlg"])
def test_secure_aggregation_gives_the_attack_the_sum_and_nothing_else(name: str) -> None:
    kind = "mlp" if name == "first-layer" else "lenet"
    masked = last(experiment(model__kind=kind, secure_aggregation__enabled=True))
    plain = last(experiment(model__kind=kind))
    view = server_view(masked.transcript)
    assert view.senders == (tuple(range(10)),)
    assert torch.allclose(view.rows[0], plain.transcript.delivery.rows.mean(dim=0), atol=1e-5)
    spy = PRIVACY_ATTACKS[name].model_validate(
        {} if name == "first-layer" else {"iterations": 60, "restarts": 1}
    )
    guesses = []
    for client in range(3):
        *_, glimpse = run_reconstruction(spy, masked, client)  # type: ignore[arg-type]
        assert glimpse.result is not None
        assert glimpse.score is not None
        assert glimpse.result.declared["sees"] == "the sum over the cohort only"
        assert not glimpse.score.verdict.startswith(("exact", "recognisable"))
        *_, guess = spy(view, client, AuxiliaryInfo.nothing(view.network))  # type: ignore[operator]
        guesses.append(guess.inputs)
    # One row for everybody, so one guess for everybody: nothing points at a client.
    assert all(torch.equal(guess, guesses[0]) for guess in guesses)


# --- membership ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def overfitted() -> RoundResult:
    return last(experiment(OVERFITTED))


def exposure(moment: RoundResult) -> AttackResult:
    spy = PRIVACY_ATTACKS["loss-threshold"]()
    assert isinstance(spy, MembershipInferenceAttack)
    (glimpse,) = run_membership(spy, moment.state)
    assert glimpse.result is not None
    return glimpse.result


def test_an_overfitted_model_betrays_its_members(overfitted: RoundResult) -> None:
    found = exposure(overfitted).score
    assert found is not None
    assert found.auc > 0.7
    assert found.auc_low > 0.5
    assert found.blind is not None
    assert found.blind_low is not None
    assert found.blind_low <= 0.5
    assert found.verdict.startswith("members stand out")
    assert found.others > 10_000
    assert all(rate.value is not None for rate in found.rates)


def test_privacy_at_epsilon_1_puts_its_ceiling_on_the_attack() -> None:
    private = experiment(
        OVERFITTED, privacy__kind="example", privacy__epsilon=1.0, privacy__delta=1e-4,
        training__rounds=3, training__epochs=5,
    )  # fmt: skip
    result = exposure(last(private))
    found = result.score
    assert found is not None
    assert found.ceiling_auc is not None
    assert found.auc_low <= 0.5 <= found.auc_high or found.auc_high <= found.ceiling_auc
    assert found.ceiling_auc < 0.75


def test_an_untrained_model_betrays_nobody() -> None:
    spy = PRIVACY_ATTACKS["loss-threshold"]()
    assert isinstance(spy, MembershipInferenceAttack)
    (glimpse,) = run_membership(spy, initial_state(experiment(OVERFITTED)))
    assert glimpse.result is not None
    found = glimpse.result.score
    assert found is not None
    assert found.auc_low <= 0.5 <= found.auc_high


# --- an attack never sees the truth -------------------------------------------------------------

ALLOWED = {"ServerView", "OutsiderView", "Candidates", "int", "Tensor", "AuxiliaryInfo"}
ALLOWED |= {"ManipulatedModel", "MaliciousServer", "MembershipSignals", "ClientSignals"}
ALLOWED |= {"ActiveSignals", "CanaryPrefix"}
ALLOWED |= {"Iterator[ReconstructedBatch]", "Iterator[UpdateEstimate]"}


@pytest.mark.parametrize("name", PRIVACY_ATTACKS)
def test_a_spy_is_given_views_and_nothing_private(name: str) -> None:
    annotations = dict(PRIVACY_ATTACKS[name].__call__.__annotations__)
    assert set(annotations.values()) <= ALLOWED
    if issubclass(PRIVACY_ATTACKS[name], ActiveReconstructionAttack):
        assert set(PRIVACY_ATTACKS[name].plant.__annotations__.values()) <= ALLOWED
    if issubclass(PRIVACY_ATTACKS[name], ActiveMembershipAttack):
        assert set(PRIVACY_ATTACKS[name].provoke.__annotations__.values()) <= ALLOWED
    if issubclass(PRIVACY_ATTACKS[name], PropertyInferenceAttack):
        assert set(PRIVACY_ATTACKS[name].sets.__annotations__.values()) <= ALLOWED
    if issubclass(
        PRIVACY_ATTACKS[name],
        (MembershipInferenceAttack, ServerMembershipAttack, ActiveMembershipAttack),
    ):
        assert set(PRIVACY_ATTACKS[name].signal.__annotations__.values()) <= ALLOWED


def _tensors(view: object) -> list[Tensor]:
    assert is_dataclass(view)
    held = [getattr(view, field.name) for field in fields(view)]
    return [value for value in held if isinstance(value, Tensor)]


def test_no_view_of_server_or_outsider_holds_a_private_example() -> None:
    """Every tensor in them has the size of the model or of the cohort, none that of pictures."""
    moment = last(experiment(training__batch_size=4))
    size = experiment().architecture.size
    for view in (server_view(moment.transcript), outsider_view(moment.transcript)):
        assert all(tensor.shape[-1] in (size, 10) for tensor in _tensors(view))


def test_a_client_sees_the_model_and_its_own_data_only() -> None:
    moment, federation = last(experiment()), federated_dataset(experiment())
    view = client_view(moment.transcript, federation, 3)
    assert torch.equal(view.inputs, as_floats(federation.inputs[federation.held(3)]))
    assert torch.equal(view.sent, moment.transcript.sent)


@contextmanager
def poisoned_truth(now: Experiment) -> Iterator[None]:
    """All that is private becomes something else: who holds what, the examples, their labels.

    Public test examples stay as they are: an attacker may know them.
    """
    federation = federated_dataset(now)
    private = [federation.inputs, federation.labels, federation.index, federation.sizes]
    before = [tensor.clone() for tensor in private]
    for tensor in private:
        tensor.fill_(1)
    try:
        yield
    finally:
        for tensor, was in zip(private, before, strict=True):
            tensor.copy_(was)


def told(spy: ReconstructionAttack, view: ServerView, known: AuxiliaryInfo) -> list[list[object]]:
    """Every guess, field by field."""
    guesses = spy(view, 0, known)
    return [[getattr(guess, field.name) for field in fields(guess)] for guess in guesses]


@pytest.mark.parametrize(
    "name", [n for n in PRIVACY_ATTACKS if issubclass(PRIVACY_ATTACKS[n], ReconstructionAttack)]
)
def test_a_reconstruction_does_not_change_when_the_truth_does(name: str) -> None:
    """The same view beside a poisoned truth gives the same guesses, to the last bit."""
    searches = "iterations" in PRIVACY_ATTACKS[name].model_fields
    spy = PRIVACY_ATTACKS[name].model_validate({"iterations": 20} if searches else {})
    assert isinstance(spy, ReconstructionAttack)
    now = suited(name)
    moment = last(now)
    view, known = server_view(moment.transcript), auxiliary_info(now, 1)
    if isinstance(spy, ActiveReconstructionAttack):
        planted = spy.plant(view, known)
        inputs, labels = federated_dataset(now).examples(torch.arange(64))  # of every class
        view = view_of(now, 1, planted.network, planted.sent, inputs, labels)
    first = told(spy, view, known)
    with poisoned_truth(now):
        assert not torch.equal(
            federated_dataset(now).inputs, DATA_SOURCES[now.data.source.kind]().load().inputs
        )
        again = told(spy, view, known)
    assert len(first) == len(again) > 0
    for one, other in zip(first, again, strict=True):
        for mine, yours in zip(one, other, strict=True):
            same = torch.equal(mine, yours) if isinstance(mine, Tensor) else mine == yours  # type: ignore[arg-type]
            assert same


def test_poisoned_truth_would_be_noticed() -> None:
    """The judge, who does look at the truth, scores the very same guess otherwise."""
    now = experiment(model__kind="mlp")
    view = server_view(last(now).transcript)
    *_, guess = PRIVACY_ATTACKS["first-layer"]()(view, 0, AuxiliaryInfo.nothing(view.network))  # type: ignore[operator]
    honest = reconstruction_scorer(now, 1, 0).score(guess)
    with poisoned_truth(now):
        assert reconstruction_scorer(now, 1, 0).score(guess).psnr < honest.psnr - 30


def test_membership_scores_do_not_depend_on_who_is_a_member(overfitted: RoundResult) -> None:
    """Each candidate's score follows from the model and the candidate alone."""
    federation = federated_dataset(experiment(OVERFITTED))
    order = torch.randperm(500, generator=torch.Generator().manual_seed(0))
    inputs, labels = as_floats(federation.inputs[:500]), federation.labels[:500]
    view = outsider_view(overfitted.transcript)
    spy = PRIVACY_ATTACKS["loss-threshold"]()
    assert isinstance(spy, MembershipInferenceAttack)
    scores = spy.signal(view, Candidates(inputs, labels))
    mixed = spy.signal(view, Candidates(inputs[order], labels[order]))
    assert torch.allclose(scores[order], mixed, atol=1e-5)


# --- how an attack runs -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dlg", "idlg", "inverting-gradients"])
def test_the_reconstruction_develops_step_by_step(name: str) -> None:
    spy = PRIVACY_ATTACKS[name].model_validate({"iterations": 100})
    glimpses: list[AttackProgress] = list(run_reconstruction(spy, last(experiment()), 0))  # type: ignore[arg-type]
    steps = [glimpse.step for glimpse in glimpses]
    objectives = [glimpse.objective for glimpse in glimpses if glimpse.objective is not None]
    assert steps == sorted(steps)
    assert len(set(steps)) >= 10
    assert objectives == sorted(objectives, reverse=True)
    assert [glimpse.result is not None for glimpse in glimpses] == [False] * (len(steps) - 1) + [
        True
    ]


@pytest.mark.parametrize(
    "name",
    [
        "loss-threshold",
        *(n for n in PRIVACY_ATTACKS if issubclass(PRIVACY_ATTACKS[n], ReconstructionAttack)),
    ],
)
def test_a_result_survives_json(name: str, overfitted: RoundResult) -> None:
    if issubclass(PRIVACY_ATTACKS[name], MembershipInferenceAttack):
        result = exposure(overfitted)
    else:
        searches = "iterations" in PRIVACY_ATTACKS[name].model_fields
        few = {"iterations": 20} if searches else {}
        result = attack(name, last(suited(name)), **few)
    assert AttackResult.model_validate_json(result.model_dump_json()) == result
    assert all(isinstance(line, str) for line in result.lines())


def test_a_client_whose_update_did_not_arrive_cannot_be_attacked() -> None:
    moment = last(experiment(network__dropout=0.5))
    gone = moment.record.lost[0]
    with pytest.raises(SettingError, match=f"client {gone} sent nothing in round 1: choose from"):
        attack("idlg", moment, gone)


def test_an_outsider_holds_the_released_model() -> None:
    moment = last(experiment())
    view = outsider_view(moment.transcript)
    assert isinstance(view, OutsiderView)
    assert torch.equal(view.model, moment.state.model)
    assert replace(view, round=1) is not view
