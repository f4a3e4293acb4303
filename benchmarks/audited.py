"""What an audit proves of private training, beside what its accountant promises.

`python -m benchmarks.audited`: DP-SGD of an MLP on 1,000 examples a client, 5,000 canary gradients
in one run, seeds 0 to 19; and each of the broken mechanisms once.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from time import process_time
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from benchmarks.__main__ import machine
from lab import Experiment, run
from lab.audits import AUDITS
from lab.audits.audit import AuditedRun
from lab.audits.faults import FAULTS
from lab.audits.run_audit import run_audit
from lab.scoring.audit_score import AuditScore

RESULTS = Path(__file__).parent / "results" / "audited.json"
SEEDS, CANARIES = 20, 5000
WANTED = {8.0: 0.85, 4.0: 0.80, 2.0: 0.65}  # share of epsilon
PLANS = {  # sampling rate and steps: rounds, batch size
    "q = 1, 100 steps": (100, 1000),
    "q = 0.1, 300 steps": (30, 100),
}
BASE = Experiment.read(
    {
        "data": {"source": "fashion-mnist", "clients": 2, "examples": 2000},
        "model": {"kind": "mlp", "hidden": 32},
        "training": {"rate": 0.5},
        "privacy": {"kind": "example", "delta": 1e-5, "clip": 1.0},
    }
)


def past_of(experiment: Experiment) -> AuditedRun:
    """The run, with all models that its clients were sent."""
    sent: list[Tensor] = [moment.transcript.sent for moment in run(experiment)]
    return AuditedRun(experiment, len(sent), lambda round: sent[round - 1])


def audited(past: AuditedRun, fault: str = "none") -> tuple[AuditScore, float]:
    """What came of it, and the processor's seconds."""
    spy = AUDITS["one-run"].model_validate({"canaries": CANARIES, "beside": 1000, "fault": fault})
    began = process_time()
    *_, last = run_audit(spy, past)
    assert last.result is not None
    found = last.result.score
    assert isinstance(found, AuditScore)
    return found, process_time() - began


def cell(plan: str, epsilon: float) -> dict[str, Any]:
    """Twenty seeds of one promise."""
    rounds, batch = PLANS[plan]
    settings = {
        "training.rounds": rounds, "training.batch_size": batch, "privacy.epsilon": epsilon,
    }  # fmt: skip
    proven: dict[str, list[float]] = defaultdict(list)
    accused, seconds = 0, []
    for seed in track(range(SEEDS), f"{plan}, epsilon {epsilon:g}"):
        found, spent = audited(past_of(BASE.changed(settings | {"seed": seed})))
        for bound in found.bounds:
            proven[bound.method].append(bound.epsilon)
        reading = found.readings[-1]
        accused += reading.claimed is not None and reading.certain > reading.claimed
        seconds.append(spent)
    main = next(iter(proven))
    return {
        "plan": plan,
        "epsilon": epsilon,
        "proven": {name: fmean(values) for name, values in proven.items()},
        "share": fmean(proven[main]) / epsilon,
        "wanted": WANTED[epsilon],
        "beyond": {name: sum(one > epsilon for one in values) for name, values in proven.items()},
        "accused": accused,
        "seconds": fmean(seconds),
    }


def faults() -> dict[str, dict[str, float]]:
    """Each broken mechanism once, claimed at epsilon 8."""
    rounds, batch = PLANS["q = 0.1, 300 steps"]
    settings = {"training.rounds": rounds, "training.batch_size": batch, "privacy.epsilon": 8.0}
    past = past_of(BASE.changed(settings))
    found: dict[str, dict[str, float]] = {}
    for fault in FAULTS:
        reading = audited(past, fault)[0].readings[-1]
        found[fault] = {"proven": reading.proven, "certain": reading.certain}
    return found


def main() -> None:
    """Measure, print, and write down."""
    torch.set_num_threads(1)
    cells = [cell(plan, epsilon) for plan in PLANS for epsilon in WANTED]
    found = {"machine": machine(), "seeds": SEEDS, "cells": cells, "faults at 8": faults()}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    table = Table("plan", "epsilon", "proven", "share", "wanted", "beyond", "accused", "CPU s")
    for each in cells:
        best = next(iter(each["proven"]))
        table.add_row(
            each["plan"], f"{each['epsilon']:g}", f"{each['proven'][best]:.2f}",
            f"{each['share']:.0%}", f"{each['wanted']:.0%}", str(each["beyond"][best]),
            str(each["accused"]), f"{each['seconds']:.1f}",
        )  # fmt: skip
    Console().print(table)
    sys.stdout.write(json.dumps(found["faults at 8"]) + "\n")


if __name__ == "__main__":
    main()
