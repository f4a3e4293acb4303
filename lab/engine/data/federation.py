"""Assembly: the federation that an experiment describes, honest and as poisoned."""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from lab.common.random_streams import random_stream
from lab.common.settings import SettingError
from lab.engine.data.injected_examples import Planted
from lab.engine.data.malicious_clients import active_attackers, drawn_attackers
from lab.experiment.experiment import Experiment
from lab.experiment.sections import DataSettings
from lab.interfaces.data import DataSource, Examples, FederatedDataset, Partition
from lab.interfaces.poisoning import DataPoisoningContext, PoisoningAttack
from lab.models.inputs import as_floats, like
from lab.models.layers import Shape

# A few are kept, because pages and attacks come back to the same data again and again.
KEPT = 4
OWN_TEST = 100  # test examples of one client, where every client needs its own


def federated_dataset(experiment: Experiment) -> FederatedDataset:
    """Every client with its own, honest data."""
    return whole(experiment.data, experiment.seed)


def examples_of(experiment: Experiment) -> Examples:
    """All that the source has, by real owner where it says."""
    return _load(experiment.data.source)


def training_data(experiment: Experiment, round: int | None = None) -> FederatedDataset:
    """The federation as it trains: malicious clients hold what their poison made of their data.

    round: one in which they may not act; None: one in which they do
    """
    active = round is None or active_attackers(experiment, round)
    attackers = drawn_attackers(experiment) if active else ()
    return _poisoned(experiment.data, experiment.seed, experiment.adversary.attack, attackers)


def outside(data: DataSettings, poison: PoisoningAttack, test: bool) -> Tensor | None:
    """The pictures of another data set that the poison asks for, in the shape of this one's.

    -> (pictures, *shape), to train on or to test with
    """
    if not poison.stranger:
        return None
    return strangers(poison.stranger, poison.stranger_label, data.source.shape, test)


def shifts(data: DataSettings) -> bool:
    """Whether the split changes examples, besides dealing them out."""
    split = data.partition.honest if isinstance(data.partition, Planted) else data.partition
    return type(split).shift is not Partition.shift


def own_test(experiment: Experiment, client: int) -> tuple[Tensor, Tensor]:
    """Test examples as that client sees them, where the split shifts."""
    return _own_test(experiment.data, experiment.seed, client)


@lru_cache(maxsize=KEPT)
def strangers(name: str, label: int, shape: Shape, test: bool) -> Tensor:
    """Pictures of one class of another data set, in colours and size like the experiment's.

    -> (pictures, *shape), from 0 to 1
    """
    examples = _load(DataSource.pick(name))
    inputs, labels = examples.inputs, examples.labels
    if test:
        inputs, labels = examples.test_inputs, examples.test_labels
    pictures = as_floats(inputs[labels == label])
    if pictures.shape[1] != shape[0]:
        pictures = pictures.mean(dim=1, keepdim=True).expand(-1, shape[0], -1, -1)
    sized = F.interpolate(pictures, shape[1:], mode="bilinear", antialias=True)
    return sized.clamp(0, 1)  # beyond by rounding


@lru_cache(maxsize=KEPT)
def whole(data: DataSettings, seed: int) -> FederatedDataset:
    """As `assemble`."""
    if isinstance(data.partition, Planted):
        return _planted(data, data.partition, seed)
    examples = _load(data.source)
    order = random_stream(seed, "examples").permutation(len(examples.labels))
    used = np.sort(order[: data.shared()])
    labels, groups = examples.labels.numpy(), examples.groups
    owners = None if groups is None else groups.numpy()[used]
    shares = data.partition(labels[used], owners, data.clients, random_stream(seed, "split"))
    federation = FederatedDataset.of(examples, [used[share] for share in shares])
    if not shifts(data):
        return federation
    return federation.rewritten(federation.everyone, partial(_shifted, data, seed))


def _planted(data: DataSettings, split: Planted, seed: int) -> FederatedDataset:
    """The honest federation with plants in it."""
    federation = whole(data.model_copy(update={"partition": split.honest}), seed)
    plants = {plant.client: plant for plant in split.plants}
    for client, plant in plants.items():
        size = int(federation.sizes[client])
        if len(plant.positions) and int(plant.positions.max()) >= size:
            raise SettingError(
                f"plant.positions of client {client} go up to {int(plant.positions.max())}, and "
                f"it holds {size} examples: give 0 to {size - 1}"
            )
    return federation.rewritten(plants, lambda client, *held: plants[client](*held))


def _shifted(
    data: DataSettings, seed: int, client: int, inputs: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    classes, streams = len(data.source.classes), partial(random_stream, seed, "shift")
    return data.partition.shift(client, inputs, labels, classes, streams)


@lru_cache(maxsize=1000)  # a federation's clients at most, and a hundred examples of each
def _own_test(data: DataSettings, seed: int, client: int) -> tuple[Tensor, Tensor]:
    examples = _load(data.source)
    inputs, labels = examples.test_inputs[:OWN_TEST], examples.test_labels[:OWN_TEST]
    seen, meant = _shifted(data, seed, client, as_floats(inputs), labels)
    return like(seen, inputs), meant


@lru_cache(maxsize=KEPT)
def _poisoned(
    data: DataSettings, seed: int, poison: PoisoningAttack, attackers: tuple[int, ...]
) -> FederatedDataset:
    if not attackers or type(poison).data is PoisoningAttack.data:  # it leaves data alone
        return whole(data, seed)
    classes, pictures = len(data.source.classes), outside(data, poison, test=False)

    def change(client: int, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        scene = DataPoisoningContext(attackers.index(client), pictures)
        return poison.data(inputs, labels, classes, scene)

    return whole(data, seed).rewritten(attackers, change)


@lru_cache(maxsize=KEPT)
def _load(source: DataSource) -> Examples:
    return source.load()
