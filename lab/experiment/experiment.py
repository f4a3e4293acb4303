"""Experiment: a whole run as one frozen value, with every change made in its course."""

from __future__ import annotations

import json
import shlex
import tomllib
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Self
from urllib.parse import parse_qsl, urlencode

import tomli_w
from pydantic import AfterValidator, Field, PlainSerializer, model_validator

from lab.common.settings import Component, SettingError, Settings
from lab.common.settings_text import flatten, parse, parse_value, read_file, write_value
from lab.experiment.round_settings import RoundSettings
from lab.experiment.validation import validate

FIXED = ("seed", "data", "model")  # what no change in mid-run may touch


# Settings, written as `section.key`, that nobody can change any more.
ByPath = Annotated[
    Mapping[str, Any],
    AfterValidator(lambda settings: MappingProxyType(dict(settings))),
    PlainSerializer(dict),
]


class SettingsChange(Settings):
    """Settings that hold from `round` on."""

    round: int = Field(ge=2, description="the first round under the new settings")
    set: ByPath = Field(min_length=1, description="section.key = value")

    def __hash__(self) -> int:
        return hash(self.model_dump_json())


class Experiment(RoundSettings):
    """Everything that determines a run: the same experiment gives the same records.

    Except under privacy.secure_noise, where no two runs share their noise.
    """

    changes: tuple[SettingsChange, ...] = Field(
        (), max_length=500, description="what changes in the course of the run"
    )

    def at(self, round: int) -> Experiment:
        """The settings of one round, as an experiment without changes."""
        if not self.changes:
            return self
        now = self.model_copy(update={"changes": ()})
        for change in self._in_order():
            if change.round <= round:
                now = now.changed(change.set)
        # Data never change in mid-run, and what was planted in them is in no file.
        return now.model_copy(update={"data": self.data})

    def _in_order(self) -> list[SettingsChange]:
        return sorted(self.changes, key=lambda change: change.round)

    def changed(self, settings: Mapping[str, Any]) -> Experiment:
        """The same experiment with `section.key` settings replaced.  Raises SettingError.

        A part whose kind changes takes the new kind's defaults.
        """
        tree = self.dump()
        # Whole parts first, then kinds, then their settings, in whatever order they were given.
        for path in sorted(
            settings, key=lambda path: (path.count("."), not path.endswith(".kind"))
        ):
            _put(tree, path, settings[path])
        return Experiment.read(tree)

    def changed_from(self, round: int, settings: Mapping[str, Any]) -> Experiment:
        """The same experiment, with other settings from `round` on.  Raises SettingError."""
        if round == 1:
            return self.changed(settings)
        later = SettingsChange.read({"round": round, "set": dict(settings)}, "changes")
        return Experiment.read(self.dump() | {"changes": [*self.dump()["changes"], later.dump()]})

    def continued_by(self, other: Experiment, after: int) -> Experiment:
        """This experiment to the end of round `after`, the other one from there on."""
        if other == self:
            return other
        kept = [change.dump() for change in self.changes if change.round <= after]
        past = Experiment.read(self.dump() | {"changes": kept})
        difference = difference_of(other.at(after + 1), past.at(after + 1))
        future = past.changed_from(after + 1, difference) if difference else past
        for change in other._in_order():
            if change.round > after + 1:
                future = future.changed_from(change.round, change.set)
        return future

    # --- as text --------------------------------------------------------------------------------

    @classmethod
    def from_toml(cls, text: str) -> Self:
        return cls.read(parse(tomllib.loads, text, "a TOML file"))

    @classmethod
    def from_file(cls, path: Path) -> Self:
        return read_file(cls.from_toml, path)

    def to_toml(self) -> str:
        return tomli_w.dumps(self.dump())

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls.read(parse(json.loads, text, "JSON"))

    def to_json(self) -> str:
        return json.dumps(self.dump())

    @classmethod
    def from_url(cls, query: str) -> Experiment:
        """From what follows the question mark of an address, where defaults are left out."""
        pairs = parse_qsl(query, keep_blank_values=True)
        return cls().changed({path: parse_value(text) for path, text in pairs})

    def to_url(self) -> str:
        return urlencode(self.overrides_as_text())

    def overrides_as_text(self) -> dict[str, str]:
        return {path: write_value(value) for path, value in self.overrides().items()}

    def overrides(self) -> dict[str, Any]:
        """The settings that differ from the defaults, as `section.key`."""
        return difference_of(self, Experiment())

    def command(self) -> str:
        """The command line that reproduces this run, or says why it can't."""
        pairs = [f"{path}={text}" for path, text in self.overrides_as_text().items()]
        flags = [f"-s {shlex.quote(pair)}" for pair in pairs]
        command = " ".join(["leaklab run experiments/default.toml", *flags])
        rounds = (1, *(change.round for change in self.changes))
        # Most experiments never mention it, and looking into every round takes long.
        if "secure_noise" in command and not all(self.at(r).privacy.repeatable for r in rounds):
            command += "  # other numbers each time: privacy.secure_noise"
        return command

    def title(self) -> str:
        """The run in a line, for lists."""
        data, privacy, adversary = self.data, self.privacy, self.adversary
        told = [data.source.title, self.model.title, f"{data.clients} clients"]
        told.append(data.partition.named())
        if privacy.kind != "none":
            goal = f"noise {privacy.noise:g}" if privacy.noise else f"epsilon {privacy.epsilon:g}"
            told.append(f"{privacy.kind}-level {goal}")
        if self.secure_aggregation.enabled:
            told.append("secure aggregation")
        if adversary.count:
            told.append(f"{adversary.count} malicious: {adversary.attack.title}")
        if self.training.algorithm.kind != "fedavg":
            told.append(self.training.algorithm.title)
        told += [stage.title for stage in self.aggregation.pre_aggregators]
        if self.aggregation.rule.kind != "mean":
            told.append(self.aggregation.rule.title)
        paths = {path for change in self.changes for path in change.set}
        told += ["branch"] if "nonce" in paths else []
        told += ["changed in mid-run"] if paths - {"nonce"} else []
        return " · ".join(told)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        validate(self)
        now: Experiment = self.model_copy(update={"changes": ()})
        for change in self._in_order():
            now = now._after(change)
        return self

    def _after(self, change: SettingsChange) -> Experiment:
        touched = [path for path in change.set if path.split(".")[0] in (*FIXED, "changes")]
        if touched:
            raise SettingError(
                f"{touched[0]} cannot change in mid-run (round {change.round}): start a new run"
            )
        try:
            return self.changed(change.set)
        except SettingError as error:
            raise SettingError(f"changes, from round {change.round}: {error}") from None


def difference_of(one: Experiment, other: Experiment) -> dict[str, Any]:
    """The settings of `one` that differ in `other`, as `section.key`."""
    mine, yours = flatten(one.dump()), flatten(other.dump())
    kinds = [path for path in mine if path.endswith(".kind") and path != "privacy.kind"]
    for kind in kinds:  # a new kind begins with its own defaults
        if mine[kind] != yours[kind]:
            section = kind.removesuffix(".kind")
            usual = type(reduce(getattr, section.split("."), one))().dump()
            yours |= {f"{section}.{name}": value for name, value in usual.items() if name != "kind"}
    return {path: value for path, value in mine.items() if yours.get(path) != value}


def _put(tree: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    if isinstance(value, str) and _is_part([*parents, last]) and path != "data.source":
        parents, last = [*parents, last], "kind"
    node = tree
    for name in parents:
        inner = node.setdefault(name, {})
        if not isinstance(inner, dict):
            raise SettingError(f"{path} is not a setting: {name} has no settings of its own")
        node = inner
    if last == "kind" and node.get("kind") != value and _is_part(parents):
        node.clear()
    node[last] = value


def _is_part(path: list[str]) -> bool:
    """Return True where a component lies, as at ["data", "partition"]; `privacy` is a section."""
    node: Any = Experiment
    for name in path:
        field = getattr(node, "model_fields", {}).get(name)
        node = field.annotation if field else None
    return isinstance(node, type) and issubclass(node, Component)
