"""Model poisoning by fake clients. Cao and Gong 2022, arXiv:2203.08669."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from attacks.poisoning.shared.malicious_updates import told, travelling
from lab.interfaces.messages import Cohort
from lab.interfaces.poisoning import NO_KNOWLEDGE, AdversaryKnowledge, PoisoningAttack


class Mpaf(PoisoningAttack):
    """Pulls the global model towards an untrained model; the fake clients need no data.

    Where the untrained model is unknown, it counts as zeros; so does an unknown sent model.
    """

    kind: Literal["mpaf"] = "mpaf"
    title: ClassVar[str] = "MPAF (fake clients)"
    source: ClassVar[str] = "Cao and Gong 2022, arXiv:2203.08669"
    knows: ClassVar[str] = "the model that it receives, and an untrained one"
    scale: float = Field(
        1e6,
        gt=0,
        le=1e6,
        description="factor on the difference to the untrained model (lambda in the paper)",
    )

    def rows(
        self, rows: Tensor, cohort: Cohort, insight: AdversaryKnowledge = NO_KNOWLEDGE
    ) -> Tensor:
        way = travelling(insight.fresh, rows) - travelling(insight.sent, rows)
        return told(rows, cohort, self.scale * way)
