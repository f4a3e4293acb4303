"""Closeness: how near a claim of somebody's update comes to the update that was really sent.

Beside it stands the same number for the mean update, which the sum gives to everybody anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lab.common.settings import SettingError, Settings
from lab.interfaces.attack_data import UpdateEstimate

EXACT = 1e-3  # relative error; what is left is rounding
CLEAR = 0.9  # of the mean's error, before anything is called a gain
LONGEST = 1e30  # a relative error that is reported in place of a larger one


class UpdateSimilarity(Settings):
    """Of a claim to the true update, over the parameters that are claimed."""

    cosine: float
    error: float  # length of the difference over the length of the true update


class Attempt(UpdateSimilarity):
    """One step of an attack."""

    name: str


class UpdateRecoveryScore(Settings):
    """What an attack got out of secure aggregation."""

    kind: Literal["update"] = "update"
    verdict: str
    baseline: UpdateSimilarity  # the mean update that the sum gives, over the same parameters
    params: int  # of the update that travels
    claimed: int  # parameters that are claimed
    best: UpdateSimilarity | None = None  # the last claim; None: nothing was claimed
    course: tuple[Attempt, ...] = ()  # claim by claim
    notes: tuple[str, ...] = ()  # what the attacker itself has seen

    def lines(self) -> list[str]:
        """In plain sentences."""
        told = [self.verdict]
        if self.best:
            told.append(
                f"cosine {self.best.cosine:.4f}, relative error {self.best.error:.2e}, over "
                f"{self.claimed:,} of {self.params:,} parameters"
            )
        base = self.baseline
        told.append(
            "the mean of all that the sum gives anyway: "
            f"cosine {base.cosine:.4f}, relative error {base.error:.2e}"
        )
        if len(self.course) > 1:
            told += [
                f"{one.name}: cosine {one.cosine:.4f}, relative error {one.error:.2e}"
                for one in self.course
            ]
        return [*told, *self.notes]


@dataclass(frozen=True, eq=False)
class UpdateScorer:
    """Knows what one client has really sent, and what everybody got."""

    update: Tensor  # (params,) true, before noise and masks
    mean: Tensor  # (params,) of all who sent
    shared: int  # how many parameters travel
    noisy: bool = False  # whether clients add noise that protects a client

    def score(self, claims: list[UpdateEstimate]) -> UpdateRecoveryScore:
        """The last claim counts.  Raises SettingError where the client sent nothing but zeros."""
        last = claims[-1]
        course = [
            Attempt(name=claim.name, **self._of(claim.update, claim).dump())
            for claim in claims
            if claim.update is not None
        ]
        baseline = self._of(self.mean, last)
        best = None if last.update is None else self._of(last.update, last)
        claimed = self.shared if last.where is None else int(last.where.sum())
        return UpdateRecoveryScore(
            verdict=verdict(best, baseline, whole=claimed == self.shared, noisy=self.noisy),
            baseline=baseline,
            params=self.shared,
            claimed=claimed if best else 0,
            best=best,
            course=tuple(course),
            notes=last.notes,
        )

    def _of(self, claim: Tensor, where: UpdateEstimate) -> UpdateSimilarity:
        chosen = torch.arange(len(self.update)) < self.shared
        if where.where is not None:
            chosen &= where.where
        return closeness(claim[chosen], self.update[chosen])


def closeness(claim: Tensor, truth: Tensor) -> UpdateSimilarity:
    """claim (params,), truth (params,).  Raises SettingError where the truth is zero."""
    mine, true = claim.double(), truth.double()
    length = float(true.norm())
    if not length:
        raise SettingError("the client's update is all zeros and tells nothing: choose another")
    product = float(mine @ true) / max(float(mine.norm()) * length, 1e-300)
    error = min(float((mine - true).norm()) / length, LONGEST)
    return UpdateSimilarity(cosine=max(-1.0, min(1.0, product)), error=error)


def verdict(
    best: UpdateSimilarity | None, baseline: UpdateSimilarity, whole: bool, noisy: bool
) -> str:
    """In words, from thresholds that the mean sets."""
    if best is None:
        return "nothing recovered"
    if best.error < EXACT:
        part = "" if whole else ", as far as it is claimed"
        return f"recovered: only rounding is left{part}"
    if best.error < CLEAR * baseline.error and best.cosine > baseline.cosine:
        end = "; the noise of client-level privacy is left" if noisy else ""
        return f"partly recovered: nearer than the mean{end}"
    end = ": the noise of client-level privacy covers what is left" if noisy else ""
    return f"no better than the sum{end}"
