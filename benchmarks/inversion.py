"""What optimisation gets back from updates: `python -m benchmarks.inversion [SECTION ...]`.

Sections: `breaching`, the same updates given to both; `lenet`, one example; `steps` and `rounds`,
federated averaging; all of them without a name.  Every victim is client 0 of a run with that seed,
none is chosen.  Seconds are the processor's, on one thread, so that they hold on a busy machine;
breaching is looked for in the environment whose python $BREACHING names.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from rich.console import Console

import attacks.reconstruction.optimisation.idlg
import attacks.reconstruction.shared.search_budget
from attacks.reconstruction.optimisation.idlg import Idlg
from attacks.reconstruction.optimisation.inverting_gradients import InvertingGradients
from attacks.reconstruction.shared.observed_gradient import observe
from benchmarks.clock import ask
from benchmarks.inverted import TABLES
from lab import ROOT, Experiment, run
from lab.attack_runs.reconstruction.reconstruction import run_reconstruction
from lab.attack_runs.shared.ground_truth import reconstruction_scorer
from lab.engine.run_state import RoundResult
from lab.interfaces.privacy_attacks import ReconstructionAttack
from lab.interfaces.views import server_view
from lab.scoring.reconstruction.image_score import ImageScore
from lab.scoring.reconstruction.image_scorer import match, psnr

RESULTS = ROOT / "benchmarks" / "results" / "inversion.json"
PEER = ROOT / "benchmarks" / "peers" / "breaching_.py"
THEIRS = Path(os.environ.get("BREACHING", ROOT / ".venv-bench" / "bin" / "python"))
STEPS = 2000  # of breaching's search
CELLS = {1: 20, 4: 5, 8: 5}  # batch: victims
screen = Console(stderr=True)


def moment(
    seed: int, source: str, kind: str, batch: int = 1, epochs: int = 0, rounds: int = 1
) -> RoundResult:
    """The last round of a run: one step on a batch, or epochs over all that a client holds."""
    data: dict[str, Any] = {"source": source, "clients": 4}
    training: dict[str, Any] = {"rounds": rounds, "batch_size": batch, "steps": 1}
    if epochs:
        data |= {"clients": 100, "examples": 100 * batch}
        training |= {"epochs": epochs, "steps": 0}
    told = {"seed": seed, "data": data, "model": {"kind": kind}, "training": training}
    *_, found = run(Experiment.read(told))
    return found


def attacked(spy: ReconstructionAttack, on: RoundResult) -> dict[str, Any]:
    """What the spy gets of client 0, beside the floors."""
    began = time.process_time()
    *_, last = run_reconstruction(spy, on, 0)
    seconds = time.process_time() - began
    assert last.result is not None
    found = last.result.score
    assert isinstance(found, ImageScore)
    return {
        "psnr": found.psnr,
        "labels": found.labels,
        "floor": found.floor,
        "nearest": found.nearest,
        "seconds": seconds,
        "accuracy": on.record.accuracy,
    }


def beside_breaching(batch: int, victims: int, steps: int) -> dict[str, Any]:
    """Both on the same updates of the same net; ours for as many seconds as breaching took."""
    moments = [moment(seed, "photos", "cnn", batch) for seed in range(victims)]
    pictures, seconds = theirs(moments, batch, steps)
    rows: list[dict[str, Any]] = []
    for on, picture, limit in zip(moments, pictures, seconds, strict=True):
        own = attacked(InvertingGradients(iterations=2 * steps, seconds=max(1.0, limit)), on)
        judge = reconstruction_scorer(on.state.experiment, on.record.round, 0)
        pairs = match(picture, judge.inputs)
        their = fmean(psnr(picture[mine], judge.inputs[true]) for mine, true in pairs)
        rows.append({"ours": own, "breaching": {"psnr": their, "seconds": limit}})
        screen.print(f"  batch {batch}: {own['psnr']:.1f}, breaching {their:.1f} dB", style="dim")
    return {"batch": batch, "steps": steps, "rows": rows}


def theirs(
    moments: Sequence[RoundResult], batch: int, steps: int
) -> tuple[torch.Tensor, list[float]]:
    """breaching's pictures (victims, batch, *shape), and its seconds for each."""
    views = [server_view(on.transcript) for on in moments]
    network = views[0].network
    settings = {"shape": network.shape, "classes": network.classes, "batch": batch}
    settings |= {"channels": 16, "hidden": 64, "iterations": steps}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cases.npz"
        np.savez(
            path,
            settings=json.dumps(settings),
            sent=np.stack([view.sent.numpy() for view in views]),
            gradients=np.stack([observe(view, 0).gradient.float().numpy() for view in views]),
        )
        told = ask(str(THEIRS), str(PEER), str(path))
        with np.load(path.with_suffix(".pictures.npz")) as held:
            return torch.from_numpy(held["pictures"]), told["seconds"]


def breaching(quick: bool) -> list[dict[str, Any]]:
    share = 3 if quick else 1
    return [
        beside_breaching(batch, -(-victims // share), STEPS // share)
        for batch, victims in CELLS.items()
    ]


def lenet(quick: bool) -> list[dict[str, Any]]:
    """iDLG, one example, an untrained LeNet."""
    return [attacked(Idlg(), moment(seed, "fashion-mnist", "lenet")) for seed in range(20)]


def steps(quick: bool) -> list[dict[str, Any]]:
    """One example, that many local steps; repeated step by step, and read as one gradient.

    The latter in fewer iterations, so compare the two from two steps on.
    """
    return [
        {"steps": count, "seed": seed}
        | {name: attacked(spy, on) for name, spy in spies(count).items()}
        for count in (1, 2, 5, 10, 20)
        for seed in range(3 if quick else 20)
        for on in [moment(seed, "fashion-mnist", "lenet", epochs=count)]
    ]


def spies(count: int) -> dict[str, ReconstructionAttack]:
    return {
        "unrolled": Idlg(iterations=300, restarts=1, unroll=count),
        "as one": Idlg(iterations=100, restarts=1, unroll=1),
    }


def rounds(quick: bool) -> list[dict[str, Any]]:
    """Five local steps of clients who hold one to four examples, after rounds of training."""
    return [
        {"batch": batch, "rounds": before, "kind": kind, "seed": seed} | attacked(spy, on)
        for kind, batch, spy in (
            ("lenet", 1, Idlg(iterations=300, restarts=1)),
            ("cnn", 1, InvertingGradients(iterations=300)),
            ("cnn", 4, InvertingGradients(iterations=1500)),
        )
        for before in ((0, 5) if quick else (0, 1, 5, 20))
        for seed in range(3 if quick else 20)
        for on in [moment(seed, "fashion-mnist", kind, batch, epochs=5, rounds=before + 1)]
    ]


SECTIONS: dict[str, Callable[[bool], list[dict[str, Any]]]] = {
    "breaching": breaching,
    "lenet": lenet,
    "steps": steps,
    "rounds": rounds,
}


def main() -> None:
    reader = argparse.ArgumentParser(prog="benchmarks.inversion", description=__doc__)
    reader.add_argument(
        "sections", nargs="*", choices=[*SECTIONS, []], help="all, if none is named"
    )
    reader.add_argument("--quick", action="store_true", help="fewer victims")
    asked = reader.parse_args()
    torch.set_num_threads(1)
    for module in (
        attacks.reconstruction.shared.search_budget,
        attacks.reconstruction.optimisation.idlg,
    ):
        module.monotonic = time.process_time  # type: ignore[attr-defined]
    for name in asked.sections or SECTIONS:
        screen.print(name, style="dim")
        rows = SECTIONS[name](asked.quick)
        found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        found[name] = {"load": os.getloadavg(), "rows": rows}
        RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    paper = Console(width=None if sys.stdout.isatty() else 120)
    for name in found:
        paper.print(TABLES[name](found[name]["rows"]))


if __name__ == "__main__":
    main()
