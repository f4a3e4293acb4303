"""Experiment files: an example, every setting one may hold, and what the user is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from lab.common.settings import Component, SettingError, Settings
from lab.experiment.experiment import Experiment
from lab.experiment.sections import (
    AdversarySettings,
    DataSettings,
    NetworkSettings,
    PrivacySettings,
    SecureAggregationSettings,
    TrainingSettings,
)
from lab.interfaces.aggregation import AggregationRule, Codec
from lab.interfaces.data import DataSource, Partition
from lab.interfaces.federated_algorithm import Algorithm
from lab.interfaces.poisoning import PoisoningAttack
from lab.models.architectures import Model

EXAMPLE = """
seed = 0
[data]
source = "fashion-mnist"
partition = { kind = "dirichlet", alpha = 0.3 }
clients = 20
[model]
kind = "cnn"
[training]
algorithm = { kind = "fedavg" }
rounds = 30
clients_per_round = 10
epochs = 1
batch_size = 32
rate = 0.1
[privacy]
kind = "client"
epsilon = 8.0
delta = 1e-3
clip = 1.0
[secure_aggregation]
enabled = false
threshold = 0.67
[adversary]
count = 4
attack = { kind = "sign-flip", scale = 3.0 }
[aggregation.rule]
kind = "mean"
[network]
dropout = 0.05
"""
SECTIONS: dict[str, type[Settings]] = {
    "data": DataSettings,
    "training": TrainingSettings,
    "privacy": PrivacySettings,
    "secure_aggregation": SecureAggregationSettings,
    "adversary": AdversarySettings,
    "network": NetworkSettings,
}
FAMILIES: dict[str, type[Component]] = {
    "data.source": DataSource,
    "data.partition": Partition,
    "model": Model,
    "training.algorithm": Algorithm,
    "adversary.attack": PoisoningAttack,
    "aggregation.rule": AggregationRule,
    "network.compression": Codec,
}
TEXT_MODELS = [kind for kind, model in Model.table.items() if "text" in model.reads]
LONGEST = 400  # characters of a message: two lines that somebody still reads
BACKDOOR = {"adversary.count": 1, "adversary.attack.kind": "backdoor"}


@dataclass(frozen=True)
class Declared:
    """One setting: where it is written, the kind it belongs to, what its line declares."""

    path: str
    kind: dict[str, str]
    field: dict[str, Any]

    def __str__(self) -> str:
        return " of ".join([self.path, *self.kind.values()])

    def given(self, value: Any) -> dict[str, Any]:
        text = self.kind.get("model.kind") in TEXT_MODELS
        people = self.kind.get("data.partition.kind") == "people"
        typed = {"data.source": "chat"} | ({"model.kind": "keyboard"} if people else {})
        return (typed if text or people else {}) | self.kind | {self.path: value}


def declared() -> Iterator[Declared]:
    """Every setting that an experiment file may hold, except the kinds of parts."""
    yield Declared("seed", {}, fields_of(Experiment)["seed"])
    for name, section in SECTIONS.items():
        for key, field in fields_of(section).items():
            if f"{name}.{key}" not in FAMILIES:
                yield Declared(f"{name}.{key}", {}, field)
    for path, family in FAMILIES.items():
        for kind, part in family.table.items():
            for key, field in fields_of(part).items():
                if key != "kind":
                    yield Declared(f"{path}.{key}", {f"{path}.kind": kind}, field)


def fields_of(settings: type[Settings]) -> dict[str, dict[str, Any]]:
    fields: dict[str, dict[str, Any]] = settings.model_json_schema()["properties"]
    return fields


DECLARED = tuple(declared())
NUMBERS = tuple(
    each
    for each in DECLARED
    if each.field.get("type") in ("integer", "number") and "enum" not in each.field
)
KINDS = [(path, kind) for path, family in FAMILIES.items() for kind in family.table]


def refusal(attempt: Callable[[], object]) -> str:
    """What the user is told, which is short whatever was given."""
    with pytest.raises(SettingError) as caught:
        attempt()
    message = str(caught.value)
    assert len(message.splitlines()) <= 2
    assert len(message) < LONGEST
    return message


def with_(settings: Mapping[str, Any]) -> Experiment:
    return Experiment().changed(settings)


def tree(settings: Mapping[str, Any]) -> dict[str, Any]:
    """{"data.clients": 3} -> {"data": {"clients": 3}}"""
    root: dict[str, Any] = {}
    for path, value in settings.items():
        *parents, last = path.split(".")
        node = root
        for name in parents:
            node = node.setdefault(name, {})
        node[last] = value
    return root


def accepted(given_: object) -> bool:
    try:
        Experiment.read(given_)
    except SettingError:
        return False
    return True
