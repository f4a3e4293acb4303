"""Study: privacy, skew, masks and malicious clients, a few values of each, in all combinations.

It is a sweep by another name: privacy and skew are its rows, masks and malicious clients its
columns, and every run is attacked while it goes on, for what it leaks beside its accuracy.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import Field, model_validator

from lab.common.settings import SettingError, Settings, shown
from lab.common.settings_text import parse, read_file
from lab.experiment.experiment import Experiment
from lab.interfaces.privacy_attacks import (
    MembershipInferenceAttack,
    PrivacyAttack,
    ReconstructionAttack,
)
from lab.sweeps.sweep import Seed, Sweep

MOST = 7  # values of an axis
Epsilon = Annotated[float, Field(ge=0, le=100)]
Alpha = Annotated[float, Field(ge=0, le=1000)]
Share = Annotated[float, Field(ge=0, lt=1)]
TITLES = {
    "epsilons": "Epsilon",
    "alphas": "Skew",
    "masks": "Secure aggregation",
    "malicious": "Malicious clients",
}
AXES = tuple(TITLES)


@dataclass(frozen=True)
class SettingsCombination:
    """One combination of settings."""

    epsilon: float
    alpha: float
    masks: bool
    malicious: float

    def words(self) -> dict[str, str]:
        """What it is on each of AXES."""
        some = f"{100 * self.malicious:g} % malicious"
        return {
            "epsilons": f"epsilon {self.epsilon:g}" if self.epsilon else "no privacy",
            "alphas": f"alpha {self.alpha:g}" if self.alpha else "even data",
            "masks": "masks" if self.masks else "no masks",
            "malicious": some if self.malicious else "all honest",
        }


class Study(Settings):
    """Which settings are combined, of what experiment, and how it is attacked."""

    title: str = Field("", max_length=100, description="a heading")
    seeds: tuple[Seed, ...] = Field(
        (0, 1), min_length=1, max_length=20, description="of the runs of each combination"
    )
    experiment: Experiment = Field(
        default_factory=Experiment, description="what all runs have in common"
    )
    epsilons: tuple[Epsilon, ...] = Field(
        (0.0,), min_length=1, max_length=MOST, description="of differential privacy; 0: none"
    )
    unit: Literal["example", "client"] = Field(
        "example", description="what an epsilon protects: one example, or a whole client"
    )
    alphas: tuple[Alpha, ...] = Field(
        (0.0,), min_length=1, max_length=MOST, description="of a Dirichlet split; 0: dealt evenly"
    )
    masks: tuple[bool, ...] = Field(
        (False,), min_length=1, max_length=2, description="secure aggregation, off or on"
    )
    malicious: tuple[Share, ...] = Field(
        (0.0,), min_length=1, max_length=MOST, description="share of the clients, rounded to some"
    )
    inversion: PrivacyAttack = Field(
        default_factory=lambda: PrivacyAttack.pick("first-layer"),
        description="rebuilds the examples of a client that the seed draws",
    )
    round: int = Field(1, ge=1, le=2000, description="the round whose messages it gets")
    membership: PrivacyAttack = Field(
        default_factory=lambda: PrivacyAttack.pick("loss-threshold"),
        description="tells who was trained on, from the model of the last round",
    )

    @cached_property
    def places(self) -> tuple[SettingsCombination, ...]:
        """All combinations, in the order of the sweep's places."""
        every = product(self.epsilons, self.alphas, self.masks, self.malicious)
        return tuple(SettingsCombination(*values) for values in every)

    @property
    def varied(self) -> tuple[str, ...]:
        """The axes with more than one value."""
        return tuple(name for name in AXES if len(getattr(self, name)) > 1)

    def label(self, place: SettingsCombination) -> str:
        """In what it differs from the others."""
        words = place.words()
        return ", ".join(words[name] for name in self.varied or AXES)

    @cached_property
    def sweep(self) -> Sweep:
        """The same as a table of runs.  Raises SettingError."""
        rows = (
            SettingsCombination(*values, False, 0.0)
            for values in product(self.epsilons, self.alphas)
        )
        columns = (
            SettingsCombination(0.0, 0.0, *values) for values in product(self.masks, self.malicious)
        )
        last = self.experiment.training.rounds
        whole = {
            "title": self.title,
            "seeds": self.seeds,
            "experiment": self.experiment.dump(),
            "probes": [
                {**self.inversion.dump(), "round": self.round},
                {**self.membership.dump(), "round": last},
            ],
            "rows": [self._variant(place, AXES[:2]) for place in rows],
            "columns": [self._variant(place, AXES[2:]) for place in columns],
        }
        return Sweep.read(whole)

    def _variant(self, place: SettingsCombination, axes: tuple[str, ...]) -> dict[str, Any]:
        """A row or column: what that place is on those axes, and the settings that make it so."""
        words = place.words()
        settings: dict[str, dict[str, Any]] = {
            "epsilons": {"privacy.kind": "none"},
            "alphas": {"data.partition": "iid"},
            "masks": {"secure_aggregation.enabled": place.masks},
            "malicious": {"adversary.count": self._count(place.malicious)},
        }
        if place.epsilon:
            noise = {"privacy.epsilon": place.epsilon, "privacy.noise": 0.0}
            settings["epsilons"] = {"privacy.kind": self.unit} | noise
        if place.alpha:
            settings["alphas"] = {"data.partition": {"kind": "dirichlet", "alpha": place.alpha}}
        label = ", ".join(words[axis] for axis in axes)
        return {"label": label, "set": {p: v for axis in axes for p, v in settings[axis].items()}}

    def _count(self, share: float) -> int:
        return round(share * self.experiment.data.clients)

    def changed(self, settings: Mapping[str, Any]) -> Study:
        """With settings of the study, such as epsilons, or of its experiment, replaced.

        Raises SettingError.
        """
        mine = {name: value for name, value in settings.items() if name in Study.model_fields}
        theirs = {path: settings[path] for path in settings if path not in mine}
        whole = self.dump() | mine
        return Study.read(whole | {"experiment": self.experiment.changed(theirs).dump()})

    # --- as text --------------------------------------------------------------------------------

    @classmethod
    def from_toml(cls, text: str) -> Self:
        return cls.read(parse(tomllib.loads, text, "a TOML file"))

    @classmethod
    def from_file(cls, path: Path) -> Study:
        """Pages ask again at each look; a text that was read is known, with its sweep."""
        return read_file(_known, path)

    def to_toml(self) -> str:
        return tomli_w.dumps(self.dump())

    # --- settings that contradict each other ----------------------------------------------------

    @model_validator(mode="after")
    def _agree(self) -> Self:
        for name in ("seeds", *AXES):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise SettingError(f"{name} is {shown(list(values))}: give each once")
        for share in self.malicious:
            if share and not self._count(share):
                clients = self.experiment.data.clients
                raise SettingError(
                    f"malicious is {share:g}, which is nobody of {clients} clients: give 0, or "
                    f"{1 / clients:.2g} at least"
                )
        for name, kind in (
            ("inversion", ReconstructionAttack),
            ("membership", MembershipInferenceAttack),
        ):
            spy = getattr(self, name)
            if not isinstance(spy, kind):
                known = [one for one, part in PrivacyAttack.table.items() if issubclass(part, kind)]
                raise SettingError(f"{name} is {spy.kind}: use {', '.join(known)}")
        _ = self.sweep  # which says what is wrong with the rest
        return self


@lru_cache(maxsize=32)
def _known(text: str) -> Study:
    return Study.from_toml(text)
