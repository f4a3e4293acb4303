"""What an audit is: a run with canaries, and how much each of them shows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import log, log1p
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from lab.audits.faults import Fault
from lab.common.random_streams import random_stream
from lab.common.settings import SettingError
from lab.engine.differential_privacy.accountant import Adversary, opponents
from lab.experiment.experiment import Experiment
from lab.interfaces.privacy_attacks import PrivacyAttack


@dataclass(frozen=True, eq=False)
class AuditedRun:
    """What is audited: the first rounds of a run."""

    experiment: Experiment
    round: int  # the last one
    sent: Callable[[int], Tensor]  # (params,) the model that clients were sent in a round
    client: int | None = None  # that holds the canaries; None: the audit chooses

    def draw(self, canaries: int) -> np.ndarray:
        """Which canaries are in: each with chance one half, on its own.  (canaries,) bool"""
        generator = random_stream(self.experiment.seed, "canaries")
        return generator.random(canaries) < 0.5


@dataclass(frozen=True, eq=False)
class CanaryScores:
    """What the auditor holds after a round."""

    round: int
    inside: np.ndarray  # (canaries,) bool: which were in
    # By name, the main one first: (canaries,), higher for likelier in, NaN for one that it does
    # not speak of.
    scores: dict[str, np.ndarray]


class Audit(PrivacyAttack):
    """Puts canaries into a run, and proves from what it then shows how private it is not.

    An auditor knows all: it puts the canaries in by itself.
    """

    table: ClassVar[dict[str, type[Audit]]] = {}  # type: ignore[assignment]
    against: ClassVar[Adversary]  # whose claim is audited
    main: ClassVar[str] = "trade-off"  # the bound that is held against the claim

    canaries: int = Field(1000, ge=100, le=100_000, description="canaries, half of them in")
    confidence: float = Field(
        0.95, ge=0.5, le=0.9999, description="chance that the lower bound is one"
    )
    fault: Fault = Field("none", description="what is broken on purpose, to see it caught")

    def refuse(self, past: AuditedRun) -> None:
        """Raises SettingError where there is nothing for it to audit."""

    @abstractmethod
    def __call__(self, past: AuditedRun) -> Iterator[CanaryScores]:
        """One for each round; or for the last one only.  Raises SettingError."""


def log_ratios(seen: Tensor, noise: float, rate: float) -> Tensor:
    """Of a canary that is in to one that is out, by what a release shows; the best score there is.

    Neyman and Pearson's, of N(0, noise^2) with chance 1 - rate and N(1, noise^2) with chance rate.
    """
    ratio = (seen - 0.5) / noise**2
    if rate >= 1:
        return ratio
    return torch.logaddexp(ratio.new_tensor(log1p(-rate)), log(rate) + ratio)


def claimed(audit: Audit, past: AuditedRun, unit: str) -> None:
    """Raises SettingError where no guarantee for one `unit` is there to be audited."""
    kind = past.experiment.at(past.round).privacy.kind
    if kind != unit:
        raise SettingError(
            f"{audit.kind} audits the promise to one {unit}, and privacy.kind is {kind}: audit a "
            f"run with privacy.kind {unit}, or use black-box"
        )
    if audit.against not in opponents(past.experiment, past.round):
        raise SettingError(
            f"{audit.kind} audits a guarantee over all {past.round} rounds, and some ran without: "
            "choose an earlier round, or use black-box"
        )
