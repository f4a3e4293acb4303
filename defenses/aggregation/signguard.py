"""SignGuard: filter by length, then by shares of signs. Xu et al. 2022, ICDCS, arXiv:2109.05872.

It is blind to a flip where as many signs are positive as negative.  Of a hundred alike it keeps
nearly all, of ten little more than half: so few make no dense cluster.
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
    """Keep rows of usual length whose signs are shared out as most rows' are; clip, average."""

    kind: Literal["signguard"] = "signguard"
    source: ClassVar[str] = "Xu et al. 2022, ICDCS, arXiv:2109.05872"
    fails: ClassVar[str] = "skewed clients, and lies whose signs are spread as usual"
    shortest: float = Field(0.1, ge=0, le=1, description="of those kept, in median lengths")
    longest: float = Field(3.0, ge=1, le=100, description="of those kept, in median lengths")
    share: float = Field(0.1, gt=0, le=1, description="of the coordinates, whose signs count")

    def __call__(
        self, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> Tensor:
        """Ignores weights; no step where nobody passes.  rows (clients, params) -> (params,)"""
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
        """Who passes both filters, and what clips each row to the median.  (clients,) both"""
        lengths = lengths_of(rows)
        bound = middle(lengths)
        usual = (lengths >= self.shortest * bound) & (lengths <= self.longest * bound)
        return usual & self._alike(rows.detach(), aid), shortening(lengths, bound)

    def _alike(self, rows: Tensor, aid: AggregationContext) -> Tensor:
        """The largest cluster of rows by their shares of signs.  -> (clients,) bool"""
        from sklearn.cluster import MeanShift, estimate_bandwidth  # slow to import

        count = max(1, round(self.share * rows.shape[1]))
        chosen = aid.stream(self.kind).choice(rows.shape[1], count, replace=False)
        signs = rows[:, torch.from_numpy(chosen)].sign()  # (clients, count)
        shares = torch.stack([(signs == sign).double().mean(dim=1) for sign in (1, 0, -1)], dim=1)
        # As wide as half of the clients lie apart, and than nothing: they may all be the same.
        width = max(estimate_bandwidth(shares.numpy(), quantile=0.5), 1 / count)
        clusters = torch.from_numpy(MeanShift(bandwidth=width).fit_predict(shares.numpy()))
        return clusters == clusters.bincount().argmax()
