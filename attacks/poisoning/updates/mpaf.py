"""Model poisoning by fake clients. Cao and Gong 2022, arXiv:2203.08669."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from attacks.poisoning.shared.malicious_updates import told, travelling
from lab.interfaces.messages import Cohort
from lab.interfaces.poisoning import NO_KNOWLEDGE, AdversaryKnowledge, PoisoningAttack


class Mpaf(PoisoningAttack):
    """Drag the model towards one that nobody has trained; fake clients need no data.

    Where that model is not known, towards zeros; where the model sent is not, it counts as zeros.
    """

    kind: Literal["mpaf"] = "mpaf"
    source: ClassVar[str] = "Cao and Gong 2022, arXiv:2203.08669"
    knows: ClassVar[str] = "the model that it is sent, and an untrained one"
    scale: float = Field(1e6, gt=0, le=1e6, description="lambda: how many times the way there")

    def rows(
        self, rows: Tensor, cohort: Cohort, insight: AdversaryKnowledge = NO_KNOWLEDGE
    ) -> Tensor:
        way = travelling(insight.fresh, rows) - travelling(insight.sent, rows)
        return told(rows, cohort, self.scale * way)
