"""The catalogue: promises that every part in every table keeps, whatever it is."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType
from typing import Any, get_args, get_type_hints

import pytest
from pydantic import ValidationError
from torch import Tensor

import attacks
import datasets
import defenses
from attacks import POISONING_ATTACKS, PRIVACY_ATTACKS
from attacks.reconstruction.shared.imprint_module import Implanted
from datasets import DATA_SOURCES, PARTITIONS
from defenses import AGGREGATION_RULES, CHANNELS, UPDATE_TRANSFORMS
from lab import ROOT, audits, catalog
from lab.audits import AUDITS, Audit
from lab.audits.black_box import Thinned
from lab.common.settings import Component, SettingError
from lab.engine import algorithms
from lab.engine.algorithms import ALGORITHMS
from lab.experiment.experiment import Experiment
from lab.interfaces.aggregation import AggregationRule, Channel, UpdateTransform
from lab.interfaces.attack_data import (
    ActiveSignals,
    ClientSignals,
    MaliciousServer,
    MembershipSignals,
)
from lab.interfaces.data import DataSource, FederatedDataset, Partition
from lab.interfaces.federated_algorithm import Algorithm
from lab.interfaces.poisoning import PoisoningAttack
from lab.interfaces.privacy_attacks import PrivacyAttack
from lab.interfaces.views import OutsiderView, ServerView
from lab.models.architectures import MODELS, Model

FAMILIES: dict[str, type[Component]] = {
    "data-sources": DataSource,
    "partitions": Partition,
    "models": Model,
    "algorithms": Algorithm,
    "update-transforms": UpdateTransform,
    "aggregation-rules": AggregationRule,
    "channels": Channel,
    "poisoning-attacks": PoisoningAttack,
    "privacy-attacks": PrivacyAttack,
    "audits": Audit,
}
PARTS = [
    pytest.param(part, kind, id=f"{name}: {kind}")
    for name, table in catalog.tables().items()
    for kind, part in table.items()
]
SETTINGS = [
    pytest.param(name, kind, key, field, id=f"{kind}.{key}")
    for name in catalog.tables()
    for kind, schema in ((each["name"], each["settings"]) for each in catalog.entries(name))
    for key, field in schema.items()
]
# Nobody's paper: textbook models, no skew, the real owners, and messages that just travel.
WITHOUT_PAPER = {
    "iid", "natural", "people", "logistic", "mlp", "plain", "silent", "none", "centralised",
    "local-only",
}  # fmt: skip
# Made by the engine out of an experiment's own settings, and those have both bounds.
MADE_BY_THE_ENGINE = {"update-transforms", "channels"}
# What an attack is given of a party's eyes, or what it has measured through them.
VIEWS = (ServerView, OutsiderView, MaliciousServer, MembershipSignals, ClientSignals, ActiveSignals)
# What is private, or would say so.
SECRETS = re.compile(r"truth|private|secret|federat|examples|pool", re.IGNORECASE)


def modules() -> Iterator[ModuleType]:
    """Every module that may hold a part, also one that its package forgot."""
    yield sys.modules["lab.models.architectures"]
    for package in (attacks, datasets, defenses, algorithms, audits):
        for found in walk_packages(package.__path__, f"{package.__name__}."):
            yield import_module(found.name)


def leaves(family: type[Component]) -> set[type[Component]]:
    """Every final class of the family that a module of ours defines."""
    names = {module.__name__ for module in modules()}
    return {
        each
        for module in modules()
        for each in vars(module).values()
        if isinstance(each, type)
        and issubclass(each, family)
        and not inspect.isabstract(each)
        and each is not family
        and each.__module__ in names
    }


# --- by hand ------------------------------------------------------------------------------------


def test_the_catalogue_holds_the_tables_of_the_packages() -> None:
    assert catalog.tables() == {
        "data-sources": DATA_SOURCES,
        "partitions": PARTITIONS,
        "models": MODELS,
        "algorithms": ALGORITHMS,
        "update-transforms": UPDATE_TRANSFORMS,
        "aggregation-rules": AGGREGATION_RULES,
        "channels": CHANNELS,
        "poisoning-attacks": POISONING_ATTACKS,
        "privacy-attacks": PRIVACY_ATTACKS,
        "audits": AUDITS,
    }


def test_an_entry_says_all_that_a_select_box_needs() -> None:
    entry = next(
        each for each in catalog.entries("aggregation-rules") if each["name"] == "trimmed-mean"
    )
    assert entry == {
        "name": "trimmed-mean",
        "title": "Trimmed mean",
        "about": AGGREGATION_RULES["trimmed-mean"].about(),
        "source": "Yin et al. 2018, arXiv:1803.01498, algorithm 1, option II",
        "notes": {"fails on": AGGREGATION_RULES["trimmed-mean"].fails},
        "settings": {
            "faulty": {
                "default": 1,
                "minimum": 0,
                "maximum": 499,
                "type": "integer",
                "description": "number of values dropped at each end of a coordinate",
            }
        },
    }


def test_a_table_that_there_is_not_is_told_the_nearest() -> None:
    with pytest.raises(
        SettingError,
        match=r"there is no table 'aggregation-ruls': did you mean aggregation-rules\?",
    ):
        catalog.table("aggregation-ruls")
    with pytest.raises(SettingError, match="choose from data-sources, partitions, models"):
        list(catalog.entries("#"))


def test_a_table_that_was_given_away_can_be_changed_without_harm() -> None:
    catalog.tables()["aggregation-rules"].clear()
    catalog.table("aggregation-rules").clear()
    assert "mean" in catalog.table("aggregation-rules")
    assert "mean" in AGGREGATION_RULES


# --- promises of the tables ---------------------------------------------------------------------


@pytest.mark.parametrize("name", catalog.tables())
def test_a_table_holds_every_part_of_its_family(name: str) -> None:
    """Also those of a file whose line in the table was forgotten; and no two share a kind.

    But for the model that only a malicious server sends, and the split without an audit's canaries,
    which nobody may choose for a run.  Audits are spies that stand in a table of their own.
    """
    parts = leaves(FAMILIES[name]) - {Implanted, Thinned}
    if name == "privacy-attacks":
        parts -= leaves(Audit)
        assert {**catalog.table(name), **AUDITS} == PrivacyAttack.table
    assert set(catalog.table(name).values()) == parts
    assert len(catalog.table(name)) == len(parts)
    if name != "privacy-attacks":
        assert catalog.table(name) == FAMILIES[name].table


@pytest.mark.parametrize("name", catalog.tables())
def test_entries_are_plain_values_in_the_order_of_the_table(name: str) -> None:
    entries = list(catalog.entries(name))
    assert json.loads(json.dumps(entries, allow_nan=False)) == entries
    assert [entry["name"] for entry in entries] == list(catalog.table(name))


def test_no_module_of_the_lab_hides_one_of_the_standard_library() -> None:
    """`streamlit run lab/web/app.py` puts lab/web first on the path."""
    names = {path.stem for path in (ROOT / "lab").rglob("*.py")}
    folders = {path.name for path in (ROOT / "lab").rglob("*") if path.is_dir()}
    assert {"app", "experiment", "figures"} <= names | folders
    assert not (names | folders) & sys.stdlib_module_names


# --- promises of every part ---------------------------------------------------------------------


@pytest.mark.parametrize(("part", "kind"), PARTS)
def test_a_part_bears_the_name_under_which_it_is_listed(part: type[Component], kind: str) -> None:
    assert part().kind == kind
    assert get_args(part.model_fields["kind"].annotation) == (kind,)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", kind)
    assert part.family().pick(kind) == part()


@pytest.mark.parametrize(("part", "kind"), PARTS)
def test_a_part_is_final(part: type[Component], kind: str) -> None:
    assert part.__subclasses__() == []
    assert not part.is_family()


@pytest.mark.parametrize(("part", "kind"), PARTS)
def test_a_part_says_in_one_line_what_it_does(part: type[Component], kind: str) -> None:
    """A sentence that ends where the line ends, for the rest of it would be cut off."""
    assert part.about() == inspect.cleandoc(part.__doc__ or "").splitlines()[0]
    assert 20 <= len(part.about()) <= 100
    assert part.about().endswith(".")


@pytest.mark.parametrize(("part", "kind"), PARTS)
def test_a_part_is_described_by_a_plain_sentence(part: type[Component], kind: str) -> None:
    """It begins with a capital letter, and not with a word that makes half a sentence."""
    assert part.about()[0].isupper()
    assert not part.about().startswith(("Of ", "Whether ", "By how much ", "How ", "The same "))


@pytest.mark.parametrize(("part", "kind"), PARTS)
def test_a_part_names_its_source_where_it_has_one(part: type[Component], kind: str) -> None:
    assert bool(part.source) == (kind not in WITHOUT_PAPER)
    if part.source:
        assert re.search(r"\b(19|20)\d\d\b|scikit-image 0\.\d+", part.source)


@pytest.mark.parametrize(("part", "kind"), PARTS)
def test_the_file_of_a_part_begins_with_its_idea(part: type[Component], kind: str) -> None:
    first = (sys.modules[part.__module__].__doc__ or "").splitlines()[0]
    assert len(first) >= 20
    assert first.endswith(".")


@pytest.mark.parametrize(("part", "kind"), PARTS)
def test_a_part_is_a_frozen_value_that_prints(part: type[Component], kind: str) -> None:
    one, other = part(), part()
    assert one is not other
    assert one == other
    assert hash(one) == hash(other)
    assert repr(one).startswith(f"{part.__name__}(kind={kind!r}")
    for name in part.model_fields:
        assert f"{name}={getattr(one, name)!r}" in repr(one)
        with pytest.raises(ValidationError, match="frozen"):
            setattr(one, name, getattr(one, name))
    with pytest.raises(ValidationError):
        one.memory = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(("part", "kind"), PARTS)
def test_a_part_is_read_as_it_was_written(part: type[Component], kind: str) -> None:
    written = json.loads(json.dumps(part().dump()))
    assert part.family().pick(written) == part()


@pytest.mark.parametrize(("part", "kind"), PARTS)
def test_a_part_refuses_what_it_does_not_know(part: type[Component], kind: str) -> None:
    with pytest.raises(SettingError, match=r"^it.zzz is not a setting"):
        part.read({"zzz": 1}, where="it")
    with pytest.raises(SettingError, match=r"^it.kind is 'zzz'"):
        part.read({"kind": "zzz"}, where="it")


# --- promises of every setting ------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind", "key", "field"), SETTINGS)
def test_a_setting_describes_itself(name: str, kind: str, key: str, field: dict[str, Any]) -> None:
    assert len(field["description"]) > 5
    assert not field["description"].endswith(".")
    assert "title" not in field
    assert key.isidentifier()
    assert key == key.lower()


@pytest.mark.parametrize(("name", "kind", "key", "field"), SETTINGS)
def test_a_setting_has_bounds_and_a_default_within(
    name: str, kind: str, key: str, field: dict[str, Any]
) -> None:
    if "enum" in field or field["type"] == "boolean":
        assert field["default"] in field.get("enum", (False, True))
        return
    if field["type"] == "string":  # free words, of a shape and length that are told
        assert re.fullmatch(field["pattern"], field["default"])
        assert len(field["default"]) <= field["maxLength"]
        return
    below = "minimum" if "minimum" in field else "exclusiveMinimum"
    above = "maximum" if "maximum" in field else "exclusiveMaximum"
    assert field[below] <= field["default"]
    if name not in MADE_BY_THE_ENGINE:
        assert field["default"] <= field[above]


@pytest.mark.parametrize(("name", "kind", "key", "field"), SETTINGS)
def test_two_parts_of_different_settings_differ(
    name: str, kind: str, key: str, field: dict[str, Any]
) -> None:
    part = catalog.table(name)[kind]
    usual = field["default"]
    if "enum" in field or field["type"] == "boolean":
        changed = next(value for value in field.get("enum", (False, True)) if value != usual)
    elif field["type"] == "string":
        changed = usual + "1"
    else:
        changed = usual + (1 if field["type"] == "integer" else 0.125)
        if changed > field.get("maximum", changed):
            changed = max(usual / 2, field.get("minimum", 0))
    other = part.read({key: changed})
    assert other != part()
    assert other == part.read(other.dump())
    assert f"{key}={getattr(other, key)!r}" in repr(other)


# --- promises of sources ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DATA_SOURCES)
def test_a_source_declares_what_it_gives(kind: str) -> None:
    source = DATA_SOURCES[kind]
    assert len(source.licence) > 10
    assert source.size >= 2
    assert len(source.shape) in (1, 3)
    assert min(source.shape) >= 1
    assert len(set(source.classes)) == len(source.classes) >= 2
    assert source().dump() == kind


# --- a spy never sees the truth -----------------------------------------------------------------


def secrets(call: Callable[..., Any]) -> set[str]:
    """Parameters whose name or type, or a field of whose type, says something private."""
    hints = get_type_hints(call)
    names = [name for name in inspect.signature(call).parameters if name != "self"]
    return {found for name in names for found in _walk(name, hints.get(name, Any), ())}


def _walk(path: str, kind: Any, above: tuple[Any, ...]) -> Iterator[str]:
    if kind in above:
        return
    if SECRETS.search(path.split(".")[-1]) or SECRETS.search(getattr(kind, "__name__", "")):
        yield path
    for inner in kind if isinstance(kind, list) else get_args(kind):  # a list: of a callable
        yield from _walk(path, inner, (*above, kind))
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        for field in fields(kind):
            yield from _walk(f"{path}.{field.name}", hints[field.name], (*above, kind))


@dataclass(frozen=True, eq=False)
class Leaky:
    """A view that should not be: it holds the data behind an innocent name."""

    rows: Tensor
    behind: tuple[FederatedDataset, ...]


def test_the_guard_sees_a_spy_that_is_given_the_truth() -> None:
    """Else the promise below could not fail."""

    def honest(view: ServerView, target: int) -> None: ...
    def named(view: ServerView, truth: Tensor) -> None: ...
    def typed(view: ServerView, hint: FederatedDataset | None) -> None: ...
    def hidden(view: Leaky, target: int) -> None: ...

    assert secrets(honest) == set()
    assert secrets(named) == {"truth"}
    assert "hint" in secrets(typed)
    assert "view.behind" in secrets(hidden)


@pytest.mark.parametrize("kind", PRIVACY_ATTACKS)
def test_no_spy_is_given_the_truth(kind: str) -> None:
    assert secrets(PRIVACY_ATTACKS[kind].__call__) == set()
    assert secrets(PRIVACY_ATTACKS[kind].check) == set()


@pytest.mark.parametrize("kind", PRIVACY_ATTACKS)
def test_a_spy_is_given_one_view_and_what_it_asks_for(kind: str) -> None:
    hints = list(get_type_hints(PRIVACY_ATTACKS[kind].__call__).values())
    views = [hint for hint in hints if hint in VIEWS]
    assert len(views) == 1
    variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    parameters = inspect.signature(PRIVACY_ATTACKS[kind].__call__).parameters.values()
    assert not [each for each in parameters if each.kind in variadic]


@pytest.mark.parametrize("kind", PRIVACY_ATTACKS)
@pytest.mark.parametrize("name", ["attacker", "knows", "fails"])
def test_a_spy_declares_its_attacker_and_its_limits(kind: str, name: str) -> None:
    declared = vars(PRIVACY_ATTACKS[kind])[name]  # its own, not inherited
    assert len(declared) > 10
    assert not declared.endswith(".")  # pages make a sentence of it


# --- the catalogue and the experiment -----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("data-sources", "data.source"),
        ("partitions", "data.partition"),
        ("models", "model"),
        ("algorithms", "training.algorithm"),
        ("aggregation-rules", "aggregation.rule"),
        ("poisoning-attacks", "adversary.attack"),
    ],
)
def test_an_experiment_offers_exactly_what_the_table_holds(name: str, path: str) -> None:
    node: Any = Experiment()
    for step in path.split("."):
        node = getattr(node, step)
    assert dict(node.family().table) == catalog.table(name)


def test_every_part_has_a_file_of_its_own() -> None:
    """But for models, which are small, and pairs that are one idea."""
    files: dict[Path, list[str]] = {}
    for name, table in catalog.tables().items():
        for kind, part in table.items() if name != "models" else ():
            files.setdefault(Path(inspect.getfile(part)), []).append(kind)
    shared = {path.stem: kinds for path, kinds in files.items() if len(kinds) > 1}
    assert shared == {
        "fashion_mnist": ["fashion-mnist", "fashion-mnist-full"],
        "gaussian_noise": ["noise", "release"],
    }


@pytest.mark.parametrize(
    "name", ["aggregation-rules", "poisoning-attacks", "privacy-attacks", "audits"]
)
def test_the_catalogue_says_what_attackers_know_and_where_defences_fail(name: str) -> None:
    for entry in catalog.entries(name):
        assert entry["notes"]
        assert all(len(words) > 10 and not words.endswith(".") for words in entry["notes"].values())
