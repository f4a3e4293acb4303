"""Obedience: what the model says of examples as the attacker prepares them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from attacks import POISONING_ATTACKS
from lab import Experiment
from lab.attack_runs.poisoning.backdoor_samples import SHOWN, BackdoorSample, backdoor_samples
from lab.engine.data.federation import federated_dataset
from lab.engine.run import initial_state, run
from lab.engine.run_state import RunState
from lab.models.inputs import as_floats
from lab.models.metrics import evaluate

SMALL = Experiment().changed(
    {
        "data.source": "digits",
        "data.clients": 5,
        "model.kind": "logistic",
        "training.rounds": 5,
        "training.epochs": 5,
        "training.rate": 0.5,
        "adversary.count": 2,
        "adversary.attack": {"kind": "backdoor", "target": 3, "pixels": 3, "boost": 3.0},
    }
)


def after(experiment: Experiment) -> RunState:
    *_, moment = run(experiment)
    return moment.state


def label(name: str) -> int:
    return SMALL.data.source.classes.index(name)


def test_samples_are_one_of_each_other_class_with_and_without_the_trigger() -> None:
    found = backdoor_samples(after(SMALL))
    assert len(found) == SHOWN
    assert [label(each.truth) for each in found] == [0, 1, 2, 4, 5, 6, 7, 8]
    for each in found:
        assert each.plain is not None
        assert each.shown[:, -3:, -3:].min() == 1
        assert torch.equal(each.plain[:, :-3], each.shown[:, :-3])
        assert label(each.wanted) == 3


def test_samples_say_what_the_model_says() -> None:
    state = after(SMALL)
    network = state.experiment.architecture
    for each in backdoor_samples(state):
        assert each.plain is not None
        for picture, said in ((each.plain, each.before), (each.shown, each.says)):
            told = torch.tensor([label(said)])
            assert evaluate(network, state.model, picture.unsqueeze(0), told)[0] == 1


def test_a_backdoor_is_obeyed_and_a_fresh_model_knows_nothing_of_it() -> None:
    state = after(SMALL)
    assert all(each.says == each.wanted for each in backdoor_samples(state))
    assert all("obeys" in each.caption for each in backdoor_samples(state))
    fresh = backdoor_samples(replace(initial_state(SMALL), round=1))
    assert not all(each.says == each.wanted for each in fresh)


def test_captions_say_what_was_read() -> None:
    picture = torch.zeros(1, 2, 2)
    plain = BackdoorSample(picture, picture + 1, "cat", before="cat", says="dog", wanted="dog")
    assert plain.caption == "cat: without the trigger cat, with it dog, obeys"
    unmarked = BackdoorSample(picture, picture, "cat", before="owl", says="owl", wanted="dog")
    assert unmarked.caption == "cat: read as owl, does not obey"
    strange = BackdoorSample(None, picture, "", before="dog", says="dog", wanted="dog")
    assert strange.caption == "read as dog, obeys"


def test_pictures_of_another_data_set_have_no_class(monkeypatch: pytest.MonkeyPatch) -> None:
    def goal(poison: object, inputs: Tensor, labels: Tensor, outside: Tensor | None = None
             ) -> tuple[Tensor, Tensor]:  # fmt: skip
        return inputs.flip(2), labels * 0 + 7

    monkeypatch.setattr(
        POISONING_ATTACKS["backdoor"], "stranger", property(lambda poison: "digits")
    )
    monkeypatch.setattr(POISONING_ATTACKS["backdoor"], "goal", goal)
    found = backdoor_samples(after(SMALL))
    assert len(found) == SHOWN
    first = as_floats(federated_dataset(SMALL).test_inputs[:1]).flip(2)[0]
    assert torch.equal(found[0].shown, first)
    assert all(each.plain is None and not each.truth for each in found)
    assert {each.wanted for each in found} == {SMALL.data.source.classes[7]}


@pytest.mark.parametrize(
    "settings",
    [
        {"adversary.count": 0},
        {"adversary.attack": "sign-flip"},
    ],
)
def test_an_attacker_without_a_goal_has_no_samples(settings: dict[str, object]) -> None:
    assert backdoor_samples(replace(initial_state(SMALL.changed(settings)), round=1)) == ()
