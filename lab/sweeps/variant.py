"""Variant: a few settings of a sweep under one name, and what they are expected to come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from lab.attack_runs.shared.attack_request import AttackSpec
from lab.common.settings import Component, SettingError, Settings, nearest, shown
from lab.experiment.experiment import ByPath, Experiment

Claim = Literal["", "exact", "leaks", "stopped"]  # see `lab.lesson`
SECTIONS = {
    name: field.annotation
    for name, field in Experiment.model_fields.items()
    if isinstance(field.annotation, type)
    and issubclass(field.annotation, Settings)
    and not issubclass(field.annotation, Component)
} | {"attack": AttackSpec}


class Variant(Settings):
    """A few settings, and what they are called."""

    label: str = Field(min_length=1, max_length=40, description="its name in the table")
    set: ByPath = Field(default_factory=dict, description="section.key = value")
    expects: Claim = Field("", description="what a lesson says of its places, with measure leak")

    @field_validator("label")
    @classmethod
    def _check_label(cls, label: str) -> str:
        return one_line(label, "label")

    @field_validator("set", mode="before")
    @classmethod
    def _by_path(cls, settings: Any) -> Any:
        """A section that was written as a table means the settings in it, and leaves the others."""
        if not isinstance(settings, Mapping):
            return settings
        found: dict[str, Any] = {}
        for path, value in settings.items():
            whole = isinstance(value, Mapping) and path in SECTIONS
            inner = {f"{path}.{name}": one for name, one in value.items()} if whole else {}
            found |= inner or {path: value}
        for path in found:
            _check_path(str(path))
        return found


UNNAMED = (Variant.model_construct(label="", set={}, expects=""),)


def _check_path(path: str) -> None:
    """Only what lies above the settings of parts; whether those are right depends on the kind."""
    section, _, key = path.partition(".")
    known: Any = [name for name in Experiment.model_fields if name != "seed"]
    if section == "seed":
        raise SettingError("seed is no setting of a row or column: give seeds for the whole sweep")
    if section == "attack" and key:
        return  # which settings there are depends on the kind
    if section in SECTIONS:
        section, known = key.partition(".")[0], SECTIONS[section].model_fields
    if section not in known:
        raise SettingError(f"{shown(path)} is not a setting: {nearest(section, known)}")


def one_line(text: str, name: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise SettingError(f"{name} is {shown(text)}: give one line, without blanks at its ends")
    return text
