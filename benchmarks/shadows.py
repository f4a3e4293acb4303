"""Shadow models beside the loop that everybody writes first: `python -m benchmarks.shadows`.

Both train whole federations: 10 clients of 100 examples, batches of 50, some epochs a round.
The loop is of torch.nn, a DataLoader and torch.optim.SGD, one client after the other, and averages
their parameters.  Seconds are of processor time on one thread, so that they bear other load; both
take turns, and the best turn counts.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.clock import ask
from benchmarks.sequential import module_of
from lab import ROOT, Experiment
from lab.attack_runs.membership.candidates import select_candidates
from lab.attack_runs.membership.shadow_federations import initial, shadow_dataset, shadow_rounds
from lab.attack_runs.membership.shadow_models import Nothing, train_shadow_models
from lab.common.threads import start_threads
from lab.engine.data.federation import federated_dataset
from lab.interfaces.attack_data import Candidates
from lab.interfaces.privacy_attacks import AttackResources
from lab.models.inputs import as_floats
from lab.models.metrics import evaluate

RESULTS = ROOT / "benchmarks" / "results" / "shadows.json"
TURNS = 3
FEW, MANY = 2, 16  # shadows that the loop and Leaklab train in a turn
USUAL = {
    "data.source": "fashion-mnist",
    "data.clients": 10,
    "data.examples": 1000,
    "training.batch_size": 50,
}
LARGE = {"data.clients": 20, "data.examples": 10_000, "data.source": "fashion-mnist-full"}


@dataclass(frozen=True)
class Net:
    """What is trained for how long, and how much faster it should be."""

    rounds: int
    epochs: int
    goal: float
    settings: dict[str, object]

    @property
    def experiment(self) -> Experiment:
        length = {"training.rounds": self.rounds, "training.epochs": self.epochs}
        return Experiment().changed({**USUAL, **self.settings, **length})


NETS = {
    "logistic": Net(2, 5, 3.5, {"model.kind": "logistic"}),
    "MLP 64": Net(2, 5, 3.5, {"model.kind": "mlp"}),
    "MLP 64, an epoch a round": Net(10, 1, 0.0, {"model.kind": "mlp"}),
    "MLP 256": Net(1, 5, 1.9, {"model.kind": "mlp", "model.hidden": 256}),
    "CNN": Net(1, 2, 1.4, {"model.kind": "cnn", "model.channels": 4}),
}


def loop(experiment: Experiment, pool: Candidates, number: int, rounds: int) -> Tensor:
    """One shadow federation.  -> (params,)"""
    federation, module = shadow_dataset(experiment, pool, number), module_of(experiment)
    model, training = initial(experiment, [number])[0], experiment.training
    held = [federation.held(client) for client in federation.everyone]
    sets = [TensorDataset(as_floats(pool.inputs[each]), pool.labels[each]) for each in held]
    for _ in range(rounds):
        total = torch.zeros_like(model)
        for mine in sets:
            nn.utils.vector_to_parameters(model.clone(), module.parameters())
            optimiser = torch.optim.SGD(module.parameters(), lr=training.rate)
            loader = DataLoader(mine, batch_size=training.batch_size, shuffle=True)
            for _ in range(training.epochs):
                for inputs, labels in loader:
                    optimiser.zero_grad()
                    F.cross_entropy(module(inputs), labels).backward()
                    optimiser.step()
            total += len(mine) * nn.utils.parameters_to_vector(module.parameters()).detach()
        model = total / sum(map(len, sets))
    return model


def ours(experiment: Experiment, pool: Candidates, rounds: int) -> Tensor:
    """-> (shadows, params)"""
    *_, last = shadow_rounds(experiment, rounds, pool, range(MANY))
    return last.models


def compared(name: str) -> dict[str, Any]:
    net = NETS[name]
    experiment = net.experiment
    pool, rounds = select_candidates(experiment, AttackResources(shadows=MANY)).pool, net.rounds
    acts: dict[str, tuple[int, Callable[[], list[Tensor]]]] = {
        "loop": (FEW, lambda: [loop(experiment, pool, one, rounds) for one in range(FEW)]),
        "leaklab": (MANY, lambda: list(ours(experiment, pool, rounds))),
    }
    best: dict[str, float] = dict.fromkeys(acts, float("inf"))
    accuracy: dict[str, float] = {}
    for _ in range(TURNS):
        for who, (number, act) in acts.items():
            began = time.process_time()
            models = act()
            best[who] = min(best[who], (time.process_time() - began) / number)
            accuracy[who] = fmean(_accuracy(experiment, model) for model in models)
    return {
        "net": name,
        "params": experiment.architecture.size,
        "rounds": rounds,
        "epochs": net.epochs,
        "seconds": best,
        "accuracy": accuracy,
        "ratio": best["loop"] / best["leaklab"],
        "goal": net.goal,
    }


def _accuracy(experiment: Experiment, model: Tensor) -> float:
    held = federated_dataset(experiment)
    return evaluate(experiment.architecture, model, held.test_inputs, held.test_labels)[0]


def large() -> dict[str, Any]:
    """What a federation of 20 clients of 500 examples takes, over 30 rounds."""
    experiment = Experiment().changed(LARGE)
    pool = select_candidates(experiment, AttackResources(shadows=MANY)).pool
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, wall = time.process_time(), time.perf_counter()
    rounds = experiment.training.rounds
    for _ in train_shadow_models(experiment, rounds, pool, range(MANY), Nothing()):
        pass
    return {
        "clients": experiment.data.clients,
        "examples": experiment.data.examples,
        "pool": len(pool.labels),
        "rounds": rounds,
        "shadows": MANY,
        "seconds": time.process_time() - began,
        "wall": time.perf_counter() - wall,
        "megabytes_before": before / 1024,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def timed() -> dict[str, Any]:
    """Every net in a process of its own; all of it also goes to the results."""
    rows = [ask(sys.executable, "-m", "benchmarks.shadows", name) for name in NETS]
    found: dict[str, Any] = {"load": os.getloadavg(), "few": FEW, "many": MANY, "rows": rows}
    found["large"] = ask(sys.executable, "-m", "benchmarks.shadows", "large")
    found["load_after"] = os.getloadavg()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found


def of_shadows(found: dict[str, Any]) -> Table:
    one = found["large"]
    caption = (
        f"{one['shadows']} shadows of {one['clients']} clients with {one['examples']:,} examples, "
        f"{one['rounds']} rounds: {one['seconds']:.0f} CPU s, {one['megabytes']:.0f} MB at most"
    )
    heads = ("parameters", "rounds, epochs", "loop, CPU s", "Leaklab, CPU s", "x faster", "wanted")
    table = Table("net", *heads, "accuracy", title="A shadow model", caption=caption)
    for row in found["rows"]:
        seconds, accuracy = row["seconds"], row["accuracy"]
        table.add_row(
            row["net"],
            f"{row['params']:,}",
            f"{row['rounds']} x {row['epochs']}",
            f"{seconds['loop']:.3f}",
            f"{seconds['leaklab']:.3f}",
            f"{row['ratio']:.1f}",
            f"{row['goal']}" if row["goal"] else "",
            f"{accuracy['loop']:.3f}, {accuracy['leaklab']:.3f}",
        )
    return table


def main(arguments: list[str]) -> None:
    """`python -m benchmarks.shadows [NET | large]`: all of them, without a name."""
    if arguments:
        start_threads()
        torch.set_num_threads(1)
        (name,) = arguments
        print(json.dumps(large() if name == "large" else compared(name)))  # noqa: T201
        return
    Console(width=None if sys.stdout.isatty() else 120).print(of_shadows(timed()))


if __name__ == "__main__":
    main(sys.argv[1:])
