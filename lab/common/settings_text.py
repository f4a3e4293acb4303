"""Experiments as text: dotted settings, and values written as in a TOML file."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from lab.common.settings import SettingError

LAST = "last"  # in place of an id: the newest run
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
Whole = TypeVar("Whole")


def parse(read: Callable[[str], Any], text: str, format: str) -> Any:
    """What `read` makes of hostile text.  Raises SettingError and nothing else."""
    try:
        return read(text)
    except (ValueError, RecursionError) as error:
        raise SettingError(f"not {format}: {str(error)[:120]}") from None


def read_file(read: Callable[[str], Whole], path: Path) -> Whole:
    """What `read` makes of a TOML file.  Raises SettingError that names the file."""
    try:
        return read(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} cannot be read: {error}; give a TOML file") from None
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from None


def flatten(tree: Mapping[str, Any], under: str = "") -> dict[str, Any]:
    """{"data": {"clients": 3}} -> {"data.clients": 3}"""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        path = f"{under}.{name}" if under else name
        flat.update(flatten(value, path) if isinstance(value, Mapping) else {path: value})
    return flat


def parse_value(text: str) -> Any:
    """A value as TOML writes it; anything else is a string, so quotes can be left out."""
    try:
        found = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return found["value"] if len(found) == 1 else text


def write_value(value: Any) -> str:
    """The inverse of `parse_value`."""
    if isinstance(value, str) and parse_value(value) == value:
        return value
    return quoted(value)


def quoted(value: Any) -> str:
    """As `write_value`, but strings keep their quotes, as inside a list or a table."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):  # TOML's strings know JSON's escapes
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(quoted(inner) for inner in value) + "]"
    if isinstance(value, Mapping):
        pairs = (f"{_key(name)} = {quoted(inner)}" for name, inner in value.items())
        return "{" + ", ".join(pairs) + "}"
    return repr(value)


def _key(name: str) -> str:
    return name if BARE_KEY.fullmatch(name) else quoted(name)


def parse_pairs(pairs: Iterable[str]) -> dict[str, Any]:
    """["model.kind=cnn"] -> {"model.kind": "cnn"}.  Raises SettingError."""
    settings = {}
    for pair in pairs:
        path, equals, text = pair.partition("=")
        if not equals or not path.strip():
            raise SettingError(f"{pair!r} is not a setting: write section.key=value")
        settings[path.strip()] = parse_value(text.strip())
    return settings
