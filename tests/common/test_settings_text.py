"""The notation: a value is read as it was written, with quotes only where they are needed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lab.common.settings_text import flatten, parse_pairs, parse_value, write_value
from lab.experiment.experiment import Experiment
from tests.support.experiment_files import DECLARED, Declared, accepted, refusal, tree, with_

# --- by hand ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pair", "told"),
    [("rounds", "'rounds' is not a setting"), ("=3", "'=3' is not a setting"), ("", "'' is not")],
)
def test_a_pair_without_key_or_value_is_refused(pair: str, told: str) -> None:
    assert refusal(lambda: parse_pairs([pair])).startswith(told)


def test_pairs_are_read_at_the_first_equals_sign() -> None:
    assert parse_pairs(["a.b = 3", 'c="d=e"', "f=g=h"]) == {"a.b": 3, "c": "d=e", "f": "g=h"}


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


# --- promises -----------------------------------------------------------------------------------

# Everything that needs no escape: neither control characters nor lone surrogates.
PRINTED = st.text(st.characters(exclude_categories=["Cc", "Cs"]))
KEYS = st.text(st.sampled_from("ab_-. \"'\\#=[]{}0")) | st.sampled_from(
    ["aggregation.rule.kind", "a b", ""]
)
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


@given(st.sampled_from(DECLARED), st.text() | PLAIN.map(str))
def test_any_value_of_a_setting_is_taken_or_refused(each: Declared, text: str) -> None:
    settings = each.given(parse_value(text))
    if accepted(tree(settings)):
        assert Experiment.from_url(with_(settings).to_url()) == with_(settings)
