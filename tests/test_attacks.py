"""Spies: exact where they must be, and blind where a defence stands."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

import pytest
import torch

from attacks import SPIES
from attacks.gradients import label_counts, observe
from lab.assembly import assemble
from lab.batches import touched
from lab.engine import Moment, begin
from lab.federation import as_floats
from lab.inference import infer
from lab.knowledge import known_of
from lab.parts import (
    Inference,
    Reconstruction,
)
from lab.settings import SettingError
from lab.trial import Glimpse, Result, reconstruct
from lab.views import (
    Candidates,
    Known,
    OutsiderView,
    outsider_view,
    server_view,
)
from tests.depth import few
from tests.spies import OVERFITTED, attack, experiment, gain, last, psnr, suited

# --- exact identities -----------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["fashion-mnist", "photos", "faces", "digits"])
def test_a_dense_first_layer_gives_one_picture_away_exactly(source: str) -> None:
    moment = last(experiment(model__kind="mlp", data__source=source))
    for client in range(5):
        result = attack("first-layer", moment, client)
        assert psnr(result) > 60
        assert result.likeness is not None
        assert result.likeness.labels == 1.0
        assert result.likeness.verdict == "exact"


def test_a_dense_first_layer_gives_a_patients_record_away() -> None:
    moment = last(
        experiment(
            model__kind="logistic", data__source="heart", data__split="natural", data__clients=4
        )
    )
    found = attack("first-layer", moment).dossier
    assert found is not None
    assert found.verdict.startswith("exact")


def test_first_layer_refuses_a_model_that_begins_with_a_convolution() -> None:
    moment = last(experiment())
    with pytest.raises(SettingError, match="lenet begins with a convolution: use idlg"):
        attack("first-layer", moment)


@pytest.mark.parametrize("kind", ["logistic", "mlp", "cnn", "lenet"])
def test_the_label_of_one_example_is_read_off_the_last_bias(kind: str) -> None:
    moment = last(experiment(model__kind=kind))
    federation = assemble(experiment())
    view, known = server_view(moment.transcript), known_of(moment.state.experiment, 1)
    for client in range(10):
        found = label_counts(view, observe(view, client), known)
        held = federation.held(client)
        used = held[torch.from_numpy(touched(moment.state.experiment, 1, client, len(held)))]
        assert torch.equal(found, torch.bincount(federation.labels[used], minlength=10))
    glimpse = next(reconstruct(SPIES["idlg"](iterations=10, restarts=1), moment, 0))  # type: ignore[arg-type]
    assert glimpse.likeness is not None
    assert glimpse.likeness.labels == 1.0
    assert len(federation.labels) == 10_000


@pytest.mark.deep
def test_label_counts_of_an_untrained_model_are_exact_with_repeated_labels() -> None:
    moment = last(experiment(model__kind="cnn", training__batch_size=32))
    now, view = (
        experiment(model__kind="cnn", training__batch_size=32),
        server_view(moment.transcript),
    )
    federation = assemble(now)
    for client in range(10):
        seen = observe(view, client)
        assert seen.images == 32
        found = label_counts(view, seen, known_of(now, 1))
        held = federation.held(client)
        used = held[torch.from_numpy(touched(now, 1, client, len(held)))]
        true = torch.bincount(federation.labels[used], minlength=10)
        assert int((found - true).abs().sum()) <= 2


# --- numbers that must be reached -----------------------------------------------------------------


@pytest.mark.parametrize("client", few(range(3), 0))
def test_idlg_recovers_pictures_from_lenet_above_30_db(client: int) -> None:
    assert psnr(attack("idlg", last(experiment()), client)) > 30


def test_idlg_still_does_after_training() -> None:
    moment = last(experiment(data__source="faces", training__rounds=15))
    assert psnr(attack("idlg", moment)) > 30


@pytest.mark.deep
def test_idlg_takes_its_time_over_colour() -> None:
    moment = last(experiment(data__source="photos"))
    assert psnr(attack("idlg", moment, seconds=600)) > 30


@pytest.mark.parametrize("kind", [pytest.param("cnn", marks=pytest.mark.deep), "mlp"])
def test_inverting_gradients_recognises_pictures_through_relu(kind: str) -> None:
    moment = last(experiment(model__kind=kind))
    found = [attack("inverting-gradients", moment, client, iterations=300) for client in (0, 3, 5)]
    assert sorted(map(psnr, found))[1] > 22
    assert min(map(gain, found)) > 3


# --- defences, against the same attack ------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "noise"),
    few(
        product(("idlg", "inverting-gradients"), ("client", "example"), (0.1, 1.0)),
        ("idlg", "client", 0.1),
        ("inverting-gradients", "example", 0.1),
    ),
)
def test_noise_leaves_no_more_than_a_guess(name: str, kind: str, noise: float) -> None:
    moment = last(experiment(privacy__kind=kind, privacy__noise=noise))
    settings = {"iterations": 100, "restarts": 1} if name == "idlg" else {"iterations": 150}
    sent = [client for client in range(10) if not empty(moment, client)]
    for client in sent[:2]:
        result = attack(name, moment, client, **settings)
        assert gain(result) < 1
        assert result.likeness is not None
        assert result.likeness.verdict.startswith("no better than a guess")
    assert len(sent) >= 2


def empty(moment: Moment, client: int) -> bool:
    """Whether the client drew an empty Poisson batch."""
    now = moment.state.experiment
    return not len(touched(now, 1, client, int(assemble(now).sizes[client])))


def test_an_empty_batch_cannot_be_attacked_and_it_is_said_why() -> None:
    moment = last(experiment(privacy__kind="example", privacy__noise=1.0))
    client = next(client for client in range(10) if empty(moment, client))
    with pytest.raises(SettingError, match=f"client {client} drew an empty batch in round 1"):
        attack("idlg", moment, client)


def test_noise_leaves_no_more_than_a_guess_of_a_dense_layer() -> None:
    moment = last(experiment(model__kind="mlp", privacy__kind="client", privacy__noise=0.5))
    assert max(gain(attack("first-layer", moment, client)) for client in range(5)) < 1


@pytest.mark.parametrize("name", ["first-layer", pytest.param("idlg", marks=pytest.mark.deep)])
def test_secure_aggregation_gives_the_attack_the_sum_and_nothing_else(name: str) -> None:
    kind = "mlp" if name == "first-layer" else "lenet"
    masked = last(experiment(model__kind=kind, secure_aggregation__enabled=True))
    plain = last(experiment(model__kind=kind))
    view = server_view(masked.transcript)
    assert view.senders == (tuple(range(10)),)
    assert torch.allclose(view.rows[0], plain.transcript.delivery.rows.mean(dim=0), atol=1e-5)
    spy = SPIES[name].model_validate(
        {} if name == "first-layer" else {"iterations": 60, "restarts": 1}
    )
    guesses = []
    for client in range(3):
        *_, glimpse = reconstruct(spy, masked, client)  # type: ignore[arg-type]
        assert glimpse.result is not None
        assert glimpse.likeness is not None
        assert glimpse.result.declared["sees"] == "the sum over the cohort only"
        assert not glimpse.likeness.verdict.startswith(("exact", "recognisable"))
        *_, guess = spy(view, client, Known.nothing(view.network))  # type: ignore[operator]
        guesses.append(guess.inputs)
    # One row for everybody, so one guess for everybody: nothing points at a client.
    assert all(torch.equal(guess, guesses[0]) for guess in guesses)


# --- membership -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def overfitted() -> Moment:
    return last(experiment(OVERFITTED))


@cache
def exposure(moment: Moment) -> Result:
    spy = SPIES["loss-threshold"]()
    assert isinstance(spy, Inference)
    (glimpse,) = infer(spy, moment.state)
    assert glimpse.result is not None
    return glimpse.result


def test_an_overfitted_model_betrays_its_members(overfitted: Moment) -> None:
    found = exposure(overfitted).exposure
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
    found = result.exposure
    assert found is not None
    assert found.ceiling_auc is not None
    assert found.auc_low <= 0.5 <= found.auc_high or found.auc_high <= found.ceiling_auc
    assert found.ceiling_auc < 0.75


def test_an_untrained_model_betrays_nobody() -> None:
    spy = SPIES["loss-threshold"]()
    assert isinstance(spy, Inference)
    (glimpse,) = infer(spy, begin(experiment(OVERFITTED)))
    assert glimpse.result is not None
    found = glimpse.result.exposure
    assert found is not None
    assert found.auc_low <= 0.5 <= found.auc_high


# --- an attack never sees the truth ---------------------------------------------------------------


def test_membership_scores_do_not_depend_on_who_is_a_member(overfitted: Moment) -> None:
    """Each candidate's score follows from the model and the candidate alone."""
    federation = assemble(experiment(OVERFITTED))
    order = torch.randperm(500, generator=torch.Generator().manual_seed(0))
    inputs, labels = as_floats(federation.inputs[:500]), federation.labels[:500]
    view = outsider_view(overfitted.transcript)
    spy = SPIES["loss-threshold"]()
    assert isinstance(spy, Inference)
    scores = spy.signal(view, Candidates(inputs, labels))
    mixed = spy.signal(view, Candidates(inputs[order], labels[order]))
    assert torch.allclose(scores[order], mixed, atol=1e-5)


# --- how an attack runs ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dlg", "idlg", "inverting-gradients"])
def test_the_reconstruction_develops_step_by_step(name: str) -> None:
    spy = SPIES[name].model_validate({"iterations": 50})
    glimpses: list[Glimpse] = list(reconstruct(spy, last(experiment()), 0))  # type: ignore[arg-type]
    steps = [glimpse.step for glimpse in glimpses]
    objectives = [glimpse.objective for glimpse in glimpses if glimpse.objective is not None]
    assert steps == sorted(steps)
    assert len(set(steps)) >= 10
    assert objectives == sorted(objectives, reverse=True)
    assert [glimpse.result is not None for glimpse in glimpses] == [False] * (len(steps) - 1) + [
        True
    ]


@pytest.mark.parametrize(
    "name", ["loss-threshold", *(n for n in SPIES if issubclass(SPIES[n], Reconstruction))]
)
def test_a_result_survives_json(name: str, overfitted: Moment) -> None:
    if issubclass(SPIES[name], Inference):
        result = exposure(overfitted)
    else:
        searches = "iterations" in SPIES[name].model_fields
        few = {"iterations": 20} if searches else {}
        result = attack(name, last(suited(name)), **few)
    assert Result.model_validate_json(result.model_dump_json()) == result
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
