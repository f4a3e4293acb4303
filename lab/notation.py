"""Experiments as text: dotted settings, and values written as in a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from lab.settings import SettingError


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
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return text


def write_value(value: Any) -> str:
    """The inverse of `parse_value`."""
    if isinstance(value, Mapping):
        pairs = (f"{write_key(name)} = {quoted(inner)}" for name, inner in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, str) and parse_value(value) == value:
        return value
    return quoted(value)


def quoted(value: Any) -> str:
    """As `write_value`, but strings keep their quotes, as inside a list or a table."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(quoted(inner) for inner in value) + "]"
    return write_value(value) if isinstance(value, Mapping) else repr(value)


def write_key(name: str) -> str:
    return name if name.replace("_", "").isalnum() else quoted(name)


def parse_pairs(pairs: list[str]) -> dict[str, Any]:
    """["rule.kind=median"] -> {"rule.kind": "median"}.  Raises SettingError."""
    settings = {}
    for pair in pairs:
        path, equals, text = pair.partition("=")
        if not equals or not path.strip():
            raise SettingError(f"{pair!r} is not a setting: write section.key=value")
        settings[path.strip()] = parse_value(text.strip())
    return settings
