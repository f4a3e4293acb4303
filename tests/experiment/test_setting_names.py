"""Settings as people read them."""

from __future__ import annotations

from typing import Any

import pytest

from lab.experiment.experiment import Experiment
from lab.experiment.setting_names import told


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("secure_aggregation.enabled", True, "Secure aggregation: on"),
        ("secure_aggregation.enabled", False, "Secure aggregation: off"),
        ("privacy.epsilon", 8.0, "Privacy epsilon: 8"),
        ("privacy.kind", "client", "Privacy: client"),
        ("aggregation.rule.kind", "trimmed-mean", "Aggregation rule: Trimmed mean"),
        ("aggregation.rule", "median", "Aggregation rule: Median"),
        (
            "data.partition",
            {"kind": "dirichlet", "alpha": 0.3},
            "Data partition: Dirichlet label skew",
        ),
        ("aggregation.pre_aggregators", [], "Aggregation pre aggregators: none"),
        ("adversary.attack.scale", 3.0, "Adversary attack scale: 3"),
    ],
)
def test_a_setting_has_a_name_and_a_value_for_people(path: str, value: Any, words: str) -> None:
    assert told(path, value) == words


def test_every_setting_of_an_experiment_is_told() -> None:
    for section, values in Experiment().dump().items():
        for name, value in values.items() if isinstance(values, dict) else ():
            words = told(f"{section}.{name}", value)
            assert words[0].isupper()
            assert "." not in words.split(": ")[0]
            assert "_" not in words.split(": ")[0]
