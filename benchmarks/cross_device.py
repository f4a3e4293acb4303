"""Cross-device: what a round costs while the federation grows and its cohorts do not.

`python -m benchmarks.cross_device`.  Six examples a client, 200 clients a round.
"""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter

from rich.console import Console
from rich.table import Table

from lab import Experiment, run
from lab.common.threads import start_threads

RESULTS = Path(__file__).parent / "results" / "cross_device.json"
CLIENTS, EACH, WARM_UPS, ROUNDS = (500, 2000, 10_000), 6, 2, 7


def seconds(clients: int) -> float:
    """Of the median round, with the test after it."""
    settings = {
        "data.source": "fashion-mnist-full",
        "data.clients": clients,
        "data.examples": EACH * clients,
        "training.clients_per_round": 200,
        "training.rounds": WARM_UPS + ROUNDS,
        "training.batch_size": EACH,
    }
    rounds = run(Experiment().changed(settings))
    list(islice(rounds, WARM_UPS))
    laps = []
    for _ in range(ROUNDS):
        start = perf_counter()
        next(rounds)
        laps.append(perf_counter() - start)
    return median(laps)


def main() -> None:
    start_threads()
    found = {clients: seconds(clients) for clients in CLIENTS}
    table = Table("clients", "seconds a round", "against the smallest")
    for clients, value in found.items():
        table.add_row(f"{clients:,}", f"{value:.3f}", f"{value / found[CLIENTS[0]]:.2f}x")
    Console().print(table)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
