"""What a server learns of membership: `python -m benchmarks.server_membership`.

Ten clients of 200 Fashion-MNIST pictures each, an MLP of 64 hidden neurons, 30 rounds of 2 epochs.
Each attack is asked about all 2,000 members and as many outsiders, and federations are pooled, for
a rate at 0.1 % needs 10,000 non-members.  Settings of attacks were fixed on other seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from attacks.membership.server.fedmia import FedMia
from attacks.membership.server.loss_trajectory import LossTrajectory
from attacks.membership.server.server_lira import ServerLira
from attacks.membership.server.source_inference import SourceInference
from attacks.membership.server.update_cosine import UpdateCosine
from lab.attack_runs.membership.candidate_pairs import (
    CandidatePairs,
    against_clients,
    against_outsiders,
)
from lab.attack_runs.membership.candidates import MembershipCandidates, select_candidates
from lab.attack_runs.membership.client_signals import scored
from lab.common.random_streams import random_stream
from lab.common.threads import start_threads
from lab.engine.run import run
from lab.engine.run_state import RunState
from lab.experiment.experiment import Experiment
from lab.interfaces.privacy_attacks import AttackResources, ServerMembershipAttack
from lab.scoring.membership.membership_score import score_membership
from lab.scoring.shared.roc_curve import auc

RESULTS = Path(__file__).parent / "results" / "server_membership.json"
SEEDS = range(5)
SPIES: dict[str, ServerMembershipAttack] = {
    "loss-trajectory": LossTrajectory(),
    "update-cosine": UpdateCosine(),
    "fedmia I (loss)": FedMia(),
    "fedmia II (cosine)": FedMia(measure="cosine"),
    "source-inference": SourceInference(),
    "server-lira, 16 federations": ServerLira(),
}
screen = Console(stderr=True)


def experiment(seed: int) -> Experiment:
    return Experiment.read(
        {
            "seed": seed,
            "data": {"source": "fashion-mnist-full", "clients": 10, "examples": 2000},
            "model": {"kind": "mlp", "hidden": 64},
            "training": {"rounds": 30, "epochs": 2, "batch_size": 10, "rate": 0.1},
        }
    )


def measured(seed: int) -> dict[str, np.ndarray]:
    """Of one federation: each attack's scores of the same pairs, whom it names, its seconds."""
    now = experiment(seed)
    *_, moment = run(now)
    lined = select_candidates(
        now.at(1), AttackResources(shadows=1)
    )  # as many others as members, for every attack
    everyone, drawn = np.arange(now.data.clients), random_stream(seed, "pairs")
    pairs = against_outsiders(lined, everyone, None, drawn)
    rivals = against_clients(lined, everyone, None, drawn)
    found: dict[str, np.ndarray] = {
        "member": pairs.member,
        "accuracy": np.array([moment.record.accuracy]),
    }
    for name, spy in SPIES.items():
        began = process_time()
        scores = _scores(spy, moment.state, lined)
        found[f"{name}/seconds"] = np.array([process_time() - began])
        found[f"{name}/outsiders"] = _of(scores, pairs)
        found[f"{name}/clients"] = _of(scores, rivals)
        mine = lined.owner >= 0
        found[f"{name}/right"] = scores[:, mine].argmax(axis=0) == lined.owner[mine]
        screen.print(f"seed {seed}, {name}: {found[f'{name}/seconds'][0]:.0f} CPU-s", style="dim")
    return found


def _scores(
    spy: ServerMembershipAttack, state: RunState, lined: MembershipCandidates
) -> np.ndarray:
    """-> (clients, candidates)"""
    steps = scored(spy, state, lined)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            scores: np.ndarray = end.value.scores.double().numpy()
            return scores


def _of(scores: np.ndarray, pairs: CandidatePairs) -> np.ndarray:
    found: np.ndarray = scores[pairs.client, pairs.candidate]
    return found


def judged(parts: list[dict[str, np.ndarray]]) -> list[dict[str, Any]]:
    """All federations pooled: scores are on one scale, for they come of one recipe."""
    member = np.concatenate([part["member"] for part in parts])
    rows = []
    for name in SPIES:
        row: dict[str, Any] = {"attack": name}
        for against in ("outsiders", "clients"):
            scores = [part[f"{name}/{against}"] for part in parts]
            truth = member if against == "outsiders" else _halves(scores)
            found = score_membership(np.concatenate(scores), truth, None, None)
            areas = [auc(s[: len(s) // 2], s[len(s) // 2 :]) for s in scores]
            row[against] = {
                "auc": found.auc,
                "interval": [found.auc_low, found.auc_high],
                "each": areas,
                "rates": [rate.dump() for rate in found.rates],
            }
        row["right"] = [float(part[f"{name}/right"].mean()) for part in parts]
        row["seconds"] = [float(part[f"{name}/seconds"][0]) for part in parts]
        rows.append(row)
    return rows


def _halves(scores: list[np.ndarray]) -> np.ndarray:
    """Each federation's members come first, and as many others after them."""
    return np.concatenate([np.arange(len(some)) < len(some) // 2 for some in scores])


def sheet(rows: list[dict[str, Any]]) -> Table:
    outsiders, clients = ("AUC", "TPR at 1 %", "TPR at 0.1 %"), ("AUC, clients", "TPR at 0.1 %")
    title = "Members against outsiders, and against members of other clients"
    table = Table("attack", *outsiders, *clients, "owner named", "CPU-s", title=title)
    for row in rows:
        mine, theirs = row["outsiders"], row["clients"]
        table.add_row(
            row["attack"],
            f"{mine['auc']:.3f}",
            *(_told(rate) for rate in mine["rates"]),
            f"{theirs['auc']:.3f}",
            _told(theirs["rates"][1]),
            f"{np.mean(row['right']):.1%}",
            f"{np.mean(row['seconds']):.0f}",
        )
    return table


def _told(rate: dict[str, Any]) -> str:
    if "value" not in rate:
        return "too few others"
    return f"{rate['value']:.2%} ({rate['low']:.2%} to {rate['high']:.2%})"


def main() -> None:
    reader = argparse.ArgumentParser(prog="benchmarks.server_membership", description=__doc__)
    reader.add_argument("--seeds", type=int, nargs="*", default=list(SEEDS))
    reader.add_argument("--parts", type=Path, help="a folder where what is measured is kept")
    asked = reader.parse_args()
    start_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as fleeting:
        folder = asked.parts or Path(fleeting)
        for seed in asked.seeds:
            if not (folder / f"{seed}.npz").exists():
                np.savez(folder / f"{seed}.npz", **measured(seed))  # type: ignore[arg-type]
        parts = [dict(np.load(folder / f"{seed}.npz")) for seed in asked.seeds]
    rows = judged(parts)
    content = {
        "settings": experiment(0).dump(),
        "seeds": asked.seeds,
        "accuracy": [float(part["accuracy"][0]) for part in parts],
        "load": os.getloadavg(),
        "rows": rows,
    }
    RESULTS.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    Console(width=150).print(sheet(rows))


if __name__ == "__main__":
    main()
