"""Planting: chosen clients hold chosen examples, and nothing else of the run changes."""

from __future__ import annotations

import pytest
import torch

from lab import Experiment, run
from lab.common.settings import SettingError
from lab.engine.data.federation import federated_dataset, training_data
from lab.engine.data.injected_examples import (
    InjectedExamples,
    with_injected_examples,
    without_injected_examples,
)
from lab.experiment.experiment import SettingsChange
from tests.support.data import no_data_of_the_user as no_data_of_the_user
from tests.support.data import of_digits
from tests.support.experiment_files import refusal


def plant(client: int = 2, places: tuple[int, ...] = (5, 0)) -> InjectedExamples:
    inputs = torch.linspace(0, 1, len(places)).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    return InjectedExamples(client, torch.tensor(places), inputs, torch.arange(len(places)))


def small(**settings: object) -> Experiment:
    return of_digits(**({"data__examples": 240, "training__rounds": 2} | settings))


def test_a_client_holds_its_plants_where_they_were_put_and_all_else_stays() -> None:
    now = small()
    before, after = (
        federated_dataset(now),
        federated_dataset(with_injected_examples(now, [plant()])),
    )
    mine = before.held(2)[[5, 0]]
    assert after.inputs[mine[0]].eq(0).all()
    assert after.inputs[mine[1]].eq(255 if after.inputs.dtype == torch.uint8 else 1).all()
    assert after.labels[mine].tolist() == [0, 1]
    rest = torch.ones(len(before.labels), dtype=torch.bool)
    rest[mine] = False
    assert torch.equal(before.inputs[rest], after.inputs[rest])
    assert torch.equal(before.labels[rest], after.labels[rest])
    assert torch.equal(before.index, after.index)


def test_what_was_planted_before_is_left_as_it_was() -> None:
    """The honest federation is cached, and a planted one after it must not change it."""
    now = small()
    inputs = federated_dataset(now).inputs.clone()
    federated_dataset(with_injected_examples(now, [plant()]))
    assert torch.equal(federated_dataset(now).inputs, inputs)
    assert without_injected_examples(with_injected_examples(now, [plant()])) == now


def test_its_own_examples_planted_again_give_the_same_run() -> None:
    """So a planted run differs by its plants alone: batches, cohorts and noise are the same."""
    now = small(privacy__kind="example", privacy__epsilon=3.0, training__clients_per_round=3)
    held = federated_dataset(now).held(2)
    inputs, labels = federated_dataset(now).examples(held)
    same = InjectedExamples(2, torch.arange(len(held)), inputs, labels)
    one, other = (list(run(each)) for each in (now, with_injected_examples(now, [same])))
    assert torch.equal(one[-1].state.model, other[-1].state.model)
    assert [each.record for each in one] == [each.record for each in other]


def test_a_plant_moves_the_model_only_from_the_round_on_in_which_its_client_takes_part() -> None:
    now = small(training__clients_per_round=2, training__rounds=4)
    asked = [moment.record.clients for moment in run(now)]
    late = next(one for each in asked[1:] for one in each if one not in asked[0])
    runs = [list(run(each)) for each in (now, with_injected_examples(now, [plant(client=late)]))]
    first = next(round for round, clients in enumerate(asked) if late in clients)
    for round, (one, other) in enumerate(zip(*runs, strict=True)):
        assert torch.equal(one.state.model, other.state.model) == (round < first)


def test_plants_outlast_a_change_in_mid_run() -> None:
    change = SettingsChange(round=2, set={"training.rate": 0.05})
    now = with_injected_examples(small().model_copy(update={"changes": (change,)}), [plant()])
    assert now.at(2).training.rate == 0.05
    assert federated_dataset(now.at(2)).labels.equal(federated_dataset(now).labels)
    assert not federated_dataset(without_injected_examples(now).at(2)).labels.equal(
        federated_dataset(now).labels
    )
    *_, last = run(now)
    assert last.record.round == 2


@pytest.mark.parametrize("split", ["dirichlet", "shards", "feature", "concept"])
def test_who_holds_what_and_how_it_looks_does_not_depend_on_plants(split: str) -> None:
    """A split that goes by labels would otherwise deal planted ones out anew."""
    now = small(data__partition__kind=split)
    before, after = (
        federated_dataset(now),
        federated_dataset(with_injected_examples(now, [plant(places=(0,))])),
    )
    assert torch.equal(before.index, after.index)
    changed = (before.inputs != after.inputs).flatten(1).any(dim=1).nonzero().flatten().tolist()
    assert changed == [int(before.held(2)[0])]


def test_a_malicious_client_poisons_its_plants_too() -> None:
    now = small(adversary__count=1, adversary__clients=[2], adversary__attack__kind="label-flip")
    label = training_data(with_injected_examples(now, [plant(places=(0,))])).labels[
        federated_dataset(now).held(2)[0]
    ]
    assert int(label) == 9  # label-flip makes 9 - 0 of a planted 0


def test_a_planted_experiment_is_written_as_it_was_without_plants() -> None:
    now = small()
    assert Experiment.from_json(with_injected_examples(now, [plant()]).to_json()) == now
    assert with_injected_examples(now, [plant()]) != with_injected_examples(now, [plant()])


@pytest.mark.parametrize(
    ("plants", "told"),
    [
        ([plant(), plant()], "two plants"),
        ([plant(client=6)], "give 0 to 5"),
        ([plant(places=(1, 1))], "each once"),
        (
            [InjectedExamples(1, torch.arange(2), torch.zeros(2, 8, 8), torch.zeros(2).long())],
            "in shape",
        ),
    ],
)
def test_what_cannot_be_planted_is_refused(plants: list[InjectedExamples], told: str) -> None:
    assert told in refusal(lambda: with_injected_examples(small(), plants))


def test_a_place_that_the_client_has_not_is_refused() -> None:
    with pytest.raises(SettingError, match=r"it holds 40 examples: give 0 to 39"):
        federated_dataset(with_injected_examples(small(), [plant(places=(40,))]))
