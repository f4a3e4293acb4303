"""The interface of audits: a run with canaries, and a score for each canary."""

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
    """The run under audit: the first rounds of a run."""

    experiment: Experiment
    round: int  # the last one
    sent: Callable[[int], Tensor]  # (params,) the model that clients were sent in a round
    client: int | None = None  # that holds the canaries; None: the audit chooses

    def draw(self, canaries: int) -> np.ndarray:
        """Draw the canaries that are included, each with probability one half.  (canaries,) bool"""
        generator = random_stream(self.experiment.seed, "canaries")
        return generator.random(canaries) < 0.5


@dataclass(frozen=True, eq=False)
class CanaryScores:
    """The auditor's scores after a round."""

    round: int
    inside: np.ndarray  # (canaries,) bool: which were in
    # By name, the main one first: (canaries,), higher for likelier in, NaN for one that it does
    # not speak of.
    scores: dict[str, np.ndarray]


class Audit(PrivacyAttack):
    """Inserts canaries into a run and proves a lower bound on epsilon from their effect.

    An auditor knows everything, because it inserts the canaries itself.
    """

    table: ClassVar[dict[str, type[Audit]]] = {}  # type: ignore[assignment]
    against: ClassVar[Adversary]  # whose claim is audited
    main: ClassVar[str] = "trade-off"  # the bound that is held against the claim

    canaries: int = Field(
        1000, ge=100, le=100_000, description="number of canaries, of which half are included"
    )
    confidence: float = Field(
        0.95, ge=0.5, le=0.9999, description="probability that the lower bound holds"
    )
    fault: Fault = Field(
        "none",
        description=(
            "a fault put into the mechanism on purpose, to see whether the audit detects it"
        ),
    )

    def refuse(self, past: AuditedRun) -> None:
        """Raise SettingError where there is nothing to audit."""

    @abstractmethod
    def __call__(self, past: AuditedRun) -> Iterator[CanaryScores]:
        """Yield scores for each round, or for the last one only.  Raises SettingError."""


def log_ratios(seen: Tensor, noise: float, rate: float) -> Tensor:
    """Return log likelihood ratios of included to excluded canaries, the best possible scores.

    Neyman and Pearson's, of N(0, noise^2) with chance 1 - rate and N(1, noise^2) with chance rate.
    """
    ratio = (seen - 0.5) / noise**2
    if rate >= 1:
        return ratio
    return torch.logaddexp(ratio.new_tensor(log1p(-rate)), log(rate) + ratio)


def claimed(audit: Audit, past: AuditedRun, unit: str) -> None:
    """Return the claim.  Raises SettingError where the run gives no guarantee for one `unit`."""
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
