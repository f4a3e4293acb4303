"""Model replacement. Bagdasaryan et al. 2020, AISTATS, arXiv:1807.00459, equations 3 to 5."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.poisoning.backdoors.backdoor import Backdoor
from attacks.poisoning.shared.malicious_updates import told
from lab.interfaces.messages import Cohort
from lab.interfaces.poisoning import (
    ALONE,
    NO_KNOWLEDGE,
    AdversaryKnowledge,
    DataPoisoningContext,
    PoisoningAttack,
    TrainingConstraint,
)
from lab.interfaces.privacy_attacks import Sees
from lab.models.layers import Shape


class ModelReplacement(PoisoningAttack):
    """Scales a backdoored update so far that the mean update becomes the attacker's model.

    The replacement is exact where the other clients' updates are zero, and nearly exact where they
    cancel, late in training.  Several colluding attackers each send a part.
    """

    kind: Literal["model-replacement"] = "model-replacement"
    title: ClassVar[str] = "Model replacement"
    source: ClassVar[str] = "Bagdasaryan et al. 2020, arXiv:1807.00459, equations 3 to 5"
    knows: ClassVar[str] = "its own data, and the total weight of the round's clients"
    pictures_only: ClassVar[bool] = True
    target: int = Field(
        0,
        ge=0,
        le=999,
        description="the class that the model predicts for pictures with the trigger",
    )
    share: float = Field(
        0.5, gt=0, le=1, description="share of the attacker's own examples that get the trigger"
    )
    pixels: int = Field(4, ge=1, le=16, description="side of the white square, in pixels")
    boost: float = Field(
        0.0,
        ge=0,
        le=1000,
        description=(
            "factor on the update; 0: the factor that undoes the averaging with all other clients"
        ),
    )
    constrain: float = Field(
        0.0,
        ge=0,
        le=10,
        description=(
            "strength that keeps local training near the received model, to escape detection"
        ),
    )
    longest: float = Field(
        0.0, ge=0, le=1e6, description="norm to which the attacker clips its update; 0: no clipping"
    )

    def check(self, shape: Shape, classes: int) -> None:
        self._backdoor.check(shape, classes)

    def data(
        self, inputs: Tensor, labels: Tensor, classes: int, scene: DataPoisoningContext = ALONE
    ) -> tuple[Tensor, Tensor]:
        return self._backdoor.data(inputs, labels, classes, scene)

    def restrain(self, insight: AdversaryKnowledge) -> TrainingConstraint | None:
        """Apply constrain-and-scale, equation 4: alpha L_class + (1 - alpha) L_ano.

        With half the squared distance as L_ano, `constrain` is (1 - alpha) / alpha.
        """
        return TrainingConstraint(pull=self.constrain) if self.constrain else None

    @property
    def sees(self) -> Sees:
        return "nothing" if self.boost else "cohort"

    def rows(
        self, rows: Tensor, cohort: Cohort, insight: AdversaryKnowledge = NO_KNOWLEDGE
    ) -> Tensor:
        sent = self._factor(cohort) * rows
        if self.longest:  # train-and-scale, equation 5
            lengths = torch.linalg.vector_norm(sent, dim=1, keepdim=True)  # (clients, 1)
            sent = sent * (self.longest / lengths).clamp_max(1)
        return told(rows, cohort, sent)

    def goal(
        self, inputs: Tensor, labels: Tensor, outside: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self._backdoor.goal(inputs, labels)

    @property
    def _backdoor(self) -> Backdoor:
        return Backdoor(target=self.target, share=self.share, pixels=self.pixels)

    def _factor(self, cohort: Cohort) -> float:
        """Return gamma = n / eta of equation 3, by weight; lost clients cannot be foreseen."""
        own = float(cohort.weights[cohort.malicious].double().sum())
        return self.boost or (float(cohort.weights.double().sum()) / own if own else 1.0)
