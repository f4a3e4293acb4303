"""FLTrust: weights clients by agreement with the server's own update. Cao et al. 2021, NDSS."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from defenses.shared.norms import NOTHING, blended, lengths_of
from lab.common.settings import SettingError
from lab.interfaces.aggregation import (
    NO_CONTEXT,
    AggregationContext,
    AggregationDecision,
    AggregationRule,
)


class FlTrust(AggregationRule):
    """Weights each update by its cosine similarity to an update that the server trains itself."""

    kind: Literal["fltrust"] = "fltrust"
    title: ClassVar[str] = "FLTrust"
    source: ClassVar[str] = "Cao et al. 2021, NDSS, algorithm 2"
    fails: ClassVar[str] = (
        "public data unlike the clients', and malicious updates that point where the server's"
        " update does"
    )
    root: int = Field(
        100,
        ge=1,
        le=10_000,
        description="number of public examples on which the server trains its own update",
    )

    @property
    def public(self) -> int:
        return self.root

    def __call__(
        self, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> Tensor:
        """Ignores weights; zero where nobody is trusted.  rows (clients, params) -> (params,)"""
        exact = rows.double()
        trust, factors = self._trusted(exact, aid)
        total = trust.sum()
        return blended(exact, factors * (trust / total if total > 0 else trust)).to(rows.dtype)

    @torch.no_grad()
    def judge(
        self, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> AggregationDecision:
        trust, factors = self._trusted(rows.double(), aid)
        return AggregationDecision(trust > 0, factors)

    def _trusted(self, rows: Tensor, aid: AggregationContext) -> tuple[Tensor, Tensor]:
        """Return each client's trust, and the factor that gives its row the root's norm.

        -> both (clients,)
        """
        if aid.root is None:
            raise SettingError(
                f"aggregation.rule.kind {self.kind} needs an update of the server's own, and there "
                "is none: hand it over as aid.root, or use aggregation.rule.kind median"
            )
        root, lengths = aid.root.double(), lengths_of(rows).clamp_min(NOTHING)
        length = root.norm()
        cosines = rows @ (root / length.clamp_min(NOTHING)) / lengths  # (clients,)
        return cosines.relu(), torch.where(lengths > NOTHING, length / lengths, 1.0)
