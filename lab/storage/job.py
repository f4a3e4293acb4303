"""Jobs and what is stored of them: runs, attacks, cells of sweeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    Row,
)

from lab.attack_runs.shared.attack_request import AttackRequest, AttackSpec
from lab.engine.evaluation.record import RoundRecord
from lab.experiment.experiment import Experiment

Status = Literal["queued", "running", "paused", "stopped", "finished", "failed"]


ACTIVE = ("queued", "running")


@dataclass(frozen=True)
class Job:
    """A run, an attack on one, or a cell of sweeps, as the store has it."""

    id: str
    kind: Literal["run", "attack", "cell"]
    run: str | None  # what an attack attacks
    body: dict[str, Any]
    status: Status
    message: str
    round: int  # the last one finished
    until: int | None  # pauses after this one
    created: float
    result: dict[str, Any] | None

    @classmethod
    def of(cls, row: Row[Any]) -> Job:
        return cls(**{name: getattr(row, name) for name in cls.__dataclass_fields__})

    @property
    def experiment(self) -> Experiment:
        return Experiment.read(self.body.get("experiment", self.body))  # by name beside attacks

    @property
    def aim(self) -> AttackSpec | None:
        """The attack that a cell ends with, if it does; its body has both by name."""
        ends = self.kind == "cell" and "attack" in self.body
        return AttackSpec.read(self.body["attack"]) if ends else None

    @property
    def probes(self) -> tuple[AttackSpec, ...]:
        """The attacks on a cell while it runs."""
        return tuple(AttackSpec.read(probe) for probe in self.body.get("probes", ()))

    @property
    def order(self) -> AttackRequest:
        return AttackRequest.read(self.body)

    @property
    def active(self) -> bool:
        return self.status in ACTIVE


@dataclass(frozen=True)
class StoredRound:
    """One finished round of a stored run."""

    record: RoundRecord
    seconds: float

    def line(self) -> dict[str, Any]:
        """The round as one JSON object."""
        return self.record.model_dump(mode="json") | {"seconds": round(self.seconds, 4)}


@dataclass(frozen=True)
class StoredProgress:
    """One stored glimpse of an attack."""

    number: int
    body: dict[str, Any]
    arrays: str
