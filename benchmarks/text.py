"""Sentences read off updates of a small transformer: `python -m benchmarks.text`.

Twenty batches a case, drawn by seeds 0 to 19 and never picked: which sentences come back word by
word, which false ones are claimed, and how long it takes on one core.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from attacks.reconstruction.analytic.sentences import Sentences
from attacks.reconstruction.analytic.tokens import Tokens
from benchmarks.__main__ import HERE, machine
from lab import Experiment, run
from lab.attack_runs.shared.auxiliary_info import auxiliary_info
from lab.attack_runs.shared.ground_truth import reconstruction_scorer
from lab.engine.run_state import RoundResult
from lab.interfaces.attack_data import ReconstructedBatch
from lab.interfaces.views import server_view
from lab.scoring.reconstruction.text_score import rows_of

RESULTS = HERE / "results" / "text.json"
SEEDS = 20
SPENT = ("seconds", "accuracy")  # of which no sum is taken
PLAIN = Experiment.read(
    {
        "data": {"source": "chat", "clients": 200, "partition": "natural"},
        "model": {"kind": "transformer"},
        "training": {"rounds": 1, "clients_per_round": 1, "steps": 1, "rate": 0.1},
    }
)


@dataclass(frozen=True)
class Case:
    """Twenty batches of one kind."""

    about: str
    batch: int
    trained: int = 0  # rounds before the attack
    changes: dict[str, Any] = field(default_factory=dict)


CASES = (
    Case("untrained", 1),
    Case("untrained", 4),
    Case("untrained", 7),
    Case("after 20 rounds", 7, trained=20),
    Case("as many words as the model is wide", 8),
    Case("two local steps", 7, changes={"training.steps": 2}),
    Case("noise multiplier 0.1", 7, changes={"privacy.kind": "client", "privacy.noise": 0.1}),
)


def moments(case: Case) -> Iterator[tuple[RoundResult, int]]:
    """A round and a client for each batch."""
    asked = {"training.batch_size": case.batch, **case.changes}
    if not case.trained:
        for seed in range(SEEDS):
            now = PLAIN.changed({"seed": seed, **asked})
            if now.privacy.kind == "client":
                now = now.changed({"training.clients_per_round": 20})
            *_, moment = run(now)
            yield moment, moment.record.arrived[0]
        return
    many = {"training.rounds": case.trained, "training.clients_per_round": 10}
    *_, moment = run(PLAIN.changed({**many, "training.steps": 10, "training.batch_size": 10}))
    told = {"training.rounds": case.trained + 1, "training.clients_per_round": SEEDS}
    *_, moment = run(PLAIN.changed(told | asked), state=moment.state)
    for client in moment.record.arrived:
        yield moment, client


def measured(case: Case) -> dict[str, Any]:
    rows = [attacked(*one) for one in moments(case)]
    return {
        "about": case.about,
        "batch": case.batch,
        "batches": len(rows),
        "accuracy": rows[0]["accuracy"],
        **{name: sum(row[name] for row in rows) for name in rows[0] if name not in SPENT},
        "seconds": median(row["seconds"] for row in rows),
        "slowest": max(row["seconds"] for row in rows),
    }


def attacked(moment: RoundResult, client: int) -> dict[str, Any]:
    """What came of one batch, in whole numbers."""
    now, round = moment.state.experiment.at(moment.record.round), moment.record.round
    view, known = server_view(moment.transcript), auxiliary_info(now, round)
    judge = reconstruction_scorer(now, round, client)
    begun = perf_counter()
    *_, guess = Sentences()(view, client, known)
    seconds = perf_counter() - begun
    *_, words = Tokens()(view, client, known)
    assert words.bag is not None
    found = set(words.bag.nonzero().flatten().tolist())
    typed = set(judge.inputs.int().flatten().tolist())
    exact = (rows_of(guess.inputs) & rows_of(judge.inputs)).total()
    right = _whole(guess) == _whole(ReconstructedBatch(judge.inputs, judge.labels, 1, 1))
    return {
        "sentences": len(judge.inputs),
        "exact": exact,
        "false": len(guess.inputs) - exact,
        "whole_batches": int(right),
        "certified": int(bool(guess.proven)),
        "certified_and_wrong": int(bool(guess.proven) and not right),
        "words_exact": int(found == typed),
        "words_false": len(found - typed),
        "seconds": seconds,
        "accuracy": moment.record.accuracy,
    }


def _whole(guess: ReconstructedBatch) -> Counter[tuple[int, ...]]:
    """Sentences with their next words."""
    if len(guess.labels) != len(guess.inputs):
        return Counter()
    return rows_of(torch.cat([guess.inputs, guess.labels.unsqueeze(1)], dim=1))


def table_of(rows: list[dict[str, Any]]) -> Table:
    head = ("batch of 16 words", "sentences exact", "false", "batches with next words")
    table = Table(*head, "certified", "of these wrong", "words exact", "seconds (slowest)")
    for row in rows:
        table.add_row(
            f"{row['batch']}, {row['about']}",
            f"{row['exact']} of {row['sentences']}",
            str(row["false"]),
            f"{row['whole_batches']} of {row['batches']}",
            str(row["certified"]),
            str(row["certified_and_wrong"]),
            f"{row['words_exact']} of {row['batches']}",
            f"{row['seconds']:.2f} ({row['slowest']:.2f})",
        )
    return table


def main() -> None:
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for case in CASES:
        rows.append(measured(case))
        RESULTS.parent.mkdir(exist_ok=True)
        found = {"machine": machine(), "cases": rows}
        RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    Console(width=None if sys.stdout.isatty() else 150).print(table_of(rows))


if __name__ == "__main__":
    main()
