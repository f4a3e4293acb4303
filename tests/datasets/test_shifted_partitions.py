"""Splits that shift: who else there is changes nobody's examples, and nobody's originals remain."""

from __future__ import annotations

import json
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import lab
from attacks import PRIVACY_ATTACKS
from datasets import DATA_SOURCES, PARTITIONS
from datasets.partitions.concept import Concept
from datasets.partitions.feature import Feature, blurred, turned
from lab import figures
from lab.attack_runs.membership.outsider import run_membership
from lab.attack_runs.reconstruction.reconstruction import run_reconstruction
from lab.common.random_streams import random_stream
from lab.common.settings import SettingError
from lab.engine.data.federation import federated_dataset, training_data
from lab.engine.data.malicious_clients import malicious_clients
from lab.engine.data.summary import FederationSummary
from lab.engine.run_state import RoundResult
from lab.experiment.experiment import Experiment
from lab.interfaces.attack_data import Candidates
from lab.interfaces.data import FederatedDataset, Partition
from lab.interfaces.privacy_attacks import MembershipInferenceAttack
from lab.interfaces.views import OutsiderView
from lab.models.inputs import as_floats

SHIFTING = [kind for kind, split in PARTITIONS.items() if split.shift is not Partition.shift]
OFF = {"rotation": 0, "blur": 0, "noise": 0, "ink": 0}
SEEDS = st.integers(0, 10**6)

Json = dict[str, Any]


def with_(kind: str, **settings: object) -> Experiment:
    """Few digits, so that outsiders are left: data__clients=3 -> data.clients = 3"""
    small = {"data.source": "digits", "data.clients": 6, "data.examples": 300}
    paths = {name.replace("__", "."): value for name, value in settings.items()}
    return Experiment().changed(small | {"data.partition.kind": kind} | paths)


def held_by(federation: FederatedDataset, client: int) -> tuple[Tensor, Tensor]:
    mine = federation.held(client)
    return federation.inputs[mine], federation.labels[mine]


@cache
def plain() -> FederatedDataset:
    return federated_dataset(with_("iid"))


def shifted(split: Partition, client: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Thirty digits and their labels, as that client of the split sees them."""
    inputs, labels = as_floats(plain().inputs[:30]), plain().labels[:30]
    return split.shift(client, inputs, labels, 10, partial(random_stream, seed, "shift"))


# --- promises of every split that shifts --------------------------------------------------------


def test_there_are_two() -> None:
    assert SHIFTING == ["feature", "concept"]


@pytest.mark.parametrize("kind", SHIFTING)
def test_the_shift_follows_from_the_seed(kind: str) -> None:
    """An odd client, since the first cluster of concepts is not shifted."""
    split = PARTITIONS[kind]()
    drawn = [torch.cat([one.flatten() for one in shifted(split, 1, seed)]) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("kind", SHIFTING)
def test_a_shift_leaves_its_input_alone(kind: str) -> None:
    inputs, labels = as_floats(plain().inputs[:30]), plain().labels[:30].clone()
    kept = inputs.clone(), labels.clone()
    PARTITIONS[kind]().shift(1, inputs, labels, 10, partial(random_stream, 0, "shift"))
    assert torch.equal(inputs, kept[0])
    assert torch.equal(labels, kept[1])


@pytest.mark.parametrize("kind", SHIFTING)
def test_every_client_holds_its_own_examples_as_it_sees_them(kind: str) -> None:
    """Its shift knows nothing of how many clients there are, so more of them change nobody's."""
    for clients in (6, 9):
        experiment = with_(kind, data__clients=clients)
        before, after = (
            federated_dataset(with_("iid", data__clients=clients)),
            federated_dataset(experiment),
        )
        for client in before.everyone:
            inputs, labels = held_by(before, client)
            inputs, labels = experiment.data.partition.shift(
                client, as_floats(inputs), labels, 10, partial(random_stream, 0, "shift")
            )
            assert torch.equal(held_by(after, client)[0], inputs.mul(255).round().byte())
            assert torch.equal(held_by(after, client)[1], labels)


@pytest.mark.parametrize("kind", SHIFTING)
def test_no_pool_grows_and_no_outsider_is_a_clients_original(kind: str) -> None:
    before, after = plain(), federated_dataset(with_(kind))
    assert after.inputs.shape == before.inputs.shape
    assert torch.equal(after.index, before.index)
    free = after.outsiders()
    assert len(free) == len(after.labels) - 300
    assert torch.equal(after.inputs[free], before.inputs[free])
    assert torch.equal(after.labels[free], before.labels[free])
    assert not set(free.tolist()) & set(torch.cat([*map(after.held, after.everyone)]).tolist())


@pytest.mark.parametrize("kind", SHIFTING)
def test_test_examples_stay_as_they_are(kind: str) -> None:
    after = federated_dataset(with_(kind))
    assert torch.equal(after.test_inputs, plain().test_inputs)
    assert torch.equal(after.test_labels, plain().test_labels)


@pytest.mark.parametrize("kind", SHIFTING)
def test_malicious_clients_poison_what_they_see(kind: str) -> None:
    experiment = with_(kind, adversary__count=2, adversary__attack="label-flip")
    honest, bad = federated_dataset(experiment), training_data(experiment)
    for client in honest.everyone:
        (inputs, labels), (fed, taught) = held_by(honest, client), held_by(bad, client)
        assert torch.equal(fed, inputs)
        assert torch.equal(
            taught, 9 - labels if client in malicious_clients(experiment) else labels
        )
    assert torch.equal(bad.outsiders(), honest.outsiders())


# --- training and attacks -----------------------------------------------------------------------


@cache
def first_round(kind: str) -> RoundResult:
    """Of one step on one example each, by a model whose first layer gives it away."""
    one_step = {"training__steps": 1, "training__batch_size": 1, "training__rounds": 1}
    return next(iter(lab.run(with_(kind, **one_step))))


@pytest.mark.parametrize("kind", SHIFTING)
def test_a_round_on_shifted_examples_works_and_differs(kind: str) -> None:
    model = first_round(kind).state.model
    assert model.isfinite().all()
    assert not torch.equal(model, first_round("iid").state.model)


@pytest.mark.parametrize("kind", SHIFTING)
def test_an_inversion_is_judged_by_what_the_client_sees(kind: str) -> None:
    (glimpse,) = list(
        run_reconstruction(PRIVACY_ATTACKS["first-layer"](), first_round(kind), client=1)
    )[-1:]
    own = as_floats(held_by(federated_dataset(with_(kind)), 1)[0])
    (private,) = glimpse.pictures["private"]
    assert any(torch.equal(private, picture) for picture in own)
    assert torch.allclose(glimpse.pictures["guess"][0], private, atol=1e-4)
    assert glimpse.score is not None
    assert glimpse.score.labels == 1


@pytest.mark.parametrize("kind", SHIFTING)
def test_the_members_of_a_trial_are_what_clients_see(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members come first, then who holds nothing, then test examples."""
    spy, given_ = PRIVACY_ATTACKS["loss-threshold"](), []
    assert isinstance(spy, MembershipInferenceAttack)
    usual = type(spy).signal

    def listening(self: MembershipInferenceAttack, view: OutsiderView, asked: Candidates) -> Tensor:
        given_.append(asked)
        return usual(self, view, asked)

    monkeypatch.setattr(type(spy), "signal", listening)
    list(run_membership(spy, first_round(kind).state))
    federation = federated_dataset(with_(kind))
    held = torch.cat([federation.held(client) for client in federation.everyone])
    assert torch.equal(given_[0].inputs[:300], as_floats(federation.inputs[held]))
    assert torch.equal(given_[0].labels[:300], federation.labels[held])
    assert len(given_[0].labels) == len(federation.labels) + len(federation.test_labels)


# --- feature ------------------------------------------------------------------------------------


def test_feature_with_everything_off_is_iid_bit_for_bit() -> None:
    off = federated_dataset(with_("feature").changed({f"data.partition.{name}": 0 for name in OFF}))
    assert torch.equal(off.inputs, plain().inputs)
    assert torch.equal(off.labels, plain().labels)
    assert torch.equal(off.index, plain().index)


@given(client=st.integers(0, 999), seed=SEEDS)
def test_feature_changes_pictures_and_no_labels(client: int, seed: int) -> None:
    inputs, labels = shifted(Feature(), client, seed)
    assert torch.equal(labels, plain().labels[:30])
    assert inputs.dtype == torch.float32
    assert inputs.isfinite().all()
    assert 0 <= inputs.min() <= inputs.max() <= 1
    assert not torch.equal(inputs, shifted(Feature(), client + 1, seed)[0])


@given(seed=SEEDS)
def test_switching_one_change_off_leaves_the_others_alone(seed: int) -> None:
    """Else a slider for noise would turn the pictures."""
    sharp = Feature(rotation=0, blur=0, noise=0)
    both = Feature(rotation=0, blur=2, noise=0)
    blur = random_stream(seed, "shift", 3).uniform(size=4)[2] * 2  # after ink and angle
    alone = shifted(sharp, 3, seed)[0].numpy()
    assert torch.allclose(shifted(both, 3, seed)[0], torch.from_numpy(blurred(alone, blur)))


@given(seed=SEEDS, strength=st.floats(0, 1))
def test_noise_is_no_stronger_than_asked_for(seed: int, strength: float) -> None:
    """A client's draw, around grey, where nothing is cut off."""
    grey, labels = torch.full((40, 1, 8, 8), 0.5), torch.zeros(40, dtype=torch.int64)
    noisy = Feature(**OFF | {"noise": strength / 5})
    seen, _ = noisy.shift(0, grey, labels, 10, partial(random_stream, seed, "shift"))
    assert seen.std() <= 1.1 * strength / 5 + 1e-6


@given(seed=SEEDS)
def test_ink_is_a_power_of_brightness_within_its_bounds(seed: int) -> None:
    grey, labels = torch.full((1, 1, 8, 8), 0.5), torch.zeros(1, dtype=torch.int64)
    inked = Feature(**OFF | {"ink": 1.0})
    seen, _ = inked.shift(0, grey, labels, 10, partial(random_stream, seed, "shift"))
    assert 0.5**2 <= seen.min() == seen.max() <= 0.5**0.5 + 1e-6


def test_black_and_white_need_no_ink() -> None:
    squares, labels = torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64)
    squares[1] = 1
    seen, _ = Feature(**OFF | {"ink": 4.0}).shift(0, squares, labels, 10, partial(random_stream, 0))
    assert torch.equal(seen, squares)


def test_angles_go_both_ways_and_no_further_than_asked_for() -> None:
    """A dot on the right of the middle tells the angle by where it goes."""
    dot = torch.zeros(1, 1, 65, 65)
    dot[..., 31:34, 59:62] = 1
    found = []
    for client in range(40):
        seen, _ = Feature(**OFF | {"rotation": 30}).shift(
            client, dot, torch.zeros(1, dtype=torch.int64), 10, partial(random_stream, 0, "shift")
        )
        rows, columns = np.indices((65, 65)) - 32
        up, right = ((-rows * seen[0, 0].numpy()).sum(), (columns * seen[0, 0].numpy()).sum())
        found.append(np.degrees(np.arctan2(up, right)))
    assert -31 < min(found) < -20
    assert 20 < max(found) < 31


@pytest.mark.parametrize("quarters", [-1, 0, 1, 2])
def test_a_quarter_turn_is_a_quarter_turn(quarters: int) -> None:
    pictures = np.random.default_rng(0).random((3, 2, 5, 5), dtype=np.float32)
    expected = np.rot90(pictures, quarters, axes=(-2, -1))
    assert np.allclose(turned(pictures, 90 * quarters), expected, atol=1e-6)


def test_a_turned_square_is_a_diamond_with_black_around() -> None:
    """By an eighth: half of a diagonal is the root of two halves of a side."""
    square = np.zeros((1, 1, 41, 41), np.float32)
    square[..., 10:31, 10:31] = 1
    diamond = turned(square, 45)[0, 0]
    assert diamond[20, 20] == 1
    assert diamond[20, 7] == pytest.approx(1, abs=0.05)  # 13 of 10.5 * 1.41 = 14.8 to the left
    assert diamond[11, 11] == 0  # a corner of the square
    assert diamond.sum() == pytest.approx(21 * 21, rel=0.02)
    assert turned(np.ones_like(square), 45)[0, 0, 0, 0] == 0


def test_a_turn_keeps_the_size_of_pictures_that_are_no_squares() -> None:
    assert turned(np.ones((2, 3, 5, 9), np.float32), 30).shape == (2, 3, 5, 9)


def test_blur_keeps_the_brightness_and_spreads_a_dot_as_a_bell() -> None:
    dot = np.zeros((2, 1, 21, 21), np.float32)
    dot[0, 0, 10, 10] = 1
    seen = blurred(dot, 1.5)
    assert seen[0].sum() == pytest.approx(1, abs=1e-5)
    assert seen[1].sum() == 0  # pictures are blurred each on its own
    fall = seen[0, 0, 10, 12] / seen[0, 0, 10, 10]
    assert fall == pytest.approx(np.exp(-(2**2) / (2 * 1.5**2)), rel=1e-3)
    noise = np.random.default_rng(0).random((1, 1, 8, 8), dtype=np.float32)
    assert blurred(noise, 3.0).mean() == pytest.approx(noise.mean(), abs=1e-5)  # at edges too


def test_feature_refuses_a_table_and_says_what_would_work() -> None:
    with pytest.raises(SettingError, match=r"^data.partition.kind feature needs pictures"):
        with_("feature", data__source="heart")
    assert with_("concept", data__source="heart").data.partition.kind == "concept"


# --- concept ------------------------------------------------------------------------------------


@given(seed=SEEDS, classes=st.integers(2, 10), data=st.data())
def test_every_cluster_has_its_own_bijection_and_the_first_the_usual_one(
    seed: int, classes: int, data: st.DataObject
) -> None:
    """No label means the same in two clusters, and nothing depends on how many there are."""
    clusters = data.draw(st.integers(2, classes))
    inputs, labels = torch.zeros(classes, 3), torch.arange(classes)
    meanings = []
    for client in range(2 * clusters):
        kept, seen = Concept(clusters=clusters).shift(
            client, inputs, labels, classes, partial(random_stream, seed, "shift")
        )
        assert kept is inputs
        assert seen.sort().values.tolist() == labels.tolist()
        meanings.append(seen.tolist())
    assert meanings[0] == labels.tolist()
    assert meanings[:clusters] == meanings[clusters:]  # client k is in cluster k mod clusters
    for column in zip(*meanings[:clusters], strict=True):
        assert len(set(column)) == clusters
    _, fewer = Concept().shift(1, inputs, labels, classes, partial(random_stream, seed, "shift"))
    assert fewer.tolist() == meanings[1]


def test_concept_changes_no_input() -> None:
    after = federated_dataset(with_("concept"))
    assert torch.equal(after.inputs, plain().inputs)
    for client in after.everyone:
        same = held_by(after, client)[1] == held_by(plain(), client)[1]
        assert same.all() if client % 2 == 0 else not same.any()


@pytest.mark.parametrize(
    ("source", "clusters", "remedy"),
    [("heart", 3, "more than the 2 classes of heart: give 2"), ("photos", 8, "give 2 to 7")],
)
def test_more_clusters_than_classes_are_refused(source: str, clusters: int, remedy: str) -> None:
    settings = {"data__source": source, "data__partition__clusters": clusters}
    with pytest.raises(SettingError, match=rf"^data.partition.clusters is {clusters}.*{remedy}$"):
        with_("concept", **settings)
    settings["data__partition__clusters"] = len(DATA_SOURCES[source].classes)
    assert with_("concept", **settings)


# --- the map of who holds what ------------------------------------------------------------------


def drawn(portrait: FederationSummary) -> tuple[Json, Json, Json]:
    """The map, the bars above it and the layout, as a browser gets them."""
    found = json.loads(figures.split(portrait).to_json(engine="json"))
    shares, sizes = found["data"]
    return shares, sizes, found["layout"]


def test_the_map_shows_shares_and_the_bars_sizes() -> None:
    shown = FederationSummary(
        classes=("cat", "dog"), counts=((3, 1), (0, 0), (0, 5)), malicious=(), skew=0.25
    )
    shares, sizes, layout = drawn(shown)
    assert shares["z"] == [[0.75, None, 0.0], [0.25, None, 1.0]]  # who holds nothing has a gap
    assert shares["text"] == [[3, 0, 0], [1, 0, 5]]
    assert shares["y"] == ["cat", "dog"]
    assert (shares["zmin"], shares["zmax"]) == (0, 1)
    assert sizes["y"] == [4, 0, 5]
    assert shares["x"] == sizes["x"] == [0, 1, 2]
    assert layout["title"]["text"] == "Skew of labels 0.25"


@pytest.mark.parametrize("clients", [2, 1000])
@pytest.mark.parametrize("classes", [2, 10])
def test_the_map_stays_of_one_size_and_its_colours_cover_the_ground(
    clients: int, classes: int
) -> None:
    """Opaque colours on a transparent ground read alike in the light and in the dark."""
    names = tuple(f"{k}" for k in range(classes))
    shown = FederationSummary(
        classes=names, counts=((5,) * classes,) * clients, malicious=(), skew=0.0
    )
    shares, _, layout = drawn(shown)
    assert 300 <= layout["height"] <= 480
    assert all(colour.startswith("#") and len(colour) == 7 for _, colour in shares["colorscale"])
    assert layout["plot_bgcolor"] == "rgba(0,0,0,0)"
    assert layout["yaxis"]["type"] == "category"  # digits are names and no numbers
    assert layout["yaxis"]["domain"][1] < layout["yaxis2"]["domain"][0]
    assert layout["xaxis"].get("dtick") == (1 if clients == 2 else None)
