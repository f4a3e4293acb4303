"""Example-level DP-SGD: a step of ours beside Opacus, `python -m benchmarks.private`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
from torch import Tensor, nn

from benchmarks.clock import laps
from benchmarks.sequential import module_of
from benchmarks.workloads import WORKLOADS
from lab.common.random_streams import random_stream
from lab.common.threads import start_threads
from lab.engine.differential_privacy.dp_sgd import DpSgdMechanism
from lab.engine.run import initial_state
from lab.experiment.experiment import Experiment
from lab.models.stacked_gradients import backward, gradient_step, stacked

BATCHES = (32, 64, 256)
TURNS, STEPS = 7, 10  # everybody's turn, so many times; the best counts
NOISE = 1.0
Step = Callable[[int], object]  # which one it is does not matter


def ours(experiment: Experiment, inputs: Tensor, labels: Tensor) -> tuple[Step, Step]:
    """A plain step, and a private one."""
    now, size = experiment.changed({"privacy.kind": "example"}), len(labels)
    network, rate = now.architecture, now.training.rate
    stack = stacked(network, initial_state(now).model.unsqueeze(0))
    pictures, wanted, mask = inputs.unsqueeze(0), labels.unsqueeze(0), torch.ones(1, size)
    guard = DpSgdMechanism(now, NOISE, torch.tensor([size]), [random_stream(0, "bench")])

    def plain(_: int) -> None:
        gradient_step(stack, backward(network, stack, pictures, wanted, mask / size), rate)

    def private(_: int) -> None:
        guard.descend(stack, backward(network, stack, pictures, wanted), mask)

    return plain, private


def hooks(experiment: Experiment, inputs: Tensor, labels: Tensor) -> Step:
    module = GradSampleModule(module_of(experiment))
    optimiser = DPOptimizer(**_settings(experiment, module, len(labels)))

    def step(_: int) -> None:
        optimiser.zero_grad()
        F.cross_entropy(module(inputs), labels).backward()
        optimiser.step()

    return step


def ghost(experiment: Experiment, inputs: Tensor, labels: Tensor) -> Step:
    module = GradSampleModuleFastGradientClipping(
        module_of(experiment), max_grad_norm=1.0, use_ghost_clipping=True
    )
    optimiser = DPOptimizerFastGradientClipping(**_settings(experiment, module, len(labels)))
    criterion = DPLossFastGradientClipping(module, optimiser, nn.CrossEntropyLoss())

    def step(_: int) -> None:
        optimiser.zero_grad()
        criterion(module(inputs), labels).backward()
        optimiser.step()

    return step


def _settings(experiment: Experiment, module: nn.Module, size: int) -> dict[str, Any]:
    return {
        "optimizer": torch.optim.SGD(module.parameters(), lr=experiment.training.rate),
        "noise_multiplier": NOISE,
        "max_grad_norm": 1.0,
        "expected_batch_size": size,
    }


def times(experiment: Experiment, size: int) -> dict[str, float]:
    """Milliseconds of a step of everybody; one after the other, so that noise hits all alike."""
    shape, draws = experiment.data.source.shape, torch.Generator().manual_seed(0)
    inputs = torch.rand(size, *shape, generator=draws)
    labels = torch.randint(10, (size,), generator=draws)
    plain, private = ours(experiment, inputs, labels)
    steps = {
        "plain": torch.no_grad()(plain),
        "private": torch.no_grad()(private),
        "ghost": ghost(experiment, inputs, labels),
        "hooks": hooks(experiment, inputs, labels),
    }
    best = dict.fromkeys(steps, float("inf"))
    for _ in range(TURNS):
        for name, step in steps.items():
            best[name] = min(best[name], 1000 * min(laps(step, STEPS)))
    return best


def main() -> None:
    start_threads()
    torch.set_num_threads(1)
    nets = {"MLP": WORKLOADS["W1"].experiment, "CNN": WORKLOADS["W2"].experiment}
    rows = [
        {"net": net, "batch": size, **times(experiment, size)}
        for net, experiment in nets.items()
        for size in BATCHES
    ]
    print(json.dumps({"rows": rows}))  # noqa: T201


if __name__ == "__main__":
    main()
