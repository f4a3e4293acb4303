"""The catalogue: names and parts.  The only file that knows every attack, defence and data set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attacks
import datasets
import defenses
from lab import audits
from lab.common.settings import Component, SettingError, nearest
from lab.engine import algorithms
from lab.models import architectures


def tables() -> dict[str, dict[str, type[Component]]]:
    """Every table by name, each from kind to part."""
    return {
        "data-sources": dict(datasets.DATA_SOURCES),
        "partitions": dict(datasets.PARTITIONS),
        "models": dict(architectures.MODELS),
        "algorithms": dict(algorithms.ALGORITHMS),
        "update-transforms": dict(defenses.UPDATE_TRANSFORMS),
        "aggregation-rules": dict(defenses.AGGREGATION_RULES),
        "channels": dict(defenses.CHANNELS),
        "poisoning-attacks": dict(attacks.POISONING_ATTACKS),
        "privacy-attacks": dict(attacks.PRIVACY_ATTACKS),
        "audits": dict(audits.AUDITS),
    }


def table(name: str) -> dict[str, type[Component]]:
    """One table.  Raises SettingError that names those there are."""
    if name not in tables():
        raise SettingError(f"there is no table {name!r}: {nearest(name, tables())}")
    return tables()[name]


def entries(name: str) -> Iterator[dict[str, Any]]:
    """Describe each part: name, title, one line, source, notes, settings with bounds."""
    for kind, part in table(name).items():
        schema = part.model_json_schema()["properties"]
        settings = {key: _plain(field) for key, field in schema.items() if key != "kind"}
        told = {"name": kind, "title": part.title, "about": part.about(), "source": part.source}
        yield told | {"notes": part.notes(), "settings": settings}


def _plain(field: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in field.items() if key != "title"}
