"""The peer that everybody writes first: one client after the other, torch.nn and torch.optim."""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.clock import answer, laps
from benchmarks.workloads import WORKLOADS
from lab.engine.client.batches import batches
from lab.engine.data.federation import federated_dataset
from lab.engine.participation.cohort_sampling import select_cohort
from lab.engine.run import initial_state
from lab.experiment.experiment import Experiment
from lab.models.inputs import as_floats
from lab.models.layers import Convolution, Dense, Flatten, Layer, MaxPool, Relu, Sigmoid
from lab.models.metrics import evaluate

PLAIN: dict[type[Layer], Callable[[], nn.Module]] = {
    Flatten: nn.Flatten,
    Relu: nn.ReLU,
    Sigmoid: nn.Sigmoid,
    MaxPool: lambda: nn.MaxPool2d(2),
}


def module_of(experiment: Experiment) -> nn.Sequential:
    """The torch.nn twin of the experiment's model; its parameters come in the same order."""
    made: list[nn.Module] = []
    for layer in experiment.architecture.layers:
        if isinstance(layer, Dense):
            made.append(nn.Linear(layer.inputs, layer.outputs))
        elif isinstance(layer, Convolution):
            size, stride = layer.kernel, layer.stride
            made.append(nn.Conv2d(layer.inputs, layer.outputs, size, stride, size // 2))
        else:
            made.append(PLAIN[type(layer)]())
    return nn.Sequential(*made)


def train_round(experiment: Experiment, module: nn.Module, round: int) -> Tensor:
    """One round of federated averaging over those who are asked.  -> the flat model (params,)"""
    federation = federated_dataset(experiment)
    start = nn.utils.parameters_to_vector(module.parameters()).detach()
    total, weight = torch.zeros_like(start), 0
    for client in select_cohort(experiment, round):
        nn.utils.vector_to_parameters(start.clone(), module.parameters())
        optimiser = torch.optim.SGD(module.parameters(), lr=experiment.training.rate)
        held = federation.held(client)
        for batch in batches(experiment, round, client, len(held)):
            picked = held[torch.from_numpy(batch)]
            optimiser.zero_grad()
            logits = module(as_floats(federation.inputs[picked]))
            F.cross_entropy(logits, federation.labels[picked]).backward()
            optimiser.step()
        total += len(held) * nn.utils.parameters_to_vector(module.parameters()).detach()
        weight += len(held)
    return total / weight


def main(name: str, threads: int) -> None:
    """`python -m benchmarks.sequential WORKLOAD THREADS`"""
    torch.set_num_threads(threads)
    experiment = WORKLOADS[name].experiment
    module, federation = module_of(experiment), federated_dataset(experiment)
    model = initial_state(experiment).model

    def train(round: int) -> None:
        nonlocal model
        nn.utils.vector_to_parameters(model.clone(), module.parameters())
        model = train_round(experiment, module, round)

    seconds = laps(train, experiment.training.rounds)
    tested = federation.test_inputs, federation.test_labels
    answer(seconds, evaluate(experiment.architecture, model, *tested)[0])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
