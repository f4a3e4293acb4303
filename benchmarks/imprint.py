"""A malicious server's harvest beside its closed form: `python -m benchmarks.imprint`.

Each place of a table is over 20 batches of Fashion-MNIST: of 20 clients in a round, or,
under masks, of the cohorts of 20 seeds.  The model is untrained and does not matter to the bins.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from attacks.reconstruction.malicious_model.imprint import Imprint
from attacks.reconstruction.malicious_model.trap_weights import TrapWeights
from lab.attack_runs.reconstruction.model_manipulation import replayed
from lab.attack_runs.shared.auxiliary_info import auxiliary_info
from lab.common.threads import start_threads
from lab.engine.client.batches import touched
from lab.engine.data.federation import training_data
from lab.engine.round import run_round
from lab.engine.run import initial_state
from lab.engine.run_state import RoundResult, RunState
from lab.experiment.experiment import Experiment
from lab.interfaces.attack_data import ReconstructedBatch
from lab.interfaces.privacy_attacks import ActiveReconstructionAttack
from lab.interfaces.views import server_view
from lab.models.inputs import as_floats
from lab.scoring.reconstruction.image_scorer import EXACT, match, psnr

RESULTS = Path(__file__).parent / "results" / "imprint.json"
BATCHES, BINS, NEURONS = (8, 32, 64, 256), (64, 256, 1024), 1000
COHORTS = ((4, 8), (8, 8), (8, 32))  # clients and the batch of each
SEEDS = 20
screen = Console(stderr=True)
USUAL = {
    "data.source": "fashion-mnist",
    "data.clients": 20,
    "model.kind": "logistic",
    "training.steps": 1,
    "training.rounds": 1,
}


def private(now: Experiment, round: int, clients: tuple[int, ...]) -> Tensor:
    """The examples behind those clients' updates.  -> (examples, *shape)"""
    federation, found = training_data(now, round), []
    for client in clients:
        held = federation.held(client)
        found.append(held[torch.from_numpy(touched(now, round, client, len(held)))])
    return as_floats(federation.inputs[torch.cat(found)])


def answer(
    spy: ActiveReconstructionAttack,
    before: RunState,
    moment: RoundResult,
    target: int = 0,
    played: RoundResult | None = None,
) -> tuple[ReconstructedBatch, Tensor]:
    """What the attack says, and the examples behind the row that it read."""
    played = played or replayed(spy, before, moment, target)
    view = server_view(played.transcript, target)
    *_, guess = spy(view, target, auxiliary_info(before.experiment, moment.record.round))
    there = view.senders[view.row_of(target)]
    return guess, private(before.experiment.at(moment.record.round), moment.record.round, there)


def recall(guess: ReconstructedBatch, truth: Tensor) -> float:
    """Share of the examples that are there but for rounding."""
    pairs = match(guess.inputs, truth)
    return sum(psnr(guess.inputs[m], truth[t]) >= EXACT for m, t in pairs) / len(truth)


def fired(played: RoundResult, truth: Tensor) -> Tensor:
    """Which rows of the planted first layer each example sets off.  -> (examples, rows) bool"""
    network = played.transcript.network
    weight, bias = list(network.split(played.transcript.sent.double()).values())[:2]
    return truth.flatten(1).double() @ weight.T + bias > 0


def alone(played: RoundResult, truth: Tensor) -> float:
    """The closed form of the imprint: share of the examples without another in their bin."""
    bins = fired(played, truth).sum(dim=1)  # nested: the brighter, the more
    return float((torch.bincount(bins)[bins] == 1).float().mean())


def single(played: RoundResult, truth: Tensor) -> float:
    """The same of trap weights: share of the examples that set off a neuron alone."""
    those = fired(played, truth)
    return float(those[:, those.sum(dim=0) == 1].any(dim=1).float().mean())


def told(
    spy: ActiveReconstructionAttack, settings: dict[str, Any], targets: range
) -> Iterator[tuple[float, ...]]:
    """Recall, closed form and seconds of the reading, for each target of a round."""
    before = initial_state(Experiment().changed(USUAL | settings))
    moment = run_round(before)
    played = replayed(spy, before, moment)
    for target in targets:
        start = perf_counter()
        guess, truth = answer(spy, before, moment, target, played)
        seconds = perf_counter() - start
        form = alone if isinstance(spy, Imprint) else single
        yield recall(guess, truth), form(played, truth), seconds


def places() -> Iterator[dict[str, Any]]:
    everyone, one = range(SEEDS), range(1)
    for bins in BINS:
        for batch in BATCHES:
            found = told(Imprint(bins=bins, module=True), {"training.batch_size": batch}, everyone)
            yield place("imprint", f"{bins} bins", f"{batch}", list(found))
    for scale, name in ((0.0, "fitted"), (0.95, "0.95")):
        for batch in BATCHES:
            given = {
                "training.batch_size": batch,
                "model.kind": "mlp",
                "model.hidden": NEURONS,
            }
            found = told(TrapWeights(scale=scale), given, everyone)
            yield place("trap-weights", f"{NEURONS} neurons, scale {name}", f"{batch}", list(found))
    for clients, batch in COHORTS:
        given = {
            "training.batch_size": batch,
            "training.clients_per_round": clients,
            "secure_aggregation.enabled": True,
        }
        each = [next(told(Imprint(module=True), _seeded(given, seed), one)) for seed in everyone]
        yield place("imprint", "256 bins, secure aggregation", f"{clients} x {batch}", each)


def _seeded(given: dict[str, Any], seed: int) -> dict[str, Any]:
    """All clients take part, so that the first of them does."""
    return given | {"seed": seed, "data.clients": given["training.clients_per_round"]}


def place(attack: str, row: str, column: str, found: list[tuple[float, ...]]) -> dict[str, Any]:
    """What was measured, by batch."""
    recalls, forms, seconds = (list(each) for each in zip(*found, strict=True))
    names = {"attack": attack, "row": row, "column": column}
    return names | {"recall": recalls, "closed_form": forms, "seconds": fmean(seconds)}


def sheet(rows: list[dict[str, Any]]) -> Table:
    table = Table("attack", "planted", "batch", "recall", "closed form", "seconds",
                  title="Share of a batch that is found exactly, mean of 20")  # fmt: skip
    for row in rows:
        shares = [f"{fmean(row[name]):.3f}" for name in ("recall", "closed_form")]
        table.add_row(row["attack"], row["row"], row["column"], *shares, f"{row['seconds']:.2f}")
    return table


def written() -> list[dict[str, Any]]:
    """What is on file."""
    rows: list[dict[str, Any]] = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]
    return rows


def main() -> None:
    start_threads()
    torch.set_num_threads(1)
    rows = []
    for row in places():
        rows.append(row)
        screen.print(f"{row['row']}, {row['column']}", style="dim")
    content = {"settings": USUAL, "batches": SEEDS, "load": os.getloadavg(), "rows": rows}
    RESULTS.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    Console(width=120).print(sheet(rows))


if __name__ == "__main__":
    main()
