"""Free-riding: pretends to train. Lin et al. 2019, arXiv:1911.12560; Fraboni et al. 2021."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from attacks.poisoning.shared.malicious_updates import each_told, told, travelling
from lab.common.random_streams import normal
from lab.interfaces.messages import Cohort
from lab.interfaces.poisoning import NO_KNOWLEDGE, AdversaryKnowledge, PoisoningAttack


class FreeRider(PoisoningAttack):
    """Pretends to train: sends a zero update, the model's last change, or noise of that size.

    In the first round there is no last change: all three variants then send a zero update.
    """

    kind: Literal["free-rider"] = "free-rider"
    title: ClassVar[str] = "Free-riding"
    source: ClassVar[str] = (
        "Lin et al. 2019, arXiv:1911.12560; Fraboni et al. 2021, arXiv:2006.11901"
    )
    knows: ClassVar[str] = "the models that it receives, and no data"
    remembers: ClassVar[bool] = True
    # nothing and noise: Fraboni et al., plain and disguised.  last: Lin et al.
    what: Literal["nothing", "last", "noise"] = Field(
        "nothing", description="what it sends: a zero update, the model's last change, or noise"
    )
    deviation: float = Field(
        1.0,
        gt=0,
        le=100,
        description=(
            "standard deviation of the noise, as a multiple of the last change's root mean square"
        ),
    )

    def rows(
        self, rows: Tensor, cohort: Cohort, insight: AdversaryKnowledge = NO_KNOWLEDGE
    ) -> Tensor:
        change = travelling(insight.change, rows)  # (params,)
        if self.what != "noise":
            return told(rows, cohort, change if self.what == "last" else 0 * change)
        size = self.deviation * change.square().mean().sqrt()

        def lie(client: int) -> Tensor:
            return size * normal(cohort.stream(client, "free-rider"), rows.shape[1])

        return each_told(rows, cohort, lie)
