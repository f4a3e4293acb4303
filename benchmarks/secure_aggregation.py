"""A round of secure aggregation beside Flower's SecAgg+: `python -m benchmarks.secure_aggregation`.

Both hide the same updates of all clients in one process, without a network, a tenth of the clients
lost after they have shared their keys.  Ours is the whole channel, from rows to their mean.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.clock import answer, ask, laps
from defenses import CHANNELS
from defenses.secure_aggregation import enough
from lab import ROOT
from lab.interfaces.messages import Cohort

RESULTS = ROOT / "benchmarks" / "results" / "secure_aggregation.json"
THEIRS = ROOT / ".venv-bench" / "bin" / "python"
PEER = ROOT / "benchmarks" / "peers" / "flower_masks.py"
SHARE = 0.67


@dataclass(frozen=True)
class Case:
    """So many clients with so many coordinates; 0 neighbours: everybody."""

    clients: int
    params: int
    neighbours: int
    beside: bool = False  # whether Flower runs it too

    @property
    def lost(self) -> int:
        return ceil(self.clients / 10)

    @property
    def about(self) -> str:
        graph = f"{self.neighbours} neighbours" if self.neighbours else "everybody"
        return f"{self.clients} clients, {self.params:,} coordinates, {graph}"


CASES = (
    Case(10, 10**5, 0, beside=True),
    Case(30, 10**5, 0, beside=True),
    Case(30, 10**5, 10, beside=True),
    Case(10, 10**6, 0),
    Case(30, 10**6, 10),
    Case(100, 10**5, 20),
    Case(100, 10**5, 0),
)


def ours(case: Case, rounds: int = 5) -> None:
    """Measure in this process; the answer is its last line."""
    torch.set_num_threads(1)  # as in a run: the channel has threads of its own
    generator = np.random.default_rng(0)
    rows = torch.from_numpy(generator.uniform(-1, 1, (case.clients, case.params)).astype("f4"))
    gone = torch.arange(case.clients) < case.lost
    cohort = Cohort(
        seed=0,
        round=1,
        clients=tuple(range(case.clients)),
        weights=torch.ones(case.clients),
        malicious=torch.zeros_like(gone),
        lost=gone,
        expected=float(case.clients),
    )
    channel = CHANNELS["masked"].model_validate(
        {"kind": "masked", "threshold": SHARE, "neighbours": case.neighbours}
    )
    sent, mean = torch.zeros(case.params), rows[~gone].double().mean(dim=0)
    errors: list[float] = []

    def act(_: int) -> None:
        delivery = channel(rows, cohort, sent)
        if delivery.aborted:
            raise SystemExit(delivery.note)
        errors.append(float((delivery.rows[0] - mean).abs().max()))

    answer(laps(act, rounds), None, error=max(errors))


def theirs(case: Case) -> dict[str, Any]:
    """The best of three, or of one where that takes long.  Raises CalledProcessError."""
    shares = case.neighbours + 1 if case.neighbours else case.clients
    repeats = 1 if shares > 20 else 3
    wanted = (case.clients, case.params, shares, enough(SHARE, shares), case.lost, repeats)
    return ask(str(THEIRS), str(PEER), *map(str, wanted))


def measured(case: Case) -> dict[str, Any]:
    own = ask(sys.executable, "-m", "benchmarks.secure_aggregation", json.dumps(asdict(case)))
    row = {"about": case.about, **asdict(case), "lost": case.lost, "own": own}
    row["seconds"] = min(own["seconds"])
    if case.beside and THEIRS.exists():
        flower = theirs(case)
        row |= {"flower": flower, "ratio": min(flower["seconds"]) / row["seconds"]}
    return row


def of_masks(rows: list[dict[str, Any]]) -> Table:
    title = "A round of secure aggregation, a tenth of the clients lost"
    table = Table("", "seconds", "largest error", "Flower", "its error", "x faster", title=title)
    for row in rows:
        told = [row["about"], f"{row['seconds']:.3f}", f"{row['own']['error']:.1e}"]
        if flower := row.get("flower"):
            told += [f"{min(flower['seconds']):.2f}", f"{flower['error']:.1e}"]
            told += [f"{row['ratio']:.0f}"]
        table.add_row(*told)
    return table


def compared() -> list[dict[str, Any]]:
    """All cases, which also go to the results."""
    rows = [measured(case) for case in CASES]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return rows


if __name__ == "__main__":
    if len(sys.argv) > 1:
        ours(Case(**json.loads(sys.argv[1])))
    else:
        Console(width=None if sys.stdout.isatty() else 120).print(of_masks(compared()))
