"""Whether a person took part. Suri et al. 2022, Subject membership inference, arXiv:2206.03317."""

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
    """Knows a person by other examples: a model does better on whom it was trained on."""

    kind: Literal["subject-membership"] = "subject-membership"
    source: ClassVar[str] = "Suri et al. 2022, arXiv:2206.03317"
    attacker: ClassVar[str] = "anybody who is given the released model"
    knows: ClassVar[str] = (
        "examples of each person on which nobody trained, all data of some other people, and the "
        "recipe"
    )
    fails: ClassVar[str] = "people whose data are like everybody's, and client-level privacy"
    shadows: int = Field(
        2, ge=0, le=64, description="models of the attacker's own, to calibrate by; 0: none"
    )

    examples: Literal["unseen", "seen"] = Field(
        "unseen", description="of people, that it has; seen: their training examples, to compare"
    )

    def needs(self) -> AttackResources:
        return AttackResources(shadows=self.shadows)

    def seen(self) -> bool:
        return self.examples == "seen"

    def signal(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """The cross-entropy of each example.  -> (examples,)"""
        pairs = zip(asked.inputs.split(1024), asked.labels.split(1024), strict=True)
        with torch.no_grad():
            losses = [
                F.cross_entropy(view.network(view.model, inputs), labels, reduction="none")
                for inputs, labels in pairs
            ]
        return torch.cat(losses)

    def __call__(self, evidence: MembershipSignals, person: Tensor) -> Tensor:
        """How much better the model does on each person than models without that person do.

        Each example counts by the difference (Watson et al. 2022, arXiv:2111.08440), on average
        over a person's.  -> (people,)
        """
        gain = -evidence.target.double()
        if len(evidence.shadows):
            gain += evidence.shadows.double().mean(dim=0)
        people = int(person.max()) + 1
        total = torch.zeros(people, dtype=torch.float64).index_add(0, person, gain)
        return total / torch.bincount(person, minlength=people)
