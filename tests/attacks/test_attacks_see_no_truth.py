"""Spies are never shown the truth, and do not change when it does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass

import pytest
import torch
from torch import Tensor

from attacks import PRIVACY_ATTACKS
from datasets import DATA_SOURCES
from lab import Experiment
from lab.attack_runs.reconstruction.own_example import view_of
from lab.attack_runs.shared.auxiliary_info import auxiliary_info
from lab.attack_runs.shared.ground_truth import reconstruction_scorer
from lab.engine.data.federation import federated_dataset
from lab.interfaces.privacy_attacks import (
    ActiveMembershipAttack,
    ActiveReconstructionAttack,
    MembershipInferenceAttack,
    PropertyInferenceAttack,
    ReconstructionAttack,
    ServerMembershipAttack,
)
from lab.interfaces.views import AuxiliaryInfo, ServerView, client_view, outsider_view, server_view
from lab.models.inputs import as_floats
from tests.support.attacked_runs import experiment, last, suited

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
