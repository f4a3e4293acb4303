"""Settings: every one declares itself, tells its name and bounds, and is in the schema."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from lab.common.settings_text import flatten
from lab.experiment.experiment import Experiment
from tests.support.experiment_files import (
    DECLARED,
    EXAMPLE,
    FAMILIES,
    KINDS,
    NUMBERS,
    Declared,
    accepted,
    refusal,
    tree,
    with_,
)
from tests.support.experiment_strategies import experiments

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


# --- against an oracle: the JSON schema ---------------------------------------------------------


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    written = json.loads(json.dumps(Experiment.model_json_schema()))
    Draft202012Validator.check_schema(written)
    return Draft202012Validator(written)


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
    several = each.field.get("type") == "array"
    for value in [*bad, each.field["default"], [1], {"a": 1}, None]:
        written = tree(each.given(value))
        good = value == each.field["default"] or (several and value == [1])
        assert schema.is_valid(written) == good
        assert accepted(written) == schema.is_valid(written)
    assert not schema.is_valid(tree(each.kind | {each.path + "x": 1}))


@pytest.mark.parametrize("path", FAMILIES)
def test_the_schema_wants_a_kind(path: str, schema: Draft202012Validator) -> None:
    assert not accepted(tree({path: {}}))
    assert not schema.is_valid(tree({path: {}}))
