"""Experiments: what a file may say, what it is told otherwise, and every way to write one down."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from datasets import SOURCES
from defenses import RULES
from lab import ROOT
from lab.experiment import Change, Experiment, difference_of
from lab.models import Model
from lab.notation import flatten, parse_pairs, parse_value, write_value
from lab.parts import Algorithm, Codec, Poison, Rule, Source, Split
from lab.sections import Adversary, Data, Privacy, SecureAggregation, Training, Transport
from lab.settings import Part, SettingError, Settings, nearest

EXAMPLE = """
seed = 0
[data]
source = "fashion-mnist"
split = { kind = "dirichlet", alpha = 0.3 }
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
poison = { kind = "sign-flip", scale = 3.0 }
[rule]
kind = "mean"
[network]
dropout = 0.05
"""
SECTIONS: dict[str, type[Settings]] = {
    "data": Data,
    "training": Training,
    "privacy": Privacy,
    "secure_aggregation": SecureAggregation,
    "adversary": Adversary,
    "network": Transport,
}
FAMILIES: dict[str, type[Part]] = {
    "data.source": Source,
    "data.split": Split,
    "model": Model,
    "training.algorithm": Algorithm,
    "adversary.poison": Poison,
    "rule": Rule,
    "network.compression": Codec,
}
# Settings of the network that make sense beside others only.
LINKED = (
    "network.error_feedback",
    "network.devices",
    "network.deadline",
    "network.spare",
)
LONGEST = 400  # characters of a message: two lines that somebody still reads


@dataclass(frozen=True)
class Declared:
    """One setting: where it is written, the kind it belongs to, what its line declares."""

    path: str
    kind: dict[str, str]
    field: dict[str, Any]

    def __str__(self) -> str:
        return " of ".join([self.path, *self.kind.values()])

    def given(self, value: Any) -> dict[str, Any]:
        return self.kind | {self.path: value}


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


# --- drawn experiments --------------------------------------------------------------------------


def value_of(field: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Any value within the bounds that the setting declares."""
    if "enum" in field:
        return st.sampled_from(field["enum"])
    if field["type"] == "boolean":
        return st.booleans()
    if field["type"] == "integer":
        return st.integers(field["minimum"], field["maximum"])
    return st.floats(
        min_value=field.get("minimum", field.get("exclusiveMinimum")),
        max_value=field.get("maximum", field.get("exclusiveMaximum")),
        exclude_min="exclusiveMinimum" in field,
        exclude_max="exclusiveMaximum" in field,
    )


def some_of(section: str, without: tuple[str, ...] = ()) -> st.SearchStrategy[dict[str, Any]]:
    """Some plain settings of a section, as `section.key`."""
    plain = (each for each in DECLARED if not each.kind and each.path not in without)
    here = [each for each in plain if each.path.startswith(f"{section}.")]
    return st.fixed_dictionaries({}, optional={each.path: value_of(each.field) for each in here})


def part_at(path: str, kind: str, most: int = 1000) -> st.SearchStrategy[dict[str, Any]]:
    """A part of that kind, with some of its settings; whole numbers go no further than `most`."""
    given_ = {f"{path}.kind": st.just(kind)}
    optional = {}
    for each in DECLARED:
        if each.kind == {f"{path}.kind": kind}:
            field, whole = each.field, "maximum" in each.field and each.field["type"] == "integer"
            if whole and field["maximum"] > most:
                field = field | {"maximum": most}
            needed = whole and field["default"] > most
            (given_ if needed else optional)[each.path] = value_of(field)
    return st.fixed_dictionaries(given_, optional=optional)


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    """Seed, data and model: what no change in mid-run may touch."""
    source = SOURCES[draw(st.sampled_from(list(SOURCES)))]()
    pictures = len(source.shape) == 3
    senseless = {"natural": not source.groups, "feature": not pictures}
    split = draw(st.sampled_from([kind for kind in Split.table if not senseless.get(kind)]))
    clients = draw(st.integers(3, 150)) if split != "natural" else len(source.groups)
    most = len(source.classes) if split == "concept" else source.size // clients
    chosen = draw(part_at("data.split", split, most))
    needed = clients * chosen.get("data.split.shards", 2)
    models = [kind for kind, model in Model.table.items() if pictures or not model.pictures_only]
    return {
        "seed": draw(st.integers(0, 2**53 - 1)),
        "data.source": source.kind,
        "data.clients": clients,
        "data.examples": draw(st.just(0) | st.integers(needed, 100_000)),
        **chosen,
        **draw(part_at("model", draw(st.sampled_from(models)))),
    }


@st.composite
def clocks(draw: st.DrawFn, private: bool) -> dict[str, Any]:
    """Devices, and what needs them."""
    fleet = draw(st.sampled_from(["none", "servers", "mixed"]))
    timed = fleet != "none"
    return {
        "network.devices": fleet,
        "network.deadline": draw(st.floats(0, 1e6)) if timed else 0.0,
        "network.spare": draw(st.floats(0, 4)) if timed and not private else 0.0,
    }


@st.composite
def conducts(draw: st.DrawFn, world: dict[str, Any]) -> dict[str, Any]:
    """All other settings, none of which contradicts another or the world."""
    source, clients = SOURCES[world["data.source"]], world["data.clients"]
    asked = draw(st.just(0) | st.integers(3, clients))
    privacy, masks = draw(some_of("privacy")), draw(some_of("secure_aggregation"))
    blind = masks.get("secure_aggregation.enabled") or privacy.get("privacy.kind") == "client"
    rules = [kind for kind, rule in RULES.items() if not (blind and rule.needs_rows)]
    codec = "none" if blind else draw(st.sampled_from(list(Codec.table)))
    poisons = [
        kind
        for kind, poison in Poison.table.items()
        if len(source.shape) == 3 or not poison.pictures_only
    ]
    faulty = ((asked or clients) - 3) // 2
    # Of classes to call up, and of pixels in half a side.
    backdoor = min(len(source.classes) - 1, source.shape[-1] // 2)
    return {
        **draw(some_of("training", without=("training.clients_per_round",))),
        **draw(part_at("training.algorithm", "fedavg")),
        "training.clients_per_round": asked,
        **privacy,
        **masks,
        **draw(some_of("network", without=LINKED)),
        **draw(clocks(private=privacy.get("privacy.kind") == "client")),
        **draw(part_at("network.compression", codec)),
        "network.error_feedback": codec in ("top-k", "sign") and draw(st.booleans()),
        "adversary.count": draw(st.integers(0, clients)),
        **draw(part_at("adversary.poison", draw(st.sampled_from(poisons)), backdoor)),
        **draw(part_at("rule", draw(st.sampled_from(rules)), faulty)),
    }


TWEAKS = st.fixed_dictionaries(
    {},
    optional={
        "training.rate": st.floats(0, 10, exclude_min=True),
        "training.rounds": st.integers(1, 2000),
        "network.dropout": st.floats(0, 0.95),
        "privacy.noise": st.floats(0, 1000),
        "rule.kind": st.just("mean"),
        "rule": st.sampled_from(["mean", {"kind": "mean"}]),
        "adversary.poison.kind": st.just("label-flip"),
        "secure_aggregation.on_abort": st.sampled_from(["skip", "stop"]),
    },
).filter(lambda tweaks: tweaks and not {"rule", "rule.kind"} <= tweaks.keys())


@st.composite
def changes(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Changes in mid-run, in order, that agree with whatever was there before."""
    rounds = draw(st.lists(st.integers(2, 12), max_size=3, unique=True))
    return [{"round": round, "set": draw(TWEAKS)} for round in sorted(rounds)]


@st.composite
def experiments(draw: st.DrawFn, world: dict[str, Any] | None = None) -> Experiment:
    world = draw(worlds()) if world is None else world
    plain = with_(world | draw(conducts(world)))
    return Experiment.read(plain.dump() | {"changes": draw(changes())})


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Experiment, Experiment]:
    """Two experiments of one world: a run may go over from the one to the other."""
    world = draw(worlds())
    return draw(experiments(world)), draw(experiments(world))


# --- by hand: what is accepted ------------------------------------------------------------------


def test_the_example_says_what_it_says() -> None:
    experiment = Experiment.from_toml(EXAMPLE)
    assert experiment.data.source == SOURCES["fashion-mnist"]()
    assert experiment.data.split.dump() == {"kind": "dirichlet", "alpha": 0.3}
    assert experiment.model.dump() == {"kind": "cnn", "channels": 16, "hidden": 64}
    assert experiment.training.clients_per_round == experiment.cohort_size == 10
    assert experiment.privacy.dump() == {
        "kind": "client",
        "epsilon": 8.0,
        "delta": 1e-3,
        "clip": 1.0,
        "noise": 0.0,
    }
    assert experiment.adversary.poison.dump() == {"kind": "sign-flip", "scale": 3.0}
    assert experiment.network.dropout == 0.05
    assert experiment.changes == ()


def test_an_empty_file_is_the_default_experiment() -> None:
    assert Experiment.from_toml("") == Experiment.from_json("{}") == Experiment()
    assert Experiment.from_url("") == Experiment()


@pytest.mark.parametrize(
    "file", sorted((ROOT / "experiments").glob("*.toml")), ids=lambda f: f.stem
)
def test_every_file_that_comes_with_the_lab_can_be_read(file: Path) -> None:
    experiment = Experiment.from_file(file)
    assert Experiment.from_toml(experiment.to_toml()) == experiment


@pytest.mark.parametrize("written", ["krum", {"kind": "krum"}, RULES["krum"]()])
def test_a_part_is_a_kind_or_a_table_or_the_part_itself(written: object) -> None:
    assert Experiment.read({"rule": written}).rule == RULES["krum"](faulty=1)


def test_a_setting_may_be_as_large_as_its_neighbours_allow() -> None:
    assert with_({"rule.kind": "krum", "rule.faulty": 8}).cohort_size == 20
    assert with_({"rule.kind": "trimmed-mean", "rule.faulty": 9}).cohort_size == 20
    assert with_({"training.clients_per_round": 20}).cohort_size == 20
    assert with_({"secure_aggregation.enabled": True, "data.clients": 3}).cohort_size == 3
    assert with_({"adversary.count": 20}).adversary.count == 20
    assert with_({"data.examples": 20}).data.shared() == 20
    shards = {"data.split.kind": "shards", "data.split.shards": 50, "data.clients": 200}
    assert with_(shards).data.shared() == 10_000
    assert with_(BACKDOOR | {"adversary.poison.target": 9}).adversary.count == 1
    assert with_(BACKDOOR | {"adversary.poison.pixels": 14}).adversary.count == 1
    four = {"data.source": "heart", "data.split.kind": "natural", "data.clients": 4}
    assert with_(four).data.split.kind == "natural"


@pytest.mark.parametrize("strange", [{"data.source": "heart"}, {"adversary.poison.target": 99}])
def test_a_backdoor_that_nobody_uses_may_stay_in_the_file(strange: dict[str, Any]) -> None:
    assert with_(BACKDOOR | strange | {"adversary.count": 0}).adversary.poison.kind == "backdoor"
    assert refusal(lambda: with_(BACKDOOR | strange))
    idle = with_(BACKDOOR | strange | {"adversary.count": 0})
    assert refusal(lambda: idle.changed_from(3, {"adversary.count": 1}))


def test_more_examples_than_there_are_means_all_of_them() -> None:
    assert with_({"data.examples": 100_000}).data.shared() == 10_000
    assert with_({"data.examples": 123}).data.shared() == 123
    assert Experiment().data.shared() == 10_000


def test_the_recipe_says_what_clients_are_told() -> None:
    recipe = with_({"training.steps": 3, "training.epochs": 2, "training.rate": 0.5}).recipe
    assert (recipe.epochs, recipe.cap, recipe.batch_size, recipe.rate) == (2, 3, 32, 0.5)
    assert recipe.poisson is None
    assert recipe.weighted
    assert recipe.mean_size == 500.0


def test_protected_examples_are_drawn_with_one_common_probability() -> None:
    private = {"privacy.kind": "example", "training.batch_size": 50}
    assert with_(private).recipe.poisson == 0.1
    assert with_(private | {"data.examples": 100}).recipe.poisson == 1.0
    assert with_(private).recipe.weighted


def test_protected_clients_do_not_tell_how_much_they_hold() -> None:
    assert not with_({"privacy.kind": "client"}).recipe.weighted


def test_the_architecture_fits_the_data() -> None:
    network = with_({"data.source": "heart", "model.kind": "logistic"}).architecture
    assert (network.shape, network.classes, network.size) == ((22,), 2, 46)


def test_the_title_tells_what_is_special() -> None:
    assert Experiment().title() == "fashion-mnist, mlp, 20 clients, iid"
    special = Experiment.from_toml(EXAMPLE).changed({"rule.kind": "mean", "privacy.noise": 1.5})
    assert special.title() == (
        "fashion-mnist, cnn, 20 clients, dirichlet, client-level noise 1.5, 4 sign-flip"
    )
    masked = with_({"secure_aggregation.enabled": True, "data.clients": 5})
    tuned = masked.changed_from(3, {"training.rate": 1.0}).changed_from(5, {"training.rate": 0.1})
    assert (
        tuned.title()
        == "fashion-mnist, mlp, 5 clients, iid, secure aggregation, changed in mid-run"
    )
    defended = with_({"privacy.kind": "example", "rule.kind": "median"})
    assert defended.title().endswith("20 clients, iid, example-level epsilon 8, median")


# --- by hand: what is refused, and in which words -----------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sead = 1", "sead is not a setting: did you mean seed?"),
        ("[dta]", "dta is not a setting: did you mean data?"),
        ("[data]\nclinets = 3", "data.clinets is not a setting: did you mean clients?"),
        (
            "[data]\nsplit = { kind = 'dirichlet', alhpa = 0.3 }",
            "data.split.alhpa is not a setting: did you mean alpha?",
        ),
        (
            "[adversary]\npoison = { kind = 'backdoor', tarjet = 3 }",
            "adversary.poison.tarjet is not a setting: did you mean target?",
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
            "secure_aggregation.zzz is not a setting: choose from enabled, threshold, bound, "
            "on_abort",
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
        ({"data.split": {"alpha": 1.0}}, "data.split is {'alpha': 1.0}: it needs a kind, one of"),
        ({"rule": None}, "rule is None: it needs a kind, one of mean, median"),
        ({"rule.kind": 3}, "rule.kind is 3: it needs a kind, one of mean, median"),
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
    assert refusal(lambda: Training.read({"epochs": 0}, where="here")).startswith(
        "here.epochs is 0"
    )
    assert refusal(lambda: Training.read({"epoch": 1}, where="here")).startswith(
        "here.epoch is not"
    )


def test_the_nearest_name_is_told_or_all_of_them() -> None:
    assert nearest("medain", ["mean", "median"]) == "did you mean median?"
    assert nearest("xyz", ["mean", "median"]) == "choose from mean, median"


BACKDOOR = {"adversary.count": 1, "adversary.poison.kind": "backdoor"}


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
            {"data.split.kind": "natural"},
            "data.split.kind natural needs data with real owners, and fashion-mnist has none",
            "use data.source heart, or data.split.kind dirichlet",
        ),
        (
            {"data.split.kind": "natural", "data.source": "heart"},
            "data.clients is 20, and heart has 4 owners",
            "give 4",
        ),
        pytest.param(
            {"data.split.kind": "shards", "data.split.shards": 51, "data.clients": 200},
            "data.split.shards is 51: 200 clients would need 10200 shards",
            "give 1 to 50",
        ),
        pytest.param(
            {"data.split.kind": "shards", "data.examples": 30},
            "data.split.shards is 2",
            "give 1",
        ),
        (
            {"data.source": "heart", "model.kind": "cnn"},
            "model.kind cnn needs pictures and heart is a table",
            "use logistic or mlp",
        ),
        (
            BACKDOOR | {"data.source": "heart"},
            "adversary.poison.kind backdoor needs pictures and heart is a table",
            "use label-flip or sign-flip",
        ),
        (
            BACKDOOR | {"adversary.poison.target": 10},
            "adversary.poison.target is 10: there are 10 classes",
            "give 0 to 9",
        ),
        (
            BACKDOOR | {"data.source": "digits", "adversary.poison.pixels": 5},
            "adversary.poison.pixels is 5, more than half a side of 8",
            "give 1 to 4",
        ),
        (
            {"rule.kind": "median", "secure_aggregation.enabled": True},
            "rule.kind median must see single updates, which secure_aggregation.enabled hides",
            "use rule.kind mean, or switch the masks off",
        ),
        (
            {"rule.kind": "krum", "privacy.kind": "client"},
            "rule.kind krum with privacy.kind client has no known guarantee",
            "use rule.kind mean, or privacy.kind example",
        ),
        (
            {"secure_aggregation.enabled": True, "training.clients_per_round": 2},
            "training.clients_per_round is 2, too few for secure_aggregation.enabled",
            "give 3 or more",
        ),
        (
            {"rule.kind": "krum", "rule.faulty": 9},
            "rule.faulty is 9, too many for 20 clients a round",
            "give 8 at most",
        ),
        (
            {"rule.kind": "krum", "training.clients_per_round": 2},
            "rule.faulty is 1, too many for 2 clients a round",
            "ask 3 or more",
        ),
        (
            {"rule.kind": "trimmed-mean", "rule.faulty": 5, "training.clients_per_round": 10},
            "rule.faulty is 5, too many for 10 clients a round",
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


@pytest.mark.parametrize("kind", [kind for kind, rule in RULES.items() if rule.needs_rows])
@pytest.mark.parametrize(
    "hiding", [{"privacy.kind": "client"}, {"secure_aggregation.enabled": True}]
)
def test_a_rule_that_sees_rows_goes_with_nothing_that_hides_them(
    kind: str, hiding: dict[str, Any]
) -> None:
    assert with_({"rule.kind": kind}).rule.kind == kind
    assert "use rule.kind mean" in refusal(lambda: with_({"rule.kind": kind} | hiding))


@pytest.mark.parametrize(
    "settings",
    [
        {"seed": 1},
        {"data.clients": 10},
        {"data.source": "digits"},
        {"data": {"clients": 10}},
        {"model.kind": "logistic"},
        {"model.hidden": 8},
        {"training.rate": 0.2, "data.split.kind": "dirichlet"},
        {"changes": []},
    ],
)
def test_what_a_run_is_made_of_cannot_change_in_its_course(settings: dict[str, Any]) -> None:
    message = refusal(lambda: Experiment().changed_from(3, settings))
    assert message.endswith("cannot change in mid-run (round 3): start a new run")
    assert any(message.startswith(path) for path in settings)


def test_a_run_cannot_go_over_to_other_data() -> None:
    message = refusal(lambda: Experiment().continued_by(with_({"data.clients": 10}), after=3))
    assert message == "data.clients cannot change in mid-run (round 4): start a new run"


def test_a_change_that_contradicts_what_was_there_is_refused() -> None:
    masked = with_({"secure_aggregation.enabled": True})
    message = refusal(lambda: masked.changed_from(5, {"rule.kind": "median"}))
    assert "secure_aggregation.enabled hides" in message
    both = masked.changed_from(5, {"rule.kind": "median", "secure_aggregation.enabled": False})
    assert both.at(5).rule.kind == "median"


@pytest.mark.parametrize(
    ("round", "settings"), [(0, {"training.rate": 0.2}), (-3, {"training.rate": 0.2}), (3, {})]
)
def test_a_change_that_is_none_is_refused_in_our_words(
    round: int, settings: dict[str, Any]
) -> None:
    refusal(lambda: Experiment().changed_from(round, settings))


@pytest.mark.parametrize(
    ("pair", "told"),
    [("rounds", "'rounds' is not a setting"), ("=3", "'=3' is not a setting"), ("", "'' is not")],
)
def test_a_pair_without_key_or_value_is_refused(pair: str, told: str) -> None:
    assert refusal(lambda: parse_pairs([pair])).startswith(told)


def test_pairs_are_read_at_the_first_equals_sign() -> None:
    assert parse_pairs(["a.b = 3", 'c="d=e"', "f=g=h"]) == {"a.b": 3, "c": "d=e", "f": "g=h"}


# --- by hand: changed settings ------------------------------------------------------------------


def test_changed_settings_leave_the_others_and_the_old_experiment_alone() -> None:
    before = Experiment.from_toml(EXAMPLE)
    after = before.changed({"training.rate": 0.5})
    assert after.training == before.training.model_copy(update={"rate": 0.5})
    assert after.changed({"training.rate": 0.1}) == before == Experiment.from_toml(EXAMPLE)


def test_a_new_kind_takes_its_own_defaults() -> None:
    narrow = with_({"model.kind": "cnn", "model.hidden": 8})
    assert narrow.changed({"model.kind": "mlp"}).model.dump() == {"kind": "mlp", "hidden": 64}
    assert narrow.changed({"model.kind": "cnn"}) == narrow
    assert narrow.changed({"model.channels": 4}).model.dump()["hidden"] == 8


def test_the_unit_of_privacy_is_no_part_and_resets_nothing() -> None:
    private = with_({"privacy.kind": "example", "privacy.epsilon": 2.0})
    assert private.changed({"privacy.kind": "client"}).privacy.epsilon == 2.0


def test_a_whole_section_that_is_given_starts_from_the_defaults() -> None:
    changed = with_({"training.rate": 0.5}).changed({"training": {"rounds": 3}})
    assert changed.training == Training(rounds=3)


def test_the_kind_may_come_after_its_settings() -> None:
    assert with_({"rule.faulty": 2, "rule.kind": "krum"}).rule == RULES["krum"](faulty=2)


def test_a_part_that_is_named_whole_may_come_after_its_settings() -> None:
    assert with_({"rule.faulty": 2, "rule": "krum"}).rule == RULES["krum"](faulty=2)


def test_a_part_that_is_named_whole_may_come_before_its_settings() -> None:
    assert with_({"rule": "krum", "rule.faulty": 2}).rule == RULES["krum"](faulty=2)


# --- by hand: changes in mid-run ----------------------------------------------------------------


def rates(experiment: Experiment, last: int = 7) -> list[float]:
    return [experiment.at(round).training.rate for round in range(1, last + 1)]


def test_settings_hold_from_their_round_on() -> None:
    run = Experiment().changed_from(3, {"training.rate": 0.2})
    run = run.changed_from(5, {"training.rate": 0.3, "training.epochs": 2})
    assert rates(run) == [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.3]
    assert [run.at(round).training.epochs for round in (4, 5)] == [1, 2]
    assert run.at(1) == Experiment()
    assert run.at(7).changes == ()


def test_a_change_in_the_first_round_is_no_change_in_mid_run() -> None:
    assert Experiment().changed_from(1, {"training.rate": 0.2}) == with_({"training.rate": 0.2})
    later = Experiment().changed_from(3, {"training.rate": 0.3})
    assert rates(later.changed_from(1, {"training.rate": 0.2}), 4) == [0.2, 0.2, 0.3, 0.3]


def test_the_last_of_two_changes_in_one_round_wins() -> None:
    run = Experiment().changed_from(3, {"training.rate": 0.2})
    assert rates(run.changed_from(3, {"training.rate": 0.3}), 3) == [0.1, 0.1, 0.3]


def test_a_new_kind_in_mid_run_takes_its_own_defaults() -> None:
    run = with_({"adversary.poison.scale": 9.0}).changed_from(2, {"adversary.poison": "label-flip"})
    back = run.changed_from(4, {"adversary.poison.kind": "sign-flip"})
    assert [back.at(round).adversary.poison.dump() for round in (1, 2, 4)] == [
        {"kind": "sign-flip", "scale": 9.0},
        {"kind": "label-flip"},
        {"kind": "sign-flip", "scale": 3.0},
    ]


def test_the_later_round_wins_however_changes_are_listed() -> None:
    listed = [
        {"round": 5, "set": {"training.rate": 0.3}},
        {"round": 3, "set": {"training.rate": 0.2}},
    ]
    run = Experiment.read({"changes": listed})
    assert rates(run, 6) == [0.1, 0.1, 0.2, 0.2, 0.3, 0.3]


def test_a_run_that_goes_over_keeps_its_past() -> None:
    past = Experiment().changed_from(3, {"training.rate": 0.2})
    past = past.changed_from(6, {"training.rate": 0.9})
    new = with_({"training.rate": 0.4}).changed_from(6, {"training.rate": 0.5})
    assert rates(past.continued_by(new, after=4)) == [0.1, 0.1, 0.2, 0.2, 0.4, 0.5, 0.5]
    assert rates(past.continued_by(new, after=3)) == [0.1, 0.1, 0.2, 0.4, 0.4, 0.5, 0.5]
    assert rates(past.continued_by(new, after=2)) == [0.1, 0.1, 0.4, 0.4, 0.4, 0.5, 0.5]


def test_a_run_that_has_not_begun_is_the_new_experiment() -> None:
    new = with_({"data.clients": 10})
    assert Experiment().continued_by(new, after=0) == new


def test_a_run_that_goes_over_to_itself_stays_the_same() -> None:
    run = Experiment().changed_from(3, {"training.rate": 0.2})
    assert run.continued_by(run, after=5) == run
    assert Experiment().continued_by(Experiment(), after=5) == Experiment()


# --- by hand: as text ---------------------------------------------------------------------------


def test_the_default_needs_no_words() -> None:
    assert Experiment().to_url() == ""
    assert Experiment().overrides() == {}
    assert Experiment().command() == "leaklab run experiments/default.toml"


def test_a_command_names_only_what_differs() -> None:
    experiment = with_({"training.rate": 0.5, "data.source": "digits", "rule.kind": "krum"})
    assert experiment.command() == (
        "leaklab run experiments/default.toml -s data.source=digits -s training.rate=0.5 "
        "-s rule.kind=krum"
    )


def test_a_new_kind_is_written_with_what_differs_from_its_own_defaults() -> None:
    assert with_({"data.split": "dirichlet"}).overrides() == {"data.split.kind": "dirichlet"}
    skewed = {"data.split.kind": "dirichlet", "data.split.alpha": 0.1}
    assert with_(skewed).overrides() == skewed
    assert difference_of(Experiment(), with_({"data.split": "dirichlet"})) == {
        "data.split.kind": "iid"
    }
    krum, trimmed = ({"rule.kind": kind, "rule.faulty": 2} for kind in ("krum", "trimmed-mean"))
    assert difference_of(with_(krum), with_(trimmed)) == krum


def test_privacy_is_no_part_and_is_written_by_what_differs() -> None:
    assert with_({"privacy.kind": "client"}).overrides() == {"privacy.kind": "client"}


def test_an_address_may_name_any_setting() -> None:
    query = "data.split.kind=shards&data.split.shards=3&secure_aggregation.enabled=true&seed=7"
    experiment = Experiment.from_url(query)
    assert experiment.data.split.dump() == {"kind": "shards", "shards": 3}
    assert experiment.secure_aggregation.enabled
    assert experiment.seed == 7


def test_a_tree_is_flattened_into_paths() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": 2}}, "e": [3]}) == {"a.b": 1, "a.c.d": 2, "e": [3]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("1e-3", 1e-3),
        ("true", True),
        ("median", "median"),
        ('"true"', "true"),
        ("'3'", "3"),
        ("True", "True"),
        ("[1, 'a']", [1, "a"]),
        ("{a = {b = 1}}", {"a": {"b": 1}}),
        ("[1", "[1"),
        ("", ""),
    ],
)
def test_a_value_is_read_as_toml_and_otherwise_as_a_string(text: str, value: object) -> None:
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (1e-5, "1e-05"),
        (True, "true"),
        ("median", "median"),
        ("true", '"true"'),
        ("3", '"3"'),
        (["a", 1], '["a", 1]'),
        (("a", False), '["a", false]'),
        ({"a.b": {"c": "d"}}, '{"a.b" = {c = "d"}}'),
    ],
)
def test_a_value_is_written_with_quotes_only_where_they_are_needed(
    value: object, text: str
) -> None:
    assert write_value(value) == text


def test_a_text_of_several_lines_is_one_string() -> None:
    assert parse_value("1\nx = 2") == "1\nx = 2"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("seed = " + "[" * 5000, id="open brackets"),
        pytest.param("seed = " + "[" * 5000 + "]" * 5000, id="deep lists"),
        pytest.param("seed = " + "{a = " * 5000, id="deep tables"),
        pytest.param("seed = " + "9" * 5000, id="5000 digits"),
        pytest.param("a" * 10**5 + " = 1", id="long key"),
        pytest.param('"a\\nb\\nc" = 1', id="key of three lines"),
        pytest.param(".".join("a" * 3000) + " = 1", id="dotted key"),
        pytest.param("rule." + ".".join("a" * 3000) + " = 1", id="dotted part"),
        pytest.param("rule = '" + "a" * 10**5 + "'", id="long kind"),
        pytest.param("seed = '" + "1" * 10**5 + "'", id="long string"),
        pytest.param("seed = [" + "1," * 10**5 + "]", id="long list"),
        pytest.param("seed = 1\nseed = 2", id="same key twice"),
        pytest.param("seed = \x00", id="zero byte"),
        pytest.param("seed", id="half a line"),
        pytest.param("seed = 1979-05-27", id="date"),
        pytest.param("data = [[1]]", id="list for a section"),
        pytest.param("changes = 3", id="number of changes"),
        pytest.param("[[changes]]\nround = 2\nset = {}", id="empty change"),
        pytest.param("[[changes]]\nround = 1\nset = { seed = 1 }", id="change in round 1"),
        pytest.param("[[changes]]\nround = 2\nset = { '' = 1 }", id="nameless change"),
    ],
)
def test_a_hostile_file_is_refused_in_words(text: str) -> None:
    assert refusal(lambda: Experiment.from_toml(text))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * 10**5, id="deep lists"),
        pytest.param('{"seed": ' + "9" * 5000 + "}", id="5000 digits"),
        pytest.param(
            '{"\\ud800": 1}',
            id="surrogate key",
        ),
        pytest.param('{"rule": "\\ud800"}', id="surrogate kind"),
        pytest.param('{"training": {"rate": NaN}}', id="not a number"),
        pytest.param('{"training": {"rate": -Infinity}}', id="infinity"),
        pytest.param('{"data": null}', id="null"),
        pytest.param("{", id="half a table"),
        pytest.param("", id="nothing"),
    ],
)
def test_hostile_json_is_refused_in_words(text: str) -> None:
    assert refusal(lambda: Experiment.from_json(text))


@pytest.mark.parametrize("text", ["[]", "null", '"seed"', "3"])
def test_json_that_is_no_table_is_told_so_in_a_sentence(text: str) -> None:
    assert not refusal(lambda: Experiment.from_json(text)).startswith(" ")


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("seed=" + "[" * 5000, id="deep lists"),
        pytest.param("seed=" + "9" * 5000, id="5000 digits"),
        pytest.param(".".join("a" * 3000) + "=1", id="dotted key"),
        pytest.param("seed=%FF%FE", id="no utf-8"),
        pytest.param("rule=%00", id="zero byte"),
        pytest.param("=1", id="no key"),
        pytest.param(".=1", id="only a dot"),
        pytest.param("data..clients=3", id="two dots"),
        pytest.param("seed=", id="no value"),
        pytest.param("data=", id="section without value"),
        pytest.param("changes=[1]", id="changes that are none"),
        pytest.param("data.source.kind=heart", id="settings of a source"),
        pytest.param("model_config=1", id="a name inside"),
        pytest.param("__class__.x=1", id="a name of Python"),
    ],
)
def test_a_hostile_address_is_refused_in_words(query: str) -> None:
    assert refusal(lambda: Experiment.from_url(query))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(hashlib.sha512(b"").digest() * 100, id="binary"),
        pytest.param(b"\x7fELF\x02\x01\x01" + bytes(100), id="program"),
        pytest.param("seed = 1".encode("utf-16"), id="utf-16"),
        pytest.param(b"\xef\xbb\xbfseed = 1", id="byte-order mark"),
        pytest.param(b"seed = -1", id="wrong value"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(content)
    assert refusal(lambda: Experiment.from_file(file)).startswith(str(file))


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    assert refusal(lambda: Experiment.from_file(missing)).endswith("give a TOML file")
    assert refusal(lambda: Experiment.from_file(tmp_path)).startswith(f"{tmp_path} cannot be read")


# --- by hand: values ----------------------------------------------------------------------------


def test_experiments_are_frozen() -> None:
    experiment = Experiment.from_toml(EXAMPLE)
    for owner, name in [
        (experiment, "seed"),
        (experiment.data, "clients"),
        (experiment.data.split, "alpha"),
        (experiment.rule, "kind"),
    ]:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(owner, name, 3)
    assert experiment == Experiment.from_toml(EXAMPLE)


def test_experiments_compare_by_value() -> None:
    one, other = Experiment.from_toml(EXAMPLE), Experiment.from_toml(EXAMPLE)
    assert one is not other
    assert one == other
    assert len({one, other, Experiment()}) == 2
    assert one != one.changed({"data.split.alpha": 0.31})


def test_parts_of_different_kinds_differ_even_with_equal_settings() -> None:
    assert with_({"rule.kind": "mean"}) != with_({"rule.kind": "median"})
    assert SOURCES["digits"]() != SOURCES["mnist-5k"]()


def test_experiments_with_changes_hash_by_value() -> None:
    one = Experiment().changed_from(3, {"training.rate": 0.2})
    assert hash(one) == hash(Experiment().changed_from(3, {"training.rate": 0.2}))


def test_changes_are_frozen() -> None:
    change = Change(round=3, set={"training.rate": 0.2})
    with pytest.raises((TypeError, ValidationError)):
        change.set["training.rate"] = 0.3


# --- promises over all settings -----------------------------------------------------------------


@pytest.mark.parametrize("each", DECLARED, ids=str)
def test_every_setting_has_a_default_and_a_description(each: Declared) -> None:
    assert "default" in each.field
    assert len(each.field["description"]) > 5


@pytest.mark.parametrize("each", NUMBERS, ids=str)
def test_every_number_has_both_bounds_and_a_default_within(each: Declared) -> None:
    field = each.field
    low, high = field.get("minimum", field.get("exclusiveMinimum")), field.get("maximum")
    high = field.get("exclusiveMaximum") if high is None else high
    assert low <= field["default"] <= high


@pytest.mark.parametrize("path", flatten(tomllib.loads(EXAMPLE)))
def test_every_line_of_the_example_can_be_left_out(path: str) -> None:
    lines = flatten(tomllib.loads(EXAMPLE))
    under = path.removesuffix("kind") if path.removesuffix(".kind") in FAMILIES else path
    left = {name: value for name, value in lines.items() if not name.startswith(under)}
    defaults = flatten(Experiment().dump())
    for each in DECLARED:
        if each.kind.items() <= left.items():
            defaults[each.path] = each.field["default"]
    now = flatten(with_(left).dump())
    assert now[path] == defaults[path]
    assert now | left == now


@pytest.mark.parametrize("each", DECLARED, ids=str)
def test_a_misspelt_setting_is_told_its_name(each: Declared) -> None:
    wrong, name = each.path + "x", each.path.split(".")[-1]
    message = refusal(lambda: with_(each.kind | {wrong: 1}))
    assert message == f"{wrong} is not a setting: did you mean {name}?"


@pytest.mark.parametrize(("path", "kind"), KINDS)
def test_a_misspelt_kind_is_told_its_name(path: str, kind: str) -> None:
    message = refusal(lambda: with_({path: kind + "x"}))
    where = path if path == "data.source" else f"{path}.kind"
    assert message == f"{where} is {kind + 'x'!r}: there is no such kind: did you mean {kind}?"


@pytest.mark.parametrize("path", FAMILIES)
def test_a_kind_that_is_like_none_is_told_all(path: str) -> None:
    message = refusal(lambda: with_({path: {"kind": "#"}}))
    told = f"{path}.kind is '#': there is no such kind: choose from "
    assert message == told + ", ".join(FAMILIES[path].table)


def beyond(each: Declared) -> Iterator[tuple[float, float]]:
    """Values just out of bounds, each with the bound."""
    for name, past in [
        ("minimum", -1),
        ("exclusiveMinimum", 0),
        ("maximum", 1),
        ("exclusiveMaximum", 0),
    ]:
        if name in each.field:
            yield each.field[name] + past, each.field[name]


@pytest.mark.parametrize("each", NUMBERS, ids=str)
def test_a_value_out_of_bounds_is_told_field_value_and_bound(each: Declared) -> None:
    for value, bound in beyond(each):
        message = refusal(lambda value=value: with_(each.given(value)))
        assert message.startswith(f"{each.path} is {value!r}: it should be ")
        assert float(re.findall(r"-?[\d.]+(?:e[+-]?\d+)?", message)[-1]) == bound


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, 10**400, -(10**400), "many", "", [1], {"a": 1}, None],
    ids=repr,
)
def test_no_number_is_taken_from_what_is_none(value: object) -> None:
    for each in NUMBERS:
        message = refusal(lambda each=each: with_(each.given(value)))
        assert message.startswith(f"{each.path} is ")


@pytest.mark.parametrize("value", [True, False])
def test_no_number_is_taken_from_yes_or_no(value: bool) -> None:
    for each in NUMBERS:
        refusal(lambda each=each: with_(each.given(value)))


# --- promises over drawn experiments ------------------------------------------------------------


@given(experiments())
def test_what_is_written_as_toml_is_read_again(experiment: Experiment) -> None:
    assert Experiment.from_toml(experiment.to_toml()) == experiment


@given(experiments())
def test_what_is_written_as_json_is_read_again(experiment: Experiment) -> None:
    assert Experiment.from_json(experiment.to_json()) == experiment


@given(experiments())
def test_what_is_written_into_an_address_is_read_again(experiment: Experiment) -> None:
    assert Experiment.from_url(experiment.to_url()) == experiment


@given(experiments())
def test_the_command_gives_the_same_experiment(experiment: Experiment) -> None:
    program, verb, file, *flags = shlex.split(experiment.command())
    assert (program, verb, set(flags[::2])) in (
        ("leaklab", "run", {"-s"}),
        ("leaklab", "run", set()),
    )
    assert Experiment.from_file(ROOT / file).changed(parse_pairs(flags[1::2])) == experiment


@given(experiments())
def test_a_file_holds_plain_values_only(experiment: Experiment) -> None:
    assert json.loads(json.dumps(experiment.dump())) == experiment.dump()
    assert Experiment.read(experiment.dump()) == experiment


@given(st.data())
def test_the_order_of_settings_does_not_matter(data: st.DataObject) -> None:
    world = data.draw(worlds())
    settings = world | data.draw(conducts(world))
    mixed = dict(data.draw(st.permutations(list(settings.items()))))
    assert with_(mixed) == with_(settings)


@given(st.data())
def test_every_setting_that_was_given_holds(data: st.DataObject) -> None:
    world = data.draw(worlds())
    settings = world | data.draw(conducts(world))
    now = flatten(with_(settings).dump())
    assert now | settings == now


@given(pairs())
def test_the_difference_leads_from_one_experiment_to_the_other(
    pair: tuple[Experiment, Experiment],
) -> None:
    one, other = pair[0].at(1), pair[1].at(1)
    assert one.changed(difference_of(other, one)) == other
    assert difference_of(one, one) == {}


@given(pairs(), st.integers(0, 13))
def test_past_rounds_stay_and_the_rest_follows_the_new_experiment(
    pair: tuple[Experiment, Experiment], after: int
) -> None:
    old, new = pair
    whole = old.continued_by(new, after)
    for round in range(1, 16):
        assert whole.at(round) == (old if round <= after else new).at(round)


@given(pairs(), st.integers(0, 13))
def test_to_go_over_twice_is_to_go_over_once(
    pair: tuple[Experiment, Experiment], after: int
) -> None:
    old, new = pair
    once = old.continued_by(new, after)
    assert once.continued_by(new, after) == once
    assert once.continued_by(once, after) == once


@given(experiments(), TWEAKS, st.integers(2, 12))
def test_rounds_before_a_change_stay_as_they_were(
    experiment: Experiment, tweaks: dict[str, Any], first: int
) -> None:
    changed = experiment.changed_from(first, tweaks)
    for round in range(1, first):
        assert changed.at(round) == experiment.at(round)


@given(experiments(), TWEAKS, st.integers(1, 12))
def test_rounds_after_a_change_are_changed(
    experiment: Experiment, tweaks: dict[str, Any], first: int
) -> None:
    plain = experiment.at(1)
    assert plain.changed_from(first, tweaks).at(first) == plain.changed(tweaks)
    assert plain.changed_from(first, tweaks).at(99) == plain.changed(tweaks)


# --- promises of the notation -------------------------------------------------------------------

# Everything that needs no escape: neither control characters nor lone surrogates.
PRINTED = st.text(st.characters(exclude_categories=["Cc", "Cs"]))
KEYS = st.text(st.sampled_from("ab_-. \"'\\#=[]{}0")) | st.sampled_from(["rule.kind", "a b", ""])
PLAIN = st.booleans() | st.integers() | st.floats(allow_nan=False)


def same(value: object, other: object) -> bool:
    """Equal, and of one type all through: 1, 1.0 and True are told apart."""
    return value == other and repr(value) == repr(other)


def values(texts: st.SearchStrategy[str], keys: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        PLAIN | texts,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=8,
    )


@given(PRINTED)
@example("'a'")
@example('"""a"""')
@example("back\\slash")
@example("{a = 1}")
@example("1 # one")
@example("nan")
@example("1979-05-27")
def test_a_string_is_read_as_it_was_written(text: str) -> None:
    assert same(parse_value(write_value(text)), text)


@given(st.text())
@example("1\n")
def test_any_string_is_read_as_it_was_written(text: str) -> None:
    assert same(parse_value(write_value(text)), text)


@given(values(PRINTED, KEYS))
def test_a_value_is_read_as_it_was_written(value: object) -> None:
    assert same(parse_value(write_value(value)), value)


@given(values(st.text(), KEYS))
@example(["two\nlines"])
def test_any_value_is_read_as_it_was_written(value: object) -> None:
    assert same(parse_value(write_value(value)), value)


@given(values(PRINTED, PRINTED))
@example({"é": 1})
def test_a_key_may_be_in_any_alphabet(value: object) -> None:
    assert same(parse_value(write_value(value)), value)


@pytest.mark.parametrize("read", ["from_toml", "from_json", "from_url"])
@given(text=st.text())
def test_any_text_is_read_or_refused(read: str, text: str) -> None:
    with suppress(SettingError):
        assert isinstance(getattr(Experiment, read)(text), Experiment)


@given(st.sampled_from(DECLARED), st.text() | PLAIN.map(str))
def test_any_value_of_a_setting_is_taken_or_refused(each: Declared, text: str) -> None:
    settings = each.given(parse_value(text))
    if accepted(tree(settings)):
        assert Experiment.from_url(with_(settings).to_url()) == with_(settings)


# --- against an oracle: the JSON schema ---------------------------------------------------------


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    written = json.loads(json.dumps(Experiment.model_json_schema()))
    Draft202012Validator.check_schema(written)
    return Draft202012Validator(written)


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


def test_the_schema_accepts_the_example(schema: Draft202012Validator) -> None:
    schema.validate(tomllib.loads(EXAMPLE))


def test_the_schema_accepts_every_drawn_experiment(schema: Draft202012Validator) -> None:
    @given(experiments())
    def promise(experiment: Experiment) -> None:
        schema.validate(experiment.dump())

    promise()


@pytest.mark.parametrize(("path", "kind"), KINDS)
def test_the_schema_knows_every_kind_and_no_other(
    path: str, kind: str, schema: Draft202012Validator
) -> None:
    for written in (kind, {"kind": kind}):
        assert schema.is_valid(tree({path: written}))
    for written in (kind + "x", {"kind": kind + "x"}, 3, None):
        assert not schema.is_valid(tree({path: written}))


@pytest.mark.parametrize("each", DECLARED, ids=str)
def test_schema_and_lab_agree_on_each_setting(each: Declared, schema: Draft202012Validator) -> None:
    bad = [value for value, _ in beyond(each)]
    for value in [*bad, each.field["default"], [1], {"a": 1}, None]:
        written = tree(each.given(value))
        assert schema.is_valid(written) == (value == each.field["default"])
        assert accepted(written) == schema.is_valid(written)
    assert not schema.is_valid(tree(each.kind | {each.path + "x": 1}))


@pytest.mark.parametrize("path", FAMILIES)
def test_the_schema_wants_a_kind(path: str, schema: Draft202012Validator) -> None:
    assert not accepted(tree({path: {}}))
    assert not schema.is_valid(tree({path: {}}))
