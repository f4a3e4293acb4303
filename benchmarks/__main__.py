"""Rounds of Leaklab beside those of its peers: `make bench`, or `python -m benchmarks`.

Ratios count, and only within one run: machines differ, and are seldom quiet.  Everybody is measured
in a process of its own, on its better number of threads.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console

from benchmarks.clock import WARM_UPS, ask, busy, launch, products
from benchmarks.rules import of_rules, timed
from benchmarks.secure_aggregation import compared, of_masks
from benchmarks.shadows import of_shadows
from benchmarks.shadows import timed as shadows_timed
from benchmarks.tables import of_private, of_rounds
from benchmarks.workloads import WORKLOADS, Workload, installed
from lab import ROOT

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "rounds.json"
THEIRS = ROOT / ".venv-bench" / "bin" / "python"
PEERS = {"Flower": "flower.py", "pfl": "pfl_research.py", "FedJAX": "fed_jax.py"}
THREADS = (1, 2)
screen = Console(stderr=True)


def machine() -> dict[str, object]:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load": os.getloadavg(),
    }


def best(answer: dict[str, Any]) -> float:
    return float(min(answer["seconds"][WARM_UPS:]))


def sequential(workload: Workload) -> dict[str, Any]:
    command = (sys.executable, "-m", "benchmarks.sequential", workload.name)
    return better("sequential", command)


def peer(name: str, task: Path) -> dict[str, Any]:
    script = str(HERE / "peers" / PEERS[name])
    return better(name, (str(THEIRS), script, str(task)))


def better(name: str, command: tuple[str, ...]) -> dict[str, Any]:
    """The faster of its numbers of threads, or why there is none."""
    found: list[dict[str, Any]] = []
    for threads in THREADS:
        screen.print(f"  {name}, {threads} threads", style="dim")
        try:
            answer = ask(*command, str(threads), environment={"PYTHONPATH": str(HERE / "peers")})
        except (OSError, ValueError, IndexError, subprocess.SubprocessError) as error:
            told = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            return {"missing": f"{name} did not run: {told[-1] if told else error!r}"}
        found.append({"threads": threads, "best": best(answer), **answer})
    first = min(found, key=lambda answer: float(answer["best"]))
    return first | {"each": {answer["threads"]: answer["best"] for answer in found}}


def launched(workload: Workload) -> tuple[float, float]:
    """Of `leaklab run`, as a user starts it: seconds to the first finished round, megabytes."""
    told = workload.experiment.changed({"training.rounds": 3}).command()
    command = [sys.executable, "-m", "lab.cli", *shlex.split(told)[1:], "--json"]
    runs = [launch(*command) for _ in range(3)]
    return min(seconds for seconds, _ in runs), max(memory for _, memory in runs)


def measured(workload: Workload, with_peers: bool, rate: float) -> dict[str, Any]:
    screen.print(f"{workload.name}: {workload.about}", style="dim")
    own = ask(sys.executable, "-m", "benchmarks.ours", workload.name)
    rounded = ask(sys.executable, "-m", "benchmarks.ours", workload.name, "bfloat16")
    seconds, (start, memory) = best(own), launched(workload)
    peers = {"sequential": sequential(workload)}
    if with_peers:
        with tempfile.TemporaryDirectory() as folder:
            task = Path(folder) / "task.npz"
            workload.write(task)
            peers |= {name: peer(name, task) for name in PEERS}
    return {
        "about": workload.about,
        "seconds": seconds,
        "median": median(own["seconds"][WARM_UPS:]),
        "with_test": own["tested"],
        "bfloat16": {"seconds": best(rounded), "accuracy": rounded["accuracy"]},
        "samples_per_second": workload.samples / seconds,
        "accuracy": own["accuracy"],
        "rounds": workload.rounds,
        "gflop": workload.flops / 1e9,
        "share_of_products": workload.flops / seconds / rate,
        "launch": start,
        "megabytes": memory,
        "ratios": {name: each["best"] / seconds for name, each in peers.items() if "best" in each},
        "peers": peers,
    }


def contention() -> float:
    """How much slower the median round is while another process never rests."""
    command = (sys.executable, "-m", "benchmarks.ours", "W3")
    quiet = median(ask(*command)["seconds"][WARM_UPS:])
    with busy():
        return float(median(ask(*command)["seconds"][WARM_UPS:]) / quiet)


def write(found: dict[str, Any]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    reader = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    reader.add_argument("--no-peers", action="store_true", help="only the sequential loop")
    with_peers = not reader.parse_args().no_peers
    paper = Console(width=None if sys.stdout.isatty() else 150)
    if not installed():
        paper.print("The full Fashion-MNIST is not here: apt install dataset-fashion-mnist first.")
        return
    if with_peers and not THEIRS.exists():
        paper.print("No .venv-bench, so no peers but the sequential loop: make bench installs it.")
        with_peers = False
    found: dict[str, Any] = {"machine": machine()}
    rate = max(products() for _ in range(3))
    workloads: dict[str, Any] = {}
    found |= {"gflops": rate / 1e9, "workloads": workloads}
    for name, each in WORKLOADS.items():
        workloads[name] = measured(each, with_peers, rate)
        write(found)  # minutes apart, so that nothing is lost
    found["contention"] = contention()
    screen.print("private steps", style="dim")
    found["private"] = ask(sys.executable, "-m", "benchmarks.private")["rows"]
    screen.print("secure aggregation", style="dim")
    masks = compared()  # has a file of results of its own
    screen.print("rules and stages", style="dim")
    rules = timed()  # and so has this
    screen.print("shadow models", style="dim")
    shadows = shadows_timed()  # and this
    found["machine"]["load_after"] = os.getloadavg()
    write(found)
    paper.print(of_rounds(found))
    paper.print(of_private(found["private"]))
    paper.print(of_masks(masks))
    paper.print(of_rules(rules))
    paper.print(of_shadows(shadows))
    paper.print(f"W3 beside one busy process: a median round takes {found['contention']:.1f} x.")
    for name, row in workloads.items():
        for peer_found in row["peers"].values():
            if "missing" in peer_found:
                paper.print(f"{name}: {peer_found['missing']}")


if __name__ == "__main__":
    main()
