"""Sweeps: one experiment under every combination of a few settings, to find the worst cases.

Such as attack by rule.  A further axis may stand for the best rule or the worst attack of each
place, as in the heat maps of ByzFL (González et al. 2025).  A sweep may carry an attack on privacy:
then each run ends with it, and what leaked is shown.  Or it carries probes: attacks beside a
measure, on runs that go on to their last round.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from itertools import product
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import Field, field_validator, model_validator

from lab.attack_runs.shared.attack_request import AttackSpec
from lab.common.settings import SettingError, Settings, shown
from lab.common.settings_text import parse, read_file
from lab.experiment.experiment import Experiment
from lab.interfaces.privacy_attacks import MembershipInferenceAttack
from lab.sweeps.variant import UNNAMED, Variant, one_line

NUMBERS = 2  # raised whenever an experiment gives other records than before: no old one is reused
SCORES = 3  # the same for what attacks find, and how it is scored
MOST = 2_000  # runs of a sweep
AXES = ("rows", "columns", "best", "worst")
ATTACK = "attack."  # begins the paths of its settings
Seed = Annotated[int, Field(ge=0, le=2**53 - 1, strict=True)]


@dataclass(frozen=True)
class Cell:
    """One run of a sweep, or why there is none."""

    place: tuple[int, int, int, int]  # on each of AXES
    seed: int
    experiment: Experiment | None
    key: str = ""  # equal for equal experiments and attacks; empty without one
    refused: str = ""
    attack: AttackSpec | None = None
    probes: tuple[AttackSpec, ...] = ()

    def body(self) -> dict[str, Any]:
        """What a worker is given.  Only of a cell with an experiment."""
        assert self.experiment is not None
        run: dict[str, Any] = self.experiment.dump()
        if self.probes:
            return {"experiment": run, "probes": [probe.dump() for probe in self.probes]}
        return {"experiment": run, "attack": self.attack.dump()} if self.attack else run


class Sweep(Settings):
    """A table of experiments, and what is shown of them."""

    title: str = Field("", max_length=100, description="a heading")
    seeds: tuple[Seed, ...] = Field(
        (), max_length=100, description="of the runs of each place; none: the experiment's own"
    )
    lesson: str = Field(
        "",
        max_length=200,
        description="what the table teaches; rows or columns say what it expects",
    )
    measure: Literal["accuracy", "backdoor", "leak"] = Field(
        "accuracy", description="what is shown; the worst of accuracy is low, of the others high"
    )
    last: int = Field(1, ge=1, le=2000, description="rounds at the end whose mean is shown")
    experiment: Experiment = Field(
        default_factory=Experiment, description="what all runs have in common"
    )
    attack: AttackSpec | None = Field(
        None, description="what every run ends with, for measure leak"
    )
    probes: tuple[AttackSpec, ...] = Field(
        (), max_length=5, description="attacks on every run besides; they go into the table of runs"
    )
    rows: tuple[Variant, ...] = Field(min_length=1, max_length=50)
    columns: tuple[Variant, ...] = Field(min_length=1, max_length=50)
    best: tuple[Variant, ...] = Field(
        (), max_length=50, description="a place shows the best of them, against its worst"
    )
    worst: tuple[Variant, ...] = Field(
        (), max_length=50, description="a place shows the worst of them"
    )

    # --- what follows from the settings ---------------------------------------------------------

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Every run, row by row."""
        places = product(*(range(len(axis)) for axis in self.axes))
        seeds = self.seeds or (self.experiment.seed,)
        return tuple(self._cell(place, seed) for place, seed in product(places, seeds))

    @property
    def axes(self) -> tuple[tuple[Variant, ...], ...]:
        """Rows, columns, best, worst; one that is not there has a single nameless place."""
        return self.rows, self.columns, self.best or UNNAMED, self.worst or UNNAMED

    @cached_property
    def experiments(self) -> dict[str, Experiment]:
        """What is to be run, by key, in the order of the table; equal ones once."""
        return {cell.key: cell.experiment for cell in self.cells if cell.experiment}

    @cached_property
    def runs(self) -> dict[str, Cell]:
        """The same with its attack, if there is one."""
        return {cell.key: cell for cell in self.cells if cell.experiment}

    @property
    def infers(self) -> bool:
        """Whether its attack asks for membership."""
        return self.attack is not None and isinstance(self.attack.attack, MembershipInferenceAttack)

    def _cell(self, place: tuple[int, ...], seed: int) -> Cell:
        rows, columns, best, worst = place
        chosen = [axis[at] for axis, at in zip(self.axes, place, strict=True)]
        settings = {path: value for variant in chosen for path, value in variant.set.items()}
        here = (rows, columns, best, worst)
        try:
            experiment, attack = self._set(settings | {"seed": seed})
            for aim in (*([attack] if attack else []), *self.probes):
                aim.check(experiment)
        except SettingError as error:
            return Cell(here, seed, None, refused=" ".join(str(error).split()))
        key = key_of(experiment, attack, self.probes)
        return Cell(here, seed, experiment, key, attack=attack, probes=self.probes)

    def _set(self, settings: Mapping[str, Any]) -> tuple[Experiment, AttackSpec | None]:
        """Experiment and attack with settings replaced.  Raises SettingError."""
        mine = {path: each for path, each in settings.items() if not path.startswith(ATTACK)}
        theirs = {p.removeprefix(ATTACK): settings[p] for p in settings if p.startswith(ATTACK)}
        if theirs and not self.attack:
            raise SettingError(f"{ATTACK}{next(iter(theirs))} is set, and there is no attack")
        attack = self.attack.changed(theirs) if self.attack else None
        return self.experiment.changed(mine), attack

    def changed(self, settings: Mapping[str, Any]) -> Sweep:
        """The same sweep of another experiment, or with another attack.  Raises SettingError."""
        experiment, attack = self._set(settings)
        ours = {"attack": attack.dump()} if attack else {}
        return Sweep.read(self.dump() | {"experiment": experiment.dump()} | ours)

    # --- as text --------------------------------------------------------------------------------

    @classmethod
    def from_toml(cls, text: str) -> Self:
        return cls.read(parse(tomllib.loads, text, "a TOML file"))

    @classmethod
    def from_file(cls, path: Path) -> Sweep:
        """Pages ask again at each look; a text that was read is known, with all its runs."""
        return read_file(_known, path)

    def to_toml(self) -> str:
        return tomli_w.dumps(self.dump())

    # --- settings that contradict each other ----------------------------------------------------

    @field_validator("title")
    @classmethod
    def _check_title(cls, title: str) -> str:
        return one_line(title, "title")

    @field_validator("lesson")
    @classmethod
    def _check_lesson(cls, lesson: str) -> str:
        return one_line(lesson, "lesson")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if twice := _twice(self.seeds):
            raise SettingError(f"seeds has {twice} twice: give each once")
        for name in AXES:
            if twice := _twice([variant.label for variant in getattr(self, name)]):
                raise SettingError(f"{name} has the label {twice} twice: give each its own")
        self._agree_on_paths()
        self._agree_on_attack()
        runs = prod(len(axis) for axis in self.axes) * max(1, len(self.seeds))
        if runs > MOST:
            raise SettingError(
                f"rows, columns, best, worst and seeds make {runs} runs, and {MOST} are allowed: "
                "give fewer"
            )
        if not self.experiments:
            raise SettingError(f"every run is refused, the first because {self.cells[0].refused}")
        return self

    def _agree_on_paths(self) -> None:
        """No setting is on two axes: which of them held would be a guess."""
        owner: dict[str, str] = {}
        for name in AXES:
            for path in {path for variant in getattr(self, name) for path in variant.set}:
                if path in owner:
                    raise SettingError(
                        f"{owner[path]} and {name} both set {path}: leave it to one of them"
                    )
                owner[path] = name

    def _agree_on_attack(self) -> None:
        """What leaks takes an attack, and a lesson says what it expects, once for each place."""
        if (self.measure == "leak") != (self.attack is not None):
            there = "an" if self.attack else "no"
            raise SettingError(
                f"measure is {self.measure} with {there} attack: measure leak needs one, such as "
                '{ kind = "spear", round = 1 }, and no other measure does'
            )
        if self.attack and self.probes:
            raise SettingError("attack ends the run, and probes want it whole: give one of the two")
        expect = [name for name in AXES if any(variant.expects for variant in getattr(self, name))]
        if len(expect) > 1 or not {*expect} <= {"rows", "columns"}:
            raise SettingError(f"{' and '.join(expect)} expect: leave it to rows or to columns")
        if bool(expect) != bool(self.lesson) or (expect and self.measure != "leak"):
            raise SettingError(
                "lesson, the expects of its rows or columns, and measure leak go together: give "
                "all of them or none"
            )


@lru_cache(maxsize=32)
def _known(text: str) -> Sweep:
    return Sweep.from_toml(text)


def key_of(
    experiment: Experiment, attack: AttackSpec | None = None, probes: Sequence[AttackSpec] = ()
) -> str:
    """Equal for equal experiments and attacks, as long as they give the same records."""
    attacked = [SCORES, attack.dump()] if attack else []
    if probes:
        attacked = [SCORES, [probe.dump() for probe in probes]]
    text = json.dumps([NUMBERS, experiment.dump(), *attacked], sort_keys=True)
    return sha256(text.encode()).hexdigest()[:16]


def _twice(values: Sequence[Any]) -> str:
    """The first value that was there before."""
    return next((shown(value) for at, value in enumerate(values) if value in values[:at]), "")
