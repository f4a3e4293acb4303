"""Seconds and bytes of a round beside the estimate: `python -m benchmarks.estimates`.

Each experiment runs in a process of its own, on one core.  The second round is timed.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections import deque
from typing import Any

from rich.console import Console

from lab import ROOT

RESULTS = ROOT / "benchmarks" / "results" / "estimates.json"
LIMIT = 120  # seconds for one experiment
STEP: dict[str, Any] = {"training.steps": 1}
MASKS = STEP | {"data.examples": 1000, "secure_aggregation.enabled": True}
TEXT = {"data.source": "chat", "data.clients": 10, "data.examples": 2000}
CASES: dict[str, dict[str, Any]] = {
    "MLP, 20 clients": {"data.clients": 20},
    "MLP, 20 clients, 10 epochs": {"data.clients": 20, "training.epochs": 10},
    "MLP, 100 clients": {"data.clients": 100},
    "MLP, 1,000 clients": {"data.clients": 1000},
    "MLP of 1.6 million, 200 clients": {"data.clients": 200, "model.hidden": 2048},
    "CNN, 20 clients": {"data.clients": 20, "model.kind": "cnn"},
    "LeNet, 20 clients": {"data.clients": 20, "model.kind": "lenet"},
    "transformer, 10 clients": TEXT | {"model.kind": "transformer"},
    "keyboard, 10 clients": TEXT | {"model.kind": "keyboard"},
    "masks, 50 clients": MASKS | {"data.clients": 50},
    "masks, 100 clients": MASKS | {"data.clients": 100},
    "masks, 200 clients": MASKS | {"data.clients": 200},
    "masks, 200 clients, 10 neighbours": MASKS
    | {"data.clients": 200, "secure_aggregation.neighbours": 10},
    "masks, 50 clients, 1.6 million": MASKS | {"data.clients": 50, "model.hidden": 2048},
    "masks, 100 clients, signatures": MASKS
    | {"data.clients": 100, "secure_aggregation.signatures": True},
    "example level": {"data.clients": 20, "privacy.kind": "example"},
    "example level, secure noise": {
        "data.clients": 5, "privacy.kind": "example", "privacy.secure_noise": True,
        "training.steps": 20,
    },
    "example level, Opacus": {
        "data.clients": 4, "privacy.kind": "example", "privacy.backend": "opacus",
    },
    "client level, 200 clients": {
        "data.clients": 200, "privacy.kind": "client", "privacy.noise": 1.0,
    },
    "median, 1,000 clients": STEP | {"data.clients": 1000, "aggregation.rule.kind": "median"},
    "geometric median, 1,000 clients": STEP
    | {"data.clients": 1000, "aggregation.rule.kind": "geometric-median"},
    "Krum, 1,000 clients": STEP | {"data.clients": 1000, "aggregation.rule.kind": "krum"},
    "Bulyan, 200 clients": STEP | {"data.clients": 200, "aggregation.rule.kind": "bulyan"},
    "NNM, 1,000 clients": STEP | {"data.clients": 1000, "aggregation.pre_aggregators": ["nnm"]},
    "DnC, 500 clients": STEP | {"data.clients": 500, "aggregation.rule.kind": "dnc"},
    "FLAME, 300 clients": STEP | {"data.clients": 300, "aggregation.rule.kind": "flame"},
    "SignGuard, 300 clients": STEP | {"data.clients": 300, "aggregation.rule.kind": "signguard"},
    "Ditto, 200 clients": {"data.clients": 200, "training.algorithm": "ditto"},
    "SCAFFOLD, 200 clients": {"data.clients": 200, "training.algorithm": "scaffold"},
    "min-max, 100 clients": STEP
    | {"data.clients": 100, "adversary.count": 20, "adversary.attack": "min-max"},
    "opt-alie against Krum, 50 clients": STEP
    | {
        "data.clients": 50, "adversary.count": 10, "adversary.attack": "opt-alie",
        "aggregation.rule.kind": "krum",
    },
    "top-k, 200 clients": STEP | {"data.clients": 200, "network.compression": "top-k"},
}  # fmt: skip


def main() -> None:
    """With the name of an experiment as argument, measures that one."""
    if sys.argv[1:]:
        sys.stdout.write(json.dumps(measured(CASES[sys.argv[1]])))
        return
    found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for name in CASES:
        command = [sys.executable, "-m", "benchmarks.estimates", name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True)
        found[name] = json.loads(done.stdout)
        Console().print(name, found[name])
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def measured(settings: dict[str, Any]) -> dict[str, float]:
    """Of the second round: seconds on the core, and megabytes beside data and libraries."""
    from lab import Experiment, run
    from lab.engine.cost_estimate import estimated
    from lab.engine.data.federation import federated_dataset

    experiment = Experiment().changed({"training.rounds": 2} | settings)
    federated_dataset(experiment)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rounds = run(experiment)
    next(rounds)
    began = time.process_time()
    deque(rounds, maxlen=0)
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = estimated(experiment)
    return {
        "seconds": round(seconds, 3),
        "estimated seconds": round(told.seconds, 3),
        "megabytes": round((peak - before) / 1024),
        "estimated megabytes": round(told.bytes / 1e6),
    }


if __name__ == "__main__":
    main()
