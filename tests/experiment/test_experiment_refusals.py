"""Refusals: a file that cannot be meant is told so, with what would work."""

from __future__ import annotations

import math
from typing import Any

import pytest

from defenses import AGGREGATION_RULES
from lab.common.settings import nearest
from lab.experiment.experiment import Experiment
from lab.experiment.sections import TrainingSettings
from tests.support.experiment_files import BACKDOOR, refusal, with_

# --- by hand: single settings -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sead = 1", "sead is not a setting: did you mean seed?"),
        ("[dta]", "dta is not a setting: did you mean data?"),
        ("[data]\nclinets = 3", "data.clinets is not a setting: did you mean clients?"),
        (
            "[data]\npartition = { kind = 'dirichlet', alhpa = 0.3 }",
            "data.partition.alhpa is not a setting: did you mean alpha?",
        ),
        (
            "[adversary]\nattack = { kind = 'backdoor', tarjet = 3 }",
            "adversary.attack.tarjet is not a setting: did you mean target?",
        ),
        (
            "[[changes]]\nround = 2\nsett = { 'training.rate' = 1.0 }",
            "changes.0.sett is not a setting: did you mean set?",
        ),
        (
            "[[changes]]\nround = 2\nset = { 'training.raet' = 1.0 }",
            "changes, from round 2: training.raet is not a setting: did you mean rate?",
        ),
        (
            "[secure_aggregation]\nzzz = 1",
            "secure_aggregation.zzz is not a setting: choose from enabled, threshold, neighbours, "
            "buckets, bound, norm, silent, binding, signatures, checks, generator, on_abort",
        ),
    ],
)
def test_an_unknown_key_is_told_the_nearest_or_all(text: str, told: str) -> None:
    assert refusal(lambda: Experiment.from_toml(text)) == told


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"data.clients": 1}, "data.clients is 1: it should be greater than or equal to 2"),
        ({"network.dropout": 1}, "network.dropout is 1: it should be less than or equal to 0.95"),
        ({"training.rate": 0}, "training.rate is 0: it should be greater than 0"),
        ({"privacy.delta": 1.0}, "privacy.delta is 1.0: it should be less than 1"),
        ({"privacy.kind": "user"}, "privacy.kind is 'user': it should be 'none', 'example'"),
        ({"training.rounds": 1.5}, "training.rounds is 1.5: it should be a valid integer"),
        ({"training.rounds": "many"}, "training.rounds is many: it should be a number"),
        ({"training.rate": math.nan}, "training.rate is nan: it should be a finite number"),
        ({"data": 3}, "data is 3: it should be a valid dictionary"),
        (
            {"data.partition": {"alpha": 1.0}},
            "data.partition is {'alpha': 1.0}: it needs a kind, one of",
        ),
        (
            {"aggregation.rule": None},
            "aggregation.rule is None: it needs a kind, one of mean, median",
        ),
        (
            {"aggregation.rule.kind": 3},
            "aggregation.rule.kind is 3: it needs a kind, one of mean, median",
        ),
        ({"data.source": "hart"}, "data.source is 'hart': there is no such kind: did you mean hea"),
        ({"seed.x": 3}, "seed.x is not a setting: seed has no settings of its own"),
        ({"changes.0.round": 3}, "changes.0.round is not a setting: changes has no settings of"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_work(settings: dict[str, Any], told: str) -> None:
    assert refusal(lambda: with_(settings)).startswith(told)


def test_many_wrong_values_make_two_lines_and_a_count() -> None:
    wrong = "seed = -1\n[data]\nclients = 1\n[training]\nrounds = 0\nrate = -1.0"
    assert refusal(lambda: Experiment.from_toml(wrong)).splitlines() == [
        "seed is -1: it should be greater than or equal to 0",
        "data.clients is 1: it should be greater than or equal to 2 (and 2 more)",
    ]


def test_settings_that_stand_elsewhere_are_told_where() -> None:
    assert refusal(lambda: TrainingSettings.read({"epochs": 0}, where="here")).startswith(
        "here.epochs is 0"
    )
    assert refusal(lambda: TrainingSettings.read({"epoch": 1}, where="here")).startswith(
        "here.epoch is not"
    )


def test_the_nearest_name_is_told_or_all_of_them() -> None:
    assert nearest("medain", ["mean", "median"]) == "did you mean median?"
    assert nearest("xyz", ["mean", "median"]) == "choose from mean, median"


# --- by hand: settings that contradict each other -----------------------------------------------


@pytest.mark.parametrize(
    ("settings", "fields", "remedy"),
    [
        (
            {"training.clients_per_round": 21},
            "training.clients_per_round is 21, more than data.clients = 20",
            "give 0 (all) to 20",
        ),
        pytest.param(
            {"adversary.count": 21},
            "adversary.count is 21, more than data.clients = 20",
            "give 0 to 20",
        ),
        pytest.param(
            {"data.source": "faces", "data.clients": 161},
            "data.clients is 161, more than the 160 training examples",
            "give 2 to 160",
        ),
        pytest.param(
            {"data.examples": 10},
            "data.clients is 20, more than the 10 training examples",
            "data.examples",
        ),
        (
            {"privacy.kind": "example", "privacy.quantile": 0.5},
            "privacy.quantile is 0.5 with privacy.kind example",
            "give 0, or privacy.kind client",
        ),
        (
            {"privacy.kind": "example", "privacy.place": "central"},
            "privacy.place is central with privacy.kind example",
            "give distributed, or privacy.kind client",
        ),
        (
            {"privacy.kind": "client", "privacy.backend": "opacus"},
            "privacy.backend is opacus with privacy.kind client",
            "give engine, or privacy.kind example",
        ),
        (
            {"privacy.kind": "client", "privacy.quantile": 0.5, "privacy.noise": 2.0},
            "privacy.quantile with a noise multiplier of 2 and 20 clients a round",
            "privacy.noise below 2",
        ),
        (
            {"data.partition.kind": "natural"},
            "data.partition.kind natural needs data with real owners, and fashion-mnist has none",
            "use data.source heart, or data.partition.kind dirichlet",
        ),
        (
            {"data.partition.kind": "natural", "data.source": "heart"},
            "data.clients is 20, and heart has 4 owners",
            "give 4",
        ),
        pytest.param(
            {"data.partition.kind": "shards", "data.partition.shards": 51, "data.clients": 200},
            "data.partition.shards is 51: 200 clients would need 10200 shards",
            "give 1 to 50",
        ),
        pytest.param(
            {"data.partition.kind": "shards", "data.examples": 30},
            "data.partition.shards is 2",
            "give 1",
        ),
        (
            {"data.source": "heart", "model.kind": "cnn"},
            "model.kind cnn needs pictures and heart is a table",
            "use logistic or mlp",
        ),
        (
            BACKDOOR | {"data.source": "heart"},
            "adversary.attack.kind backdoor needs pictures and heart is a table",
            "use label-flip or sign-flip",
        ),
        (
            BACKDOOR | {"adversary.attack.target": 10},
            "adversary.attack.target is 10: there are 10 classes",
            "give 0 to 9",
        ),
        (
            BACKDOOR | {"data.source": "digits", "adversary.attack.pixels": 5},
            "adversary.attack.pixels is 5, more than half a side of 8",
            "give 1 to 4",
        ),
        (
            {"aggregation.rule.kind": "median", "secure_aggregation.enabled": True},
            "aggregation.rule.kind median must see single updates, which secure_aggregation",
            "use aggregation.rule.kind mean, secure_aggregation.buckets of 2 or more, whose sums",
        ),
        (
            {"aggregation.rule.kind": "krum", "privacy.kind": "client"},
            "aggregation.rule.kind krum with privacy.kind client has no known guarantee",
            "use aggregation.rule.kind mean, or privacy.kind example",
        ),
        (
            {"secure_aggregation.enabled": True, "secure_aggregation.neighbours": 1},
            "secure_aggregation.neighbours is 1: a client and one neighbour are fewer than 3",
            "give 0 (all), or 2 or more",
        ),
        (
            {
                "secure_aggregation.enabled": True,
                "secure_aggregation.neighbours": 8,
                "training.clients_per_round": 8,
            },
            "secure_aggregation.neighbours is 8, and a client has 7 others in a sum",
            "give 0 (all), or 2 to 7",
        ),
        (
            {"secure_aggregation.enabled": True, "secure_aggregation.buckets": 7},
            "secure_aggregation.buckets is 7 for 20 clients a round: a sum of fewer than 3 hides",
            "give up to 6",
        ),
        (
            {
                "secure_aggregation.enabled": True,
                "secure_aggregation.buckets": 4,
                "aggregation.rule.kind": "krum",
                "aggregation.rule.faulty": 1,
            },
            "aggregation.rule.kind krum must see single updates, which secure_aggregation",
            "secure_aggregation.buckets of 5 or more, whose sums it can choose between",
        ),
        (
            {"secure_aggregation.enabled": True, "training.clients_per_round": 2},
            "training.clients_per_round is 2, too few for secure_aggregation.enabled",
            "give 3 or more",
        ),
        (
            {"aggregation.rule.kind": "krum", "aggregation.rule.faulty": 9},
            "aggregation.rule.faulty is 9, too many for 20 clients a round",
            "give 8 at most",
        ),
        (
            {"aggregation.rule.kind": "krum", "training.clients_per_round": 2},
            "aggregation.rule.faulty is 1, too many for 2 clients a round",
            "ask 3 or more",
        ),
        (
            {
                "aggregation.rule.kind": "trimmed-mean",
                "aggregation.rule.faulty": 5,
                "training.clients_per_round": 10,
            },
            "aggregation.rule.faulty is 5, too many for 10 clients a round",
            "give 4 at most",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_told_a_remedy(
    settings: dict[str, Any], fields: str, remedy: str
) -> None:
    message = refusal(lambda: with_(settings))
    assert message.startswith(fields)
    assert remedy in message


@pytest.mark.parametrize(
    "kind", [kind for kind, rule in AGGREGATION_RULES.items() if rule().needs_rows]
)
@pytest.mark.parametrize(
    "hiding", [{"privacy.kind": "client"}, {"secure_aggregation.enabled": True}]
)
def test_a_rule_that_sees_rows_goes_with_nothing_that_hides_them(
    kind: str, hiding: dict[str, Any]
) -> None:
    assert with_({"aggregation.rule.kind": kind}).aggregation.rule.kind == kind
    assert "use aggregation.rule.kind mean" in refusal(
        lambda: with_({"aggregation.rule.kind": kind} | hiding)
    )
