"""Every rule and every stage before it, in one round: `python -m benchmarks.rules`.

A fifth of the clients send minus their update, and each rule is told so.  On one thread, as in a
run.  The mean, a single matrix product, is the measure of all.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.clock import laps
from defenses import AGGREGATION_RULES, PREPARATIONS
from lab import ROOT
from lab.common.settings import Component
from lab.common.threads import start_threads
from lab.interfaces.aggregation import AggregationContext, PreAggregator
from lab.interfaces.messages import Cohort

RESULTS = ROOT / "benchmarks" / "results" / "rules.json"
CLIENTS, PARAMS, FAULTY, TIMES = 100, 100_000, 20, 3
SLOW = 1.0  # seconds, from which on a part has to say why
WHY = {
    "bulyan": "distances of all pairs; sorts every coordinate of three fifths of the clients",
    "geometric-median": "distances and a QR of all updates in float64; solved, not stepped towards",
    "mda": "distances of all pairs; the choice is exact, by search",
    "meamed": "sorts every coordinate, and finds those around its middle in float64",
    "median": "sorts every coordinate",
    "nnm": "distances of all pairs; as many means as clients, in float64",
    "signguard": "scikit-learn's mean shift, begun at every client",
    "trimmed-mean": "sorts every coordinate",
}
Act = Callable[[int], object]


def acts() -> dict[str, dict[str, Act]]:
    """What is measured, in its family."""
    generator = torch.Generator().manual_seed(0)
    way = torch.randn(PARAMS, generator=generator)
    rows = way + torch.randn(CLIENTS, PARAMS, generator=generator)
    rows[-FAULTY:] *= -1
    weights, malicious = torch.ones(CLIENTS), torch.arange(CLIENTS) >= CLIENTS - FAULTY
    cohort = Cohort(
        seed=0,
        round=1,
        clients=tuple(range(CLIENTS)),
        weights=weights,
        malicious=malicious,
        lost=torch.zeros_like(malicious),
        expected=float(CLIENTS),
    )

    def rule(kind: str) -> Act:
        part = AGGREGATION_RULES[kind].read(settings(AGGREGATION_RULES[kind]))
        return lambda _: part(rows, weights, AggregationContext(root=way))

    def stage(kind: str) -> Act:
        part = PREPARATIONS[kind].read(settings(PREPARATIONS[kind]))
        assert isinstance(part, PreAggregator)
        memory = part.begin(CLIENTS, PARAMS)
        return lambda _: part.prepare(rows, weights, cohort, memory)

    return {
        "rule": {kind: rule(kind) for kind in AGGREGATION_RULES},
        "stage": {kind: stage(kind) for kind in PREPARATIONS},
    }


def settings(part: type[Component]) -> dict[str, int]:
    return {"faulty": FAULTY} if "faulty" in part.model_fields else {}


def timed() -> list[dict[str, Any]]:
    """All of them, which also go to the results."""
    start_threads()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = [
        {"family": family, "kind": kind, "seconds": min(laps(act, TIMES))}
        for family, parts in acts().items()
        for kind, act in track(parts.items(), f"each {family}", transient=True)
    ]
    torch.set_num_threads(threads)
    mean = next(row["seconds"] for row in rows if row["kind"] == "mean")
    rows = [row | {"x_mean": row["seconds"] / mean} for row in rows]
    RESULTS.parent.mkdir(exist_ok=True)
    content = {"clients": CLIENTS, "params": PARAMS, "faulty": FAULTY, "load": os.getloadavg()}
    RESULTS.write_text(json.dumps(content | {"rows": rows}, indent=2) + "\n", encoding="utf-8")
    return rows


def of_rules(rows: list[dict[str, Any]]) -> Table:
    """The quickest first, each family by itself."""
    title = f"One round: {CLIENTS} clients, {PARAMS:,} parameters, {FAULTY} malicious"
    table = Table("", "", "seconds", "x mean", f"why above {SLOW:.0f} s", title=title)
    for row in sorted(rows, key=lambda row: (row["family"], row["seconds"])):
        why = WHY.get(row["kind"], "") if row["seconds"] > SLOW else ""
        seconds, times = f"{row['seconds']:.3f}", f"{row['x_mean']:.0f}"
        table.add_row(row["family"], row["kind"], seconds, times, why)
    return table


if __name__ == "__main__":
    Console(width=None if sys.stdout.isatty() else 120).print(of_rules(timed()))
