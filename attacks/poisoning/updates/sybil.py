"""Sybils: many identities of one attacker. Douceur 2002; Fung et al. 2020, arXiv:1808.04866."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.poisoning.labels.targeted_flip import TargetedFlip
from lab.common.random_streams import normal
from lab.interfaces.messages import Cohort
from lab.interfaces.poisoning import (
    ALONE,
    NO_KNOWLEDGE,
    AdversaryKnowledge,
    DataPoisoningContext,
    PoisoningAttack,
)
from lab.models.layers import Shape


class Sybil(PoisoningAttack):
    """One attacker controls many clients; all send the same update, trained to misread `origin`."""

    kind: Literal["sybil"] = "sybil"
    title: ClassVar[str] = "Sybil attack"
    source: ClassVar[str] = "Fung et al. 2020, RAID, arXiv:1808.04866; Douceur 2002, IPTPS"
    knows: ClassVar[str] = "the data and the updates of all its identities"
    origin: int = Field(1, ge=0, le=999, description="the class whose examples get a wrong label")
    target: int = Field(0, ge=0, le=999, description="the wrong label that they get")
    jitter: float = Field(
        0.0,
        ge=0,
        le=10,
        description="noise added to each identity's update, as a multiple of the update's norm",
    )

    def check(self, shape: Shape, classes: int) -> None:
        self._flip.check(shape, classes)

    def data(
        self, inputs: Tensor, labels: Tensor, classes: int, scene: DataPoisoningContext = ALONE
    ) -> tuple[Tensor, Tensor]:
        return self._flip.data(inputs, labels, classes, scene)

    def rows(
        self, rows: Tensor, cohort: Cohort, insight: AdversaryKnowledge = NO_KNOWLEDGE
    ) -> Tensor:
        sent, update = rows.clone(), rows[cohort.malicious].mean(dim=0)
        sent[cohort.malicious] = update
        if self.jitter:
            scale = self.jitter * torch.linalg.vector_norm(update) / max(1, len(update)) ** 0.5
            # A loop over identities, because each one's noise is a stream of its own.
            for place in cohort.malicious.nonzero().flatten().tolist():
                own = cohort.stream(cohort.clients[place], "sybil")
                sent[place] += scale * normal(own, len(update))
        return sent

    def goal(
        self, inputs: Tensor, labels: Tensor, outside: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self._flip.goal(inputs, labels)

    @property
    def _flip(self) -> TargetedFlip:
        return TargetedFlip(origin=self.origin, target=self.target)
