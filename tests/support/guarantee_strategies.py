"""Random settings under privacy that the lab accepts: tiny models, few clients, few rounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice, product
from random import Random
from typing import Any

from lab.common.settings import SettingError
from lab.experiment.experiment import Experiment
from lab.interfaces.aggregation import Codec
from lab.interfaces.federated_algorithm import Algorithm
from lab.interfaces.poisoning import PoisoningAttack

PLACES = ("distributed", "central", "local")
SAMPLINGS = ("poisson", "fixed")
TRIES = 20  # of one algorithm and one poison
BASE: dict[str, Any] = {
    "data.source": "digits",
    "training.rounds": 3,
    "training.steps": 1,
    "training.rate": 0.5,
    "privacy.delta": 1e-3,
}
MODELS: tuple[dict[str, Any], ...] = (
    {"model.kind": "logistic"},
    {"model.kind": "mlp", "model.hidden": 8},
    {"model.kind": "mlp", "model.hidden": 20},
)
# As published, so large that a float32 beside them loses the noise.
MODEST: dict[str, dict[str, Any]] = {"mpaf": {"scale": 10.0}}


def poison(kind: str) -> dict[str, Any]:
    return {"kind": kind, **MODEST.get(kind, {})}


@dataclass(frozen=True)
class Combination:
    """What every draw of it has in common."""

    unit: str
    place: str
    masks: bool
    sampling: str

    def __str__(self) -> str:
        return f"{self.unit} {self.place} {'masked' if self.masks else 'plain'} {self.sampling}"

    def settings(self) -> dict[str, Any]:
        return {
            "privacy.kind": self.unit,
            "privacy.place": self.place,
            "privacy.sampling": self.sampling,
            "secure_aggregation.enabled": self.masks,
        }


CLIENTS = [Combination("client", *rest) for rest in product(PLACES, (False, True), SAMPLINGS)]
EXAMPLES = [
    Combination("example", "distributed", *rest) for rest in product((False, True), SAMPLINGS)
]


@cache
def drawn(combination: Combination, count: int) -> tuple[Experiment, ...]:
    """The first so many experiments of that combination, the same on every call."""
    return tuple(islice(_accepted(combination), count))


def _accepted(combination: Combination) -> Iterator[Experiment]:
    """Every other one begins with nothing that may leave a run without a guarantee."""
    chance = Random(str(combination))
    poisons, algorithms = (
        _all_in_turn(part.table, chance) for part in (PoisoningAttack, Algorithm)
    )
    parts = zip(algorithms, poisons, strict=True)
    for bold in cycle((False, True)):
        yield _one(combination, parts, bold, chance)


def _one(
    combination: Combination, parts: Iterator[tuple[str, str]], bold: bool, chance: Random
) -> Experiment:
    for algorithm, kind in parts:
        chosen = {"training.algorithm": algorithm, "adversary.attack": poison(kind)}
        for _ in range(TRIES):
            try:
                return _changed(combination.settings(), chosen, bold, chance)
            except SettingError:
                continue  # refused, so that nobody can run it
    raise AssertionError  # parts never end


def _all_in_turn(table: dict[str, Any], chance: Random) -> Iterator[str]:
    """Kinds of a table in random order, again and again, so that none is left out."""
    return cycle(chance.sample(sorted(table), len(table)))


def _changed(
    common: dict[str, Any], parts: dict[str, Any], bold: bool, chance: Random
) -> Experiment:
    """One draw.  Raises SettingError."""
    settings = BASE | _federation(common, chance) | common | _privacy(common, chance) | parts
    if common["secure_aggregation.enabled"]:
        settings |= _masks(bold, chance)
    settings |= _losses(chance)
    settings |= _others(settings["data.clients"], chance) if bold else {}
    if common["privacy.kind"] == "example":
        settings |= _filters(chance)
    experiment = Experiment().changed(settings)
    if chance.random() < 0.4:
        round = chance.choice((2, 3))
        experiment = experiment.changed_from(round, _change(common, chance))
    return experiment


def _federation(common: dict[str, Any], chance: Random) -> dict[str, Any]:
    few = common["secure_aggregation.enabled"]
    clients = chance.choice((5, 6, 7)) if few else chance.randint(4, 10)
    if few and chance.random() < 0.1:
        clients = 16  # a Poisson cohort of which is hardly ever too small to be unmasked
    asked = chance.choice((0, 0, clients - 1, clients - 2))
    return {
        "seed": chance.randrange(10**6),
        "data.clients": clients,
        "data.examples": 20 * clients,
        "data.partition.kind": chance.choice(("iid", "quantity")),
        "training.clients_per_round": asked,
        "training.batch_size": chance.choice((5, 20)),
        "training.steps": chance.choice((0, 1)),
        **chance.choice(MODELS),
    }


def _privacy(common: dict[str, Any], chance: Random) -> dict[str, Any]:
    found: dict[str, Any] = {
        "privacy.clip": chance.choice((0.01, 0.3, 1.0, 50.0)),
        "privacy.noise": chance.choice((0.0, 0.5, 1.0, 3.0)),
        "privacy.epsilon": 8.0,
        "privacy.per_layer": chance.random() < 0.3,
    }
    if common["privacy.kind"] == "client" and chance.random() < 0.2:
        found |= {"privacy.quantile": chance.choice((0.3, 0.8)), "privacy.noise": 0.3}
    return found


def _masks(bold: bool, chance: Random) -> dict[str, Any]:
    return {
        "secure_aggregation.bound": chance.choice((0.5, 8.0, 1e5) if bold else (0.5, 8.0)),
        "secure_aggregation.buckets": chance.choice((1, 1, 1, 2)),
        "secure_aggregation.neighbours": chance.choice((0, 0, 2, 4)),
        "secure_aggregation.threshold": chance.choice((0.51, 0.67, 1.0)),
        "secure_aggregation.silent": chance.choice(("keys", "shares", "input", "unmasking")),
        "secure_aggregation.norm": chance.choice((0.0, 0.0, 1.0)),
    }


def _losses(chance: Random) -> dict[str, Any]:
    timed = chance.random() < 0.3
    return {
        "network.dropout": chance.choice((0.0, 0.0, 0.2, 0.5)),
        "network.devices": "mixed" if timed else "none",
        "network.deadline": chance.choice((0.0, 0.01, 0.03)) if timed else 0.0,
    }


def _others(clients: int, chance: Random) -> dict[str, Any]:
    """Malicious clients, in two draws of three."""
    some = chance.random() < 2 / 3
    return {
        "adversary.count": chance.randint(1, clients - 1) if some else 0,
        "adversary.start": chance.choice((1, 1, 2)),
    }


def _filters(chance: Random) -> dict[str, Any]:
    """What only goes with protection of examples."""
    return {
        "network.compression": chance.choice(("none", chance.choice(sorted(Codec.table)))),
        "network.error_feedback": chance.random() < 0.2,
        "aggregation.rule": chance.choice(("mean", "mean", "median", "trimmed-mean", "fltrust")),
        "aggregation.pre_aggregators": chance.choice(([], [], ["norm-bound"])),
    }


def _change(common: dict[str, Any], chance: Random) -> dict[str, Any]:
    changes: list[dict[str, Any]] = [
        {"privacy.noise": 2.0},
        {"privacy.clip": 0.1},
        {"training.clients_per_round": 0},
        {"training.batch_size": 10},
        {"network.dropout": 0.3},
        {"adversary.count": 2},
        {"secure_aggregation.enabled": not common["secure_aggregation.enabled"]},
        {"secure_aggregation.bound": 1e5},
        {"training.algorithm": "fedavg"},
    ]
    if common["privacy.kind"] == "client":
        changes += [{"privacy.place": place} for place in PLACES]
    return chance.choice(changes)
