"""Glossary: every term, every control and every part, in one list that pages and tests read.

What is in a menu comes from the catalogue, and so does its entry here: there is none without.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.catalog import entries as parts_of
from lab.catalog import table, tables
from lab.common.settings import Component, Settings
from lab.experiment.experiment import Experiment
from lab.web.terms import TERMS

KINDS = {
    "data-sources": "data set",
    "partitions": "split of the data",
    "models": "model",
    "algorithms": "algorithm",
    "update-transforms": "stage",
    "aggregation-rules": "aggregation rule",
    "channels": "transport",
    "poisoning-attacks": "attack on the model",
    "privacy-attacks": "attack on privacy",
    "audits": "audit",
}
BOUNDS = {
    "minimum": "{} at least",
    "exclusiveMinimum": "above {}",
    "maximum": "{} at most",
    "exclusiveMaximum": "below {}",
}


@dataclass(frozen=True)
class Entry:
    """One thing that can be looked up."""

    key: str  # as addresses hold it
    name: str
    kind: str  # what sort of thing it is, in words
    about: str
    source: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)  # what it assumes, when it fails
    settings: Mapping[str, str] = field(default_factory=dict)  # by name, with bounds
    part: type[Component] | None = None  # what it tells of, where that is a part


def glossary() -> dict[str, Entry]:
    """All entries by key, terms first."""
    return {entry.key: entry for found in (_terms(), _controls(), _parts()) for entry in found}


def entry_of(part: type[Component]) -> str:
    """The key of the part's entry."""
    kind = part.model_fields["kind"].default
    return next(f"{name}.{kind}" for name, found in tables().items() if found.get(kind) is part)


def _terms() -> Iterator[Entry]:
    for group, terms in TERMS.items():
        for term in terms:
            yield Entry(f"term.{term.name}", term.name, f"term, {group}", term.about, term.source)


def _controls() -> Iterator[Entry]:
    """The settings of an experiment, by the paths that files and flags use."""
    schema = Experiment.model_json_schema()
    for name, section in Experiment.model_fields.items():
        kind = section.annotation
        fields = {name: section}
        if (
            isinstance(kind, type)
            and issubclass(kind, Settings)
            and not issubclass(kind, Component)
        ):
            fields = {f"{name}.{inner}": each for inner, each in kind.model_fields.items()}
        for path, each in fields.items():
            told = _bounds(_found(schema, path))
            about = sentence(each.description or "", told)
            yield Entry(path, path, "setting", about)


def _parts() -> Iterator[Entry]:
    for family in tables():
        for found in parts_of(family):
            yield Entry(
                f"{family}.{found['name']}",
                found["name"],
                KINDS[family],
                found["about"],
                found["source"],
                found["notes"],
                {name: setting_told(schema) for name, schema in found["settings"].items()},
                table(family)[found["name"]],
            )


def sentence(words: str, told: str = "") -> str:
    """With a capital, a full stop, and what is told in brackets."""
    ended = words[:1].upper() + words[1:] + (f" ({told})" if told else "")
    return ended.rstrip(".") + "." if ended else ""


def setting_told(schema: Mapping[str, Any]) -> str:
    """A setting's meaning, bounds and default, from its JSON schema."""
    return sentence(str(schema.get("description", "")), _bounds(schema))


def _bounds(schema: Mapping[str, Any]) -> str:
    bounds = [words.format(schema[name]) for name, words in BOUNDS.items() if name in schema]
    if choices := schema.get("enum"):
        bounds.append("one of " + ", ".join(map(str, choices)))
    default = schema.get("default")
    if default is not None and not isinstance(default, (dict, list)):
        bounds.append(f"usually {default}")
    return ", ".join(bounds)


def _found(schema: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """The schema of the setting at that path."""
    here: Mapping[str, Any] = schema
    for step in path.split("."):
        here = here["properties"][step]
        if "$ref" in here:
            here = schema["$defs"][here["$ref"].rsplit("/", 1)[1]]
    return here
