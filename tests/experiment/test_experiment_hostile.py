"""Hostile files, JSON and addresses: refused in words, whatever they hold."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.common.settings import SettingError
from lab.experiment.experiment import Experiment
from tests.support.experiment_files import refusal


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
        pytest.param("aggregation." + ".".join("a" * 3000) + " = 1", id="dotted part"),
        pytest.param("[aggregation]\nrule = '" + "a" * 10**5 + "'", id="long kind"),
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
        pytest.param('{"aggregation.rule": "\\ud800"}', id="surrogate kind"),
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


@pytest.mark.parametrize("read", ["from_toml", "from_json", "from_url"])
@given(text=st.text())
def test_any_text_is_read_or_refused(read: str, text: str) -> None:
    with suppress(SettingError):
        assert isinstance(getattr(Experiment, read)(text), Experiment)
