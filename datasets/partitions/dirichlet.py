"""Label skew by a Dirichlet draw. Yurochkin et al. 2019, arXiv:1905.12022, section 4."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from lab.interfaces.data import Partition


class Dirichlet(Partition):
    """Divides each class among clients at random; a smaller alpha makes clients differ more."""

    kind: Literal["dirichlet"] = "dirichlet"
    title: ClassVar[str] = "Dirichlet label skew"
    source: ClassVar[str] = "Yurochkin et al. 2019, arXiv:1905.12022, section 4"
    alpha: float = Field(
        0.3,
        ge=0.01,
        le=100,
        description="concentration of the shares: 0.1 is strong label skew, 100 nearly none",
    )

    def __call__(
        self,
        labels: np.ndarray,
        groups: np.ndarray | None,
        clients: int,
        generator: np.random.Generator,
    ) -> Sequence[np.ndarray]:
        """Deal out the examples; a client without any gets one from the largest share."""
        shares: list[list[int]] = [[] for _ in range(clients)]
        for label in np.unique(labels):
            mine = generator.permutation(np.flatnonzero(labels == label))
            parts = generator.dirichlet(np.full(clients, self.alpha))
            cuts = np.rint(np.cumsum(parts)[:-1] * len(mine)).astype(int)
            for share, piece in zip(shares, np.split(mine, cuts), strict=True):
                share.extend(piece.tolist())
        for share in shares:
            if not share:
                share.append(max(shares, key=len).pop())
        return [np.array(share) for share in shares]
