"""The analytic attacks, measured: `python -m benchmarks.analytic`, or with the names of its parts.

Every batch is drawn by seed, 0 to 19 unless a row says otherwise, and all of them count.  The row
that a server gets is the difference of two models in single precision, as in a run.  Seconds are of
processor time on one thread, so that they bear other load.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from time import process_time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.reconstruction.analytic.feature_inversion import FeatureInversion
from attacks.reconstruction.analytic.first_layer import FirstLayer
from attacks.reconstruction.analytic.spear import Spear
from attacks.reconstruction.shared.observed_gradient import label_counts, observe
from benchmarks.workloads import installed
from datasets import DATA_SOURCES
from lab import ROOT
from lab.common.random_streams import random_stream
from lab.interfaces.attack_data import ReconstructedBatch
from lab.interfaces.messages import TrainingPlan
from lab.interfaces.privacy_attacks import ReconstructionAttack
from lab.interfaces.views import AuxiliaryInfo, ServerView
from lab.models.architectures import MODELS
from lab.models.inputs import as_floats
from lab.models.network import Network
from lab.scoring.reconstruction.image_scorer import EXACT, even_share, label_share, match, psnr

RESULTS = ROOT / "benchmarks" / "results" / "analytic.json"
SOURCE = "fashion-mnist-full"
PUBLIC = 2000
RATE, BATCH = 0.1, 32  # of training
Net = tuple[Network, Tensor]


@cache
def data() -> tuple[Tensor, Tensor, AuxiliaryInfo, Tensor, Tensor]:
    """Training examples, what is public, test examples that are not."""
    held = DATA_SOURCES[SOURCE]().load()
    test = as_floats(held.test_inputs)
    known = AuxiliaryInfo(test[:PUBLIC], held.test_labels[:PUBLIC])
    rest = test[PUBLIC:], held.test_labels[PUBLIC:]
    return as_floats(held.inputs), held.labels, known, *rest


def gradient(network: Network, sent: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    flat = sent.clone().requires_grad_(True)
    return torch.autograd.grad(F.cross_entropy(network(flat, inputs), labels), flat)[0]


@cache
def trained(kind: str, hidden: int, steps: int, goal: float = 1.0) -> Net:
    """After so many steps of SGD, or when every 100th step first reaches the accuracy `goal`."""
    network = Network(MODELS[kind].model_validate({"hidden": hidden}), (1, 28, 28), 10)
    inputs, labels, _, *test = data()
    sent, draws = network.initial(random_stream(0, "initial")), random_stream(0, "batches")
    for step in range(steps):
        if goal < 1 and step % 100 == 0 and accuracy((network, sent), *test) >= goal:
            break
        some = torch.from_numpy(draws.choice(len(labels), BATCH, replace=False))
        sent = sent - RATE * gradient(network, sent, inputs[some], labels[some])
    return network, sent


def accuracy(net: Net, inputs: Tensor, labels: Tensor) -> float:
    network, sent = net
    return float((network(sent, inputs).argmax(dim=1) == labels).float().mean())


def batch(seed: int, size: int) -> tuple[Tensor, Tensor]:
    inputs, labels, *_ = data()
    some = torch.from_numpy(random_stream(seed, "victims").choice(len(labels), size, replace=False))
    return inputs[some], labels[some]


def view(net: Net, inputs: Tensor, labels: Tensor, senders: int = 1) -> ServerView:
    """Of the mean of `senders` equal parts of the batch."""
    network, sent = net
    row = (sent - RATE * gradient(network, sent, inputs, labels)) - sent
    size = len(labels) // senders
    recipe = TrainingPlan(1, 1, size, RATE, None, weighted=True, mean_size=size)
    return ServerView(
        round=1,
        network=network,
        recipe=recipe,
        sent=sent,
        rows=row.unsqueeze(0),
        weights=torch.tensor([float(len(labels))]),
        senders=(tuple(range(senders)),),
        shared=network.size,
        masked=None,
    )


def attacked(spy: ReconstructionAttack, seen: ServerView) -> tuple[ReconstructedBatch, float]:
    """The last guess, and seconds."""
    began = process_time()
    *_, guess = spy(seen, 0, data()[2])
    return guess, process_time() - began


def heights(guess: ReconstructedBatch, inputs: Tensor) -> list[float]:
    """PSNR of each private example; 0 of those for which there is no guess."""
    found = [psnr(guess.inputs[mine], inputs[true]) for mine, true in match(guess.inputs, inputs)]
    return found + [0.0] * (len(inputs) - len(found))


def of_one() -> dict[str, Any]:
    """A dense first layer and one example: the largest error of any pixel."""
    errors, seconds, net = [], [], trained("mlp", 256, 0)
    for seed in range(20):
        inputs, labels = batch(seed, 1)
        guess, took = attacked(FirstLayer(), view(net, inputs, labels))
        errors.append(float((guess.inputs - inputs).abs().max()))
        seconds.append(took)
    return {"worst": max(errors), "median": float(np.median(errors)), "seconds": max(seconds)}


def apart(net: Net, size: int, seeds: Iterable[int], senders: int = 1, starts: int = 100) -> Any:
    """What spear makes of batches: share exact, certified batches, and those wrongly so."""
    rows = []
    for seed in seeds:
        inputs, labels = batch(seed, size)
        spy = Spear(iterations=starts)
        guess, took = attacked(spy, view(net, inputs, labels, senders))
        right = np.mean([height >= EXACT for height in heights(guess, inputs)])
        rows.append((float(right), bool(guess.proven), took))
    share, proven, seconds = (list(each) for each in zip(*rows, strict=True))
    wrong = sum(sure and right < 1 for right, sure, _ in rows)
    told = {"batches": len(rows), "exact": float(np.mean(share)), "certified": sum(proven)}
    times = {"median seconds": float(np.median(seconds)), "most seconds": max(seconds)}
    return told | {"wrongly certified": wrong} | times


def of_spear() -> dict[str, Any]:
    table = {
        f"784-{hidden}, batch {size}": apart(trained("mlp", hidden, 0), size, range(20))
        for hidden, size in ((256, 4), (256, 8), (256, 16), (1024, 32))
    }
    good = trained("mlp", 256, 6000, goal=0.85)
    reached = accuracy(good, *data()[3:])
    for size in (4, 8, 16):
        name = f"784-256 trained to {reached:.3f}, batch {size}"
        table[name] = apart(good, size, range(20), starts=20)
    return table


def of_sums() -> dict[str, Any]:
    """Masked sums over clients of two pictures each."""
    net = trained("mlp", 256, 0)
    return {
        f"{clients} clients": apart(net, 2 * clients, range(10), clients, starts=30)
        for clients in (8, 16)
    }


def of_certificates() -> dict[str, Any]:
    """200 batches that nothing was tuned on."""
    seeds = iter(range(500_000, 500_200))
    nets = {"untrained": trained("mlp", 256, 0), "300 steps": trained("mlp", 256, 300)}
    nets |= {"3000 steps": trained("mlp", 256, 3000), "128 neurons": trained("mlp", 128, 0)}
    return {
        f"{name}, batch {size}": apart(net, size, [next(seeds) for _ in range(10)], starts=8)
        for name, net in nets.items()
        for size in (4, 8, 12, 16, 24)
    }


def of_labels() -> dict[str, Any]:
    """Shares of labels that are right, as multisets, beside an even guess."""
    table: dict[str, Any] = {}
    for kind in ("mlp", "cnn"):
        for steps in (0, 300, 3000):
            net = trained(kind, 64, steps)
            for size in (32, 128):
                told = [_counted(net, *batch(seed, size)) for seed in range(20)]
                right, even = (float(np.mean(each)) for each in zip(*told, strict=True))
                table[f"{kind}, {steps} steps, batch {size}"] = {"right": right, "even guess": even}
    return table


def _counted(net: Net, inputs: Tensor, labels: Tensor) -> tuple[float, float]:
    seen = view(net, inputs, labels)
    counts = label_counts(seen, observe(seen, 0), data()[2])
    guessed = torch.arange(10).repeat_interleave(counts)
    return label_share(guessed, labels), even_share(len(labels), labels, 10)


def of_features(batches: int = 20) -> dict[str, Any]:
    """Batches of eight behind an untrained CNN with 128 neurons, labels not given."""
    rows, net = [], trained("cnn", 128, 0)
    for seed in range(batches):
        inputs, labels = batch(seed, 8)
        guess, took = attacked(FeatureInversion(seconds=10), view(net, inputs, labels))
        pairs = match(guess.inputs, inputs)
        named = np.mean([bool(guess.labels[mine] == labels[true]) for mine, true in pairs])
        found = heights(replace(guess, inputs=guess.inputs.clamp(0, 1)), inputs)
        rows.append(
            {
                "seed": seed,
                "mean": float(np.mean(found)),
                "median": float(np.median(found)),
                "worst": min(found),
                "labels": float(named),
                "seconds": took,
                "steps": guess.step,
            }
        )
    return {"batches": rows, "mean": float(np.mean([row["mean"] for row in rows]))}


PARTS = {
    "one": of_one,
    "spear": of_spear,
    "sums": of_sums,
    "certificates": of_certificates,
    "labels": of_labels,
    "features": of_features,
}


def main() -> None:
    reader = argparse.ArgumentParser(prog="benchmarks.analytic", description=__doc__)
    reader.add_argument("parts", nargs="*", default=list(PARTS), help=", ".join(PARTS))
    if not installed():
        raise SystemExit("the full Fashion-MNIST is not here: apt install dataset-fashion-mnist")
    torch.set_num_threads(1)
    for part in reader.parse_args().parts:
        found = PARTS[part]()
        told = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        RESULTS.write_text(json.dumps(told | {part: found}, indent=2) + "\n", encoding="utf-8")
        print(part, json.dumps(found, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
