"""The three workloads, what they cost in theory, and the file that hands them to the peers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lab import Experiment
from lab.common.settings import SettingError
from lab.engine.data.federation import federated_dataset
from lab.engine.participation.cohort_sampling import select_cohort
from lab.models.layers import Convolution, Dense

TENTH = {"data.source": "fashion-mnist-full", "data.clients": 100, "training.clients_per_round": 10}
SMALL = {"data.source": "fashion-mnist-full", "data.clients": 20, "data.examples": 6000}


@dataclass(frozen=True)
class Workload:
    """Batch 32, one epoch, SGD 0.1: the defaults."""

    name: str
    about: str
    rounds: int  # after which the accuracy is taken
    settings: dict[str, object]

    @property
    def experiment(self) -> Experiment:
        return Experiment().changed({"training.rounds": self.rounds, **self.settings})

    @property
    def samples(self) -> int:
        """Examples seen in a round."""
        now = self.experiment
        return now.cohort_size * now.data.shared() // now.data.clients

    @property
    def flops(self) -> int:
        """Multiplications and additions that a round cannot do without."""
        return self.samples * flops_of(self.experiment)

    def write(self, path: Path) -> None:
        """Everything a peer needs; the clients of a round are the engine's own choice."""
        now, federation = self.experiment, federated_dataset(self.experiment)
        model = now.model.dump()
        recipe = {"batch": now.training.batch_size, "rate": now.training.rate}
        np.savez(
            path,
            settings=json.dumps(model | recipe),
            inputs=federation.inputs[federation.index].numpy(),
            labels=federation.labels[federation.index].numpy(),
            test_inputs=federation.test_inputs.numpy(),
            test_labels=federation.test_labels.numpy(),
            cohorts=np.array([select_cohort(now, round + 1) for round in range(self.rounds)]),
        )


WORKLOADS = {
    each.name: each
    for each in (
        Workload("W1", "MLP 784-200-10, 10 of 100 x 600", 20,
                 TENTH | {"model.kind": "mlp", "model.hidden": 200}),
        Workload("W2", "CNN 16-32-128, 10 of 100 x 600", 10,
                 TENTH | {"model.kind": "cnn", "model.channels": 16, "model.hidden": 128}),
        Workload("W3", "MLP 784-64-10, 20 of 20 x 300", 30,
                 SMALL | {"model.kind": "mlp", "model.hidden": 64}),
    )
}  # fmt: skip


def installed() -> bool:
    """Whether the full Fashion-MNIST is on this machine."""
    try:
        federated_dataset(WORKLOADS["W1"].experiment)
    except SettingError:
        return False
    return True


def flops_of(experiment: Experiment) -> int:
    """Of one example forward and back, without what is multiplied by padding.

    A multiplication and an addition are two; the first layer's inputs need no slopes.
    """
    network = experiment.architecture
    outputs, products = torch.zeros(1, *network.shape), list[int]()
    for layer, own in zip(
        network.layers, network.owned(network.split(torch.zeros(network.size))), strict=True
    ):
        sides, outputs = outputs.shape[2:], layer(own, outputs)
        if isinstance(layer, Dense):
            products.append(layer.inputs * layer.outputs)
        elif isinstance(layer, Convolution):
            frame = layer.kernel // 2
            taps = [side * layer.kernel - frame * (frame + 1) for side in sides]  # stride 1
            products.append(taps[0] * taps[1] * layer.inputs * layer.outputs)
    return 2 * (3 * sum(products) - products[0])
