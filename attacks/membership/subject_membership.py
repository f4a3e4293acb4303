"""Subject membership inference: whether a person took part. Suri et al. 2022, arXiv:2206.03317."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from lab.interfaces.attack_data import Candidates, MembershipSignals
from lab.interfaces.privacy_attacks import AttackResources, SubjectMembershipAttack
from lab.interfaces.views import OutsiderView


class SubjectMembership(SubjectMembershipAttack):
    """Tells from a person's other examples whether the model was trained on that person's data."""

    kind: Literal["subject-membership"] = "subject-membership"
    title: ClassVar[str] = "Subject membership inference"
    source: ClassVar[str] = "Suri et al. 2022, arXiv:2206.03317"
    attacker: ClassVar[str] = "anybody who has the released model"
    knows: ClassVar[str] = (
        "examples of each person that nobody trained on, all data of some other people, and "
        "the training recipe"
    )
    fails: ClassVar[str] = "people whose data resemble everybody's, and client-level privacy"
    shadows: int = Field(
        2, ge=0, le=64, description="number of shadow models for calibration; 0: none"
    )

    examples: Literal["unseen", "seen"] = Field(
        "unseen",
        description=(
            "the examples of a person that it has: unseen, or the training examples for comparison"
        ),
    )

    def needs(self) -> AttackResources:
        return AttackResources(shadows=self.shadows)

    def seen(self) -> bool:
        return self.examples == "seen"

    def signal(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """Return the cross-entropy of each example.  -> (examples,)"""
        pairs = zip(asked.inputs.split(1024), asked.labels.split(1024), strict=True)
        with torch.no_grad():
            losses = [
                F.cross_entropy(view.network(view.model, inputs), labels, reduction="none")
                for inputs, labels in pairs
            ]
        return torch.cat(losses)

    def __call__(self, evidence: MembershipSignals, person: Tensor) -> Tensor:
        """Return how much better the model does on each person than models without that person.

        Each example counts by the difference (Watson et al. 2022, arXiv:2111.08440), averaged over
        a person's
        examples.  -> (people,)
        """
        gain = -evidence.target.double()
        if len(evidence.shadows):
            gain += evidence.shadows.double().mean(dim=0)
        people = int(person.max()) + 1
        total = torch.zeros(people, dtype=torch.float64).index_add(0, person, gain)
        return total / torch.bincount(person, minlength=people)
