"""How well outsiders tell members from others, attack by attack at equal targets.

`python -m benchmarks.membership` for the MLP, and with `cnn` for a small CNN.  A pool of 2,000
pictures of Fashion-MNIST; every model is trained on a random half, and no target is a shadow.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from attacks import PRIVACY_ATTACKS
from benchmarks.halves import PUBLIC, Trained, trained
from benchmarks.pooled import Sides, drawn, figures, summary
from lab import Experiment, run
from lab.attack_runs.membership.outsider import run_membership
from lab.common.threads import start_threads
from lab.interfaces.attack_data import Candidates, MembershipSignals
from lab.interfaces.privacy_attacks import MembershipInferenceAttack
from lab.interfaces.views import OutsiderView

RESULTS = Path(__file__).parent / "results"
TARGETS = 8  # of each pool
MEANT = {
    "auc, tpr_0.1%, tpr_1%": "value and 95 % interval, all targets' scores under one threshold; "
    "drawn anew target by target, so that the interval takes the threshold's luck in, too",
    "gains": "of the first over the second on the same targets, in the same draws",
    "tuned": "the ensemble's and the shrinkage's constants on seeds 1000 to 1002 of this set-up",
    "public": "examples that nobody trained on, which quantile regression and the ensemble use",
}
Settings = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What is trained, and how often."""

    seeds: Sequence[int]
    shadows: int
    settings: Settings
    rows: Sequence[tuple[str, int, Settings]]  # attack, its shadows, its settings


def _of_shadows(*counts: int) -> list[tuple[str, int, Settings]]:
    named: list[tuple[str, Settings]] = [
        ("lira-online", {"variance": "per-example"}),
        ("lira-online", {"variance": "pooled"}),
        ("lira-online", {}),
        ("lira-offline", {}),
        ("rmia", {"score": "quantised", "population": PUBLIC}),
        ("rmia", {}),
        ("rank-ensemble", {"public": 0}),
        ("rank-ensemble", {"public": PUBLIC}),
    ]
    return [(name, count, settings) for count in counts for name, settings in named]


ROWS: list[tuple[str, int, Settings]] = [
    ("loss-threshold", 0, {}),
    ("entropy", 0, {"measure": "confidence"}),
    ("entropy", 0, {"measure": "entropy"}),
    ("entropy", 0, {"measure": "modified"}),
    ("gradient-norm", 0, {}),
    ("quantile-regression", 0, {"public": PUBLIC}),
    ("calibrated-loss", 16, {}),
    ("shadow-models", 16, {}),
]
PLANS = {
    "mlp": Plan(
        range(4),
        64,
        {"model": "mlp", "training.epochs": 50, "training.rate": 0.06},
        [*ROWS, ("rmia", 2, {}), *_of_shadows(4, 16, 64)],
    ),
    "cnn": Plan(
        range(2),
        16,
        {
            "model.kind": "cnn",
            "model.channels": 4,
            "training.epochs": 30,
            "training.rate": 0.1,
        },
        [*ROWS, *_of_shadows(16)],
    ),
}


def scores_of(found: Trained, name: str, shadows: int, settings: Settings) -> Iterator[Tensor]:
    """Of each target.  -> (pool,)"""
    spy = PRIVACY_ATTACKS[name].model_validate(settings)
    assert isinstance(spy, MembershipInferenceAttack)
    most = spy.needs().public
    known = Candidates(found.public.inputs[:most], found.public.labels[:most])
    places = [*range(TARGETS), *range(TARGETS, TARGETS + shadows)]
    asked, public = (
        torch.stack(
            [spy.signal(OutsiderView(1, found.network, found.models[at]), those) for at in places]
        )
        for those in (found.pool, known)
    )
    told = MembershipSignals(
        found.pool,
        asked[0],
        asked[TARGETS:],
        found.inside[TARGETS : TARGETS + shadows],
        known,
        public[0],
        public[TARGETS:],
    )
    for target in range(TARGETS):
        yield spy(replace(told, target=asked[target], target_public=public[target]))


def measured(plan: Plan, tell: Callable[[dict[str, Any]], None]) -> None:
    """Pool after pool; `tell` gets what all so far came to."""
    sides: list[Sides] = [[] for _ in plan.rows]
    seconds, accuracies = [0.0] * len(plan.rows), []
    for count, seed in enumerate(plan.seeds, 1):
        begun = process_time()
        found = trained(seed, TARGETS + plan.shadows, plan.settings)
        each = (process_time() - begun) / len(found.models)
        accuracies.append(found.accuracy())
        for place, row in enumerate(plan.rows):
            begun = process_time()
            scored = [scores.double().numpy() for scores in scores_of(found, *row)]
            seconds[place] += process_time() - begun
            truth = found.inside[:TARGETS].numpy()
            sides[place] += [
                (scores[mine], scores[~mine]) for scores, mine in zip(scored, truth, strict=True)
            ]
        tell(
            {
                "seeds": list(plan.seeds)[:count],
                "targets": TARGETS * count,
                "settings": plan.settings,
                "accuracy inside, outside": np.mean(accuracies, axis=0).round(4).tolist(),
                "cpu seconds a model": round(each, 3),
                **concluded(plan, sides, [spent / (TARGETS * count) for spent in seconds]),
            }
        )


def concluded(plan: Plan, sides: list[Sides], seconds: list[float]) -> dict[str, Any]:
    everybody = range(len(sides[0]))
    values = [figures(each, everybody) for each in sides]
    draws = [drawn(each) for each in sides]
    rows = [
        {"attack": name, "shadows": shadows, "settings": settings, "cpu seconds": round(spent, 3)}
        | summary(value, draw)
        for (name, shadows, settings), spent, value, draw in zip(
            plan.rows, seconds, values, draws, strict=True
        )
    ]
    places = {(row[0], row[1], str(row[2])): place for place, row in enumerate(plan.rows)}
    best = places["rank-ensemble", 16, str({"public": PUBLIC})]
    gains = {}
    for shadows in (16, 64):
        other = places.get(("lira-online", shadows, str({"variance": "per-example"})))
        if other is not None:
            gains[f"rank-ensemble of 16 over per-example LiRA of {shadows}"] = summary(
                values[best] - values[other], draws[best] - draws[other]
            )
    return {"rows": rows, "gains": gains}


def speed() -> dict[str, float]:
    """Processor seconds of LiRA end to end: shadows, signals, score and judgement.

    Two clients hold 1,000 examples, and train an MLP of 64 neurons for 50 epochs.
    """
    now = Experiment().changed(
        {
            "data.source": "fashion-mnist-full",
            "data.clients": 2,
            "data.examples": 1000,
            "training.rounds": 1,
            "training.epochs": 50,
            "training.batch_size": 50,
        }
    )
    *_, moment = run(now)
    found = {}
    for shadows in (16, 64):
        begun = process_time()
        spy = PRIVACY_ATTACKS["lira-online"].model_validate({"shadows": shadows})
        assert isinstance(spy, MembershipInferenceAttack)
        list(run_membership(spy, moment.state))
        found[f"lira-online of {shadows}"] = round(process_time() - begun, 2)
    return found


def table(found: dict[str, Any]) -> Table:
    shown = Table("attack", "shadows", "settings", "AUC", "TPR at 0.1 %", "at 1 %", "CPU s")
    for row in found["rows"]:
        auc_, *rates = (row[name] for name in ("auc", "tpr_0.1%", "tpr_1%"))
        shown.add_row(
            row["attack"],
            str(row["shadows"] or ""),
            " ".join(f"{name}={value}" for name, value in row["settings"].items()),
            "{:.3f} ({:.3f} to {:.3f})".format(*auc_),
            *("{:.2%} ({:.2%} to {:.2%})".format(*rate) for rate in rates),
            f"{row['cpu seconds']:.2f}",
        )
    return shown


def main() -> None:
    start_threads()
    kind = sys.argv[1] if len(sys.argv) > 1 else "mlp"
    path = RESULTS / f"membership{'' if kind == 'mlp' else '_' + kind}.json"
    kept: dict[str, Any] = {"meant": MEANT}

    def tell(found: dict[str, Any]) -> None:
        kept.update({"load": os.getloadavg()} | found)
        path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")

    measured(PLANS[kind], tell)
    if kind == "mlp":
        tell({"cpu seconds end to end": speed()})
    Console(width=150).print(table(kept), kept["gains"], kept.get("cpu seconds end to end"))


if __name__ == "__main__":
    main()
