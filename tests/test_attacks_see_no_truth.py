"""Spies are never shown the truth, and do not change when it does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass

import pytest
import torch
from torch import Tensor

from attacks import SPIES
from datasets import SOURCES
from lab import Experiment
from lab.assembly import assemble
from lab.federation import as_floats
from lab.knowledge import known_of
from lab.own import view_of
from lab.parts import (
    Inference,
    Provocation,
    Reconstruction,
    Subversion,
    Surveillance,
    Survey,
)
from lab.trial import judge_of
from lab.views import (
    Known,
    ServerView,
    client_view,
    outsider_view,
    server_view,
)
from tests.spies import experiment, last, suited

ALLOWED = {"ServerView", "OutsiderView", "Candidates", "int", "Iterator[Guess]", "Tensor"}
ALLOWED |= {"Known", "Planted", "Siege", "Iterator[Claim]", "Evidence", "Watched", "Opening"}
ALLOWED |= {"Provoked"}


@pytest.mark.parametrize("name", SPIES)
def test_a_spy_is_given_views_and_nothing_private(name: str) -> None:
    annotations = dict(SPIES[name].__call__.__annotations__)
    assert set(annotations.values()) <= ALLOWED
    if issubclass(SPIES[name], Subversion):
        assert set(SPIES[name].plant.__annotations__.values()) <= ALLOWED
    if issubclass(SPIES[name], Provocation):
        assert set(SPIES[name].provoke.__annotations__.values()) <= ALLOWED
    if issubclass(SPIES[name], Survey):
        assert set(SPIES[name].sets.__annotations__.values()) <= ALLOWED
    if issubclass(SPIES[name], (Inference, Surveillance, Provocation)):
        assert set(SPIES[name].signal.__annotations__.values()) <= ALLOWED


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
    moment, federation = last(experiment()), assemble(experiment())
    view = client_view(moment.transcript, federation, 3)
    assert torch.equal(view.inputs, as_floats(federation.inputs[federation.held(3)]))
    assert torch.equal(view.sent, moment.transcript.sent)


@contextmanager
def poisoned_truth(now: Experiment) -> Iterator[None]:
    """All that is private becomes something else: who holds what, the examples, their labels.

    Public test examples stay as they are: an attacker may know them.
    """
    federation = assemble(now)
    private = [federation.inputs, federation.labels, federation.index, federation.sizes]
    before = [tensor.clone() for tensor in private]
    for tensor in private:
        tensor.fill_(1)
    try:
        yield
    finally:
        for tensor, was in zip(private, before, strict=True):
            tensor.copy_(was)


def told(spy: Reconstruction, view: ServerView, known: Known) -> list[list[object]]:
    """Every guess, field by field."""
    guesses = spy(view, 0, known)
    return [[getattr(guess, field.name) for field in fields(guess)] for guess in guesses]


@pytest.mark.parametrize("name", [n for n in SPIES if issubclass(SPIES[n], Reconstruction)])
def test_a_reconstruction_does_not_change_when_the_truth_does(name: str) -> None:
    """The same view beside a poisoned truth gives the same guesses, to the last bit."""
    searches = "iterations" in SPIES[name].model_fields
    spy = SPIES[name].model_validate({"iterations": 20} if searches else {})
    assert isinstance(spy, Reconstruction)
    now = suited(name)
    moment = last(now)
    view, known = server_view(moment.transcript), known_of(now, 1)
    if isinstance(spy, Subversion):
        planted = spy.plant(view, known)
        inputs, labels = assemble(now).examples(torch.arange(64))  # of every class
        view = view_of(now, 1, planted.network, planted.sent, inputs, labels)
    first = told(spy, view, known)
    with poisoned_truth(now):
        assert not torch.equal(assemble(now).inputs, SOURCES[now.data.source.kind]().load().inputs)
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
    *_, guess = SPIES["first-layer"]()(view, 0, Known.nothing(view.network))  # type: ignore[operator]
    honest = judge_of(now, 1, 0).score(guess)
    with poisoned_truth(now):
        assert judge_of(now, 1, 0).score(guess).psnr < honest.psnr - 30
