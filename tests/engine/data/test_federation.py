"""Assembly: data is shared out as the experiment says, to honest and malicious clients."""

from __future__ import annotations

from itertools import chain, pairwise

import pytest
import torch

from lab.common.settings import SettingError
from lab.engine.data.federation import federated_dataset, strangers, training_data
from lab.engine.data.malicious_clients import malicious_clients
from lab.experiment.experiment import Experiment
from lab.interfaces.data import FederatedDataset
from tests.support.data import examples_of, forget, with_
from tests.support.data import experiment as experiment
from tests.support.data import no_data_of_the_user as no_data_of_the_user


def indices(federation: FederatedDataset) -> list[list[int]]:
    return [federation.held(client).tolist() for client in federation.everyone]


def held_by_anybody(experiment: Experiment) -> list[int]:
    return sorted(chain.from_iterable(indices(federated_dataset(experiment))))


# --- who holds what -----------------------------------------------------------------------------


def test_all_examples_are_shared_out_if_none_are_held_back() -> None:
    whole = with_(data__clients=12)
    assert held_by_anybody(whole) == list(range(1438))
    assert federated_dataset(whole).outsiders().tolist() == []


def test_so_many_examples_are_shared_out_as_were_asked_for(experiment: Experiment) -> None:
    held = held_by_anybody(experiment)
    assert len(set(held)) == len(held) == int(federated_dataset(experiment).sizes.sum()) == 300
    assert sorted(held + federated_dataset(experiment).outsiders().tolist()) == list(range(1438))


def test_more_examples_are_those_and_others(experiment: Experiment) -> None:
    few, many = (experiment.changed({"data.examples": count}) for count in (100, 200))
    assert set(held_by_anybody(few)) < set(held_by_anybody(many))


def test_another_split_shares_out_the_same_examples(experiment: Experiment) -> None:
    other = experiment.changed({"data.partition.kind": "shards"})
    assert held_by_anybody(other) == held_by_anybody(experiment)
    assert indices(federated_dataset(other)) != indices(federated_dataset(experiment))


def test_the_same_experiment_is_the_same_federation(experiment: Experiment) -> None:
    one = indices(federated_dataset(experiment))
    forget()
    assert indices(federated_dataset(experiment)) == one
    assert indices(federated_dataset(experiment.changed({"seed": 1}))) != one


def test_what_is_no_matter_of_data_leaves_data_alone(experiment: Experiment) -> None:
    other = experiment.changed(
        {"training.rounds": 3, "model.kind": "logistic", "aggregation.rule": "median"}
    )
    assert federated_dataset(other) is federated_dataset(experiment)


def test_federations_of_one_source_share_one_pool() -> None:
    forget()
    one, other = (
        federated_dataset(with_(data__clients=5)),
        federated_dataset(with_(data__partition="shards")),
    )
    assert one.inputs.data_ptr() == other.inputs.data_ptr()
    assert one.inputs.shape == (1438, 1, 8, 8)


def test_four_hospitals_are_four_clients() -> None:
    federation = federated_dataset(
        with_(data__source="heart", data__partition__kind="natural", data__clients=4)
    )
    owners = examples_of("heart").groups
    assert federation.sizes.tolist() == [200, 194, 81, 132]
    for client in federation.everyone:
        assert owners[federation.held(client)].unique().tolist() == [client]


def test_a_few_patients_stay_with_their_hospital() -> None:
    four = {"data__source": "heart", "data__partition__kind": "natural", "data__clients": 4}
    federation = federated_dataset(with_(data__examples=200, **four))
    assert int(federation.sizes.sum()) == 200
    for client in federation.everyone:
        assert (examples_of("heart").groups[federation.held(client)] == client).all()


def test_a_few_examples_are_split_by_their_own_labels() -> None:
    """Ten shards of ten examples, sorted by label: two classes meet in one, seldom three."""
    settings = {
        "data__partition__kind": "shards",
        "data__partition__shards": 1,
        "data__clients": 10,
    }
    counts = federated_dataset(with_(data__examples=100, **settings)).label_counts(10)
    assert (counts > 0).sum() <= 10 + 9
    assert counts.sum(dim=1).tolist() == [10] * 10


def test_shards_of_a_few_examples_leave_no_client_without() -> None:
    with pytest.raises(SettingError, match="shards"):
        federated_dataset(
            with_(data__partition__kind="shards", data__clients=20, data__examples=30)
        )


# --- who is malicious ---------------------------------------------------------------------------


def test_more_malicious_clients_are_those_and_others(experiment: Experiment) -> None:
    bad = [malicious_clients(experiment.changed({"adversary.count": count})) for count in range(13)]
    assert [len(set(each)) for each in bad] == list(range(13))
    for fewer, more in pairwise(bad):
        assert set(fewer) < set(more)
        assert more == tuple(sorted(more))


def test_who_is_malicious_follows_from_the_seed() -> None:
    drawn = {malicious_clients(with_(seed=seed, adversary__count=4)) for seed in range(8)}
    assert len(drawn) == 8


def test_malicious_clients_train_on_what_their_poison_made(experiment: Experiment) -> None:
    flipped = experiment.changed({"adversary.count": 3, "adversary.attack": "label-flip"})
    honest, bad = federated_dataset(flipped), training_data(flipped)
    attackers = malicious_clients(flipped)
    for client in honest.everyone:
        mine, theirs = honest.labels[honest.held(client)], bad.labels[bad.held(client)]
        assert torch.equal(theirs, 9 - mine if client in attackers else mine)
        assert torch.equal(bad.inputs[bad.held(client)], honest.inputs[honest.held(client)])
        if client not in attackers:
            assert bad.held(client).tolist() == honest.held(client).tolist()
    assert len(bad.labels) == 1438
    assert torch.equal(bad.outsiders(), honest.outsiders())


def test_a_backdoor_marks_its_share_of_the_attackers_pictures() -> None:
    settings = {"adversary__attack__target": 3, "adversary__attack__pixels": 2}
    marked = with_(adversary__count=1, adversary__attack__kind="backdoor", **settings)
    (attacker,), honest, bad = (
        malicious_clients(marked),
        federated_dataset(marked),
        training_data(marked),
    )
    mine, theirs = (each.inputs[each.held(attacker)] for each in (honest, bad))
    assert (theirs[::2, :, -2:, -2:] == 255).all()  # a half of them, evenly spread
    assert (bad.labels[bad.held(attacker)][::2] == 3).all()
    assert torch.equal(theirs[1::2], mine[1::2])
    assert torch.equal(theirs[:, :, :-2], mine[:, :, :-2])


def test_without_attackers_everybody_is_honest(experiment: Experiment) -> None:
    honest, same = federated_dataset(experiment), training_data(experiment)
    assert indices(same) == indices(honest)
    assert torch.equal(same.labels, honest.labels)


# --- pictures of another data set -----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mnist-5k", "digits", "fashion-mnist", "photos"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 64, 64), (3, 10, 20)])
def test_strangers_look_like_the_experiments_own_pictures(
    kind: str, shape: tuple[int, ...]
) -> None:
    found = strangers(kind, 1, shape, test=False)
    assert found.shape == (int((examples_of(kind).labels == 1).sum()), *shape)
    assert found.dtype == torch.float32
    assert found.min() >= 0
    assert found.max() <= 1


def test_strangers_of_the_same_shape_stay_as_they_are() -> None:
    held = examples_of("mnist-5k")
    found = strangers("mnist-5k", 7, (1, 28, 28), test=True)
    kept = held.test_inputs[held.test_labels == 7].float() / 255
    assert torch.allclose(found, kept, atol=1e-6)


def test_grey_strangers_are_grey_in_colour_and_colours_are_averaged() -> None:
    grey, colour = (strangers("digits", 7, (colours, 8, 8), test=True) for colours in (1, 3))
    assert torch.equal(colour, grey.expand(-1, 3, -1, -1))
    photo, flat = (strangers("photos", 0, (colours, 64, 64), test=False) for colours in (3, 1))
    assert torch.allclose(flat, photo.mean(dim=1, keepdim=True), atol=1e-6)


def test_a_smaller_stranger_is_as_bright() -> None:
    """Each pixel is a mean of what it stands for, and no sample of it."""
    large, small = (strangers("mnist-5k", 7, (1, side, side), test=False) for side in (28, 7))
    blocks = torch.nn.functional.avg_pool2d(large, 4)
    assert torch.corrcoef(torch.stack([blocks.flatten(), small.flatten()]))[0, 1] > 0.97
    assert float(small.mean()) == pytest.approx(float(large.mean()), rel=0.02)


@pytest.mark.parametrize("kind", ["mnist-5k", "digits", "fashion-mnist"])
def test_no_stranger_is_trained_on_and_tested_with(kind: str) -> None:
    train, test = (strangers(kind, 7, (1, 28, 28), test=test) for test in (False, True))
    assert len(train) > len(test) > 20
    assert not set(map(bytes, test.numpy())) & set(map(bytes, train.numpy()))
