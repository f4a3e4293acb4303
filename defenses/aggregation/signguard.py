"""SignGuard: filters by norm and by shares of signs. Xu et al. 2022, ICDCS, arXiv:2109.05872.

It does not see a sign flip where as many signs are positive as negative.  Among a hundred similar
updates it keeps nearly all; among ten, little more than half, because so few form no dense cluster.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from defenses.shared.norms import blended, lengths_of, middle, shortening
from lab.interfaces.aggregation import (
    NO_CONTEXT,
    AggregationContext,
    AggregationDecision,
    AggregationRule,
)


class SignGuard(AggregationRule):
    """Keeps updates of ordinary norm and typical share of signs; clips and averages them."""

    kind: Literal["signguard"] = "signguard"
    title: ClassVar[str] = "SignGuard"
    source: ClassVar[str] = "Xu et al. 2022, ICDCS, arXiv:2109.05872"
    fails: ClassVar[str] = "skewed clients, and malicious updates with a typical share of signs"
    shortest: float = Field(
        0.1,
        ge=0,
        le=1,
        description="least norm of an update that is kept, as a multiple of the median norm",
    )
    longest: float = Field(
        3.0,
        ge=1,
        le=100,
        description="least norm of an update that is kept, as a multiple of the median norm",
    )
    share: float = Field(
        0.1, gt=0, le=1, description="share of the coordinates whose signs are counted"
    )

    def __call__(
        self, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> Tensor:
        """Ignores weights; zero where nobody passes.  rows (clients, params) -> (params,)"""
        self.check(len(rows))
        exact = rows.double()
        kept, factors = self._filtered(exact, aid)
        return blended(exact, factors * kept / kept.sum().clamp_min(1)).to(rows.dtype)

    @torch.no_grad()
    def judge(
        self, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> AggregationDecision:
        return AggregationDecision(*self._filtered(rows.double(), aid))

    def fewest(self) -> int:
        return 3

    def _filtered(self, rows: Tensor, aid: AggregationContext) -> tuple[Tensor, Tensor]:
        """Mark the rows that pass both filters, and give the clipping factors.  (clients,) both"""
        lengths = lengths_of(rows)
        bound = middle(lengths)
        usual = (lengths >= self.shortest * bound) & (lengths <= self.longest * bound)
        return usual & self._alike(rows.detach(), aid), shortening(lengths, bound)

    def _alike(self, rows: Tensor, aid: AggregationContext) -> Tensor:
        """Mark the largest cluster of rows by their shares of signs.  -> (clients,) bool"""
        from sklearn.cluster import MeanShift, estimate_bandwidth  # slow to import

        count = max(1, round(self.share * rows.shape[1]))
        chosen = aid.stream(self.kind).choice(rows.shape[1], count, replace=False)
        signs = rows[:, torch.from_numpy(chosen)].sign()  # (clients, count)
        shares = torch.stack([(signs == sign).double().mean(dim=1) for sign in (1, 0, -1)], dim=1)
        # As wide as half of the clients lie apart, and than nothing: they may all be the same.
        width = max(estimate_bandwidth(shares.numpy(), quantile=0.5), 1 / count)
        clusters = torch.from_numpy(MeanShift(bandwidth=width).fit_predict(shares.numpy()))
        return clusters == clusters.bincount().argmax()
