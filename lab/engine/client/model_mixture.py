"""Mixing: a client's own model, trained beside the common one and used together with it.

Deng et al. 2020, arXiv:2003.13461, algorithm 1.
"""

from __future__ import annotations

from torch import Tensor

from lab.interfaces.federated_algorithm import ModelMixture
from lab.models.network import Network
from lab.models.stacked_gradients import (
    StackedParameters,
    backward,
    flattened,
    gradient_step,
    head,
    stacked,
)


class MixtureSteps:
    """With m = a v + (1 - a) w: v goes against a times the gradient at m, and so does a."""

    def __init__(self, network: Network, mixture: ModelMixture) -> None:
        self.network, self.adapts = network, mixture.adapts
        self.own = stacked(network, mixture.own)  # v
        self.share = mixture.share.clone()  # a

    def descend(
        self,
        training: StackedParameters,
        inputs: Tensor,
        labels: Tensor,
        shares: Tensor,
        rate: float,
    ) -> None:
        """A step of the first clients; `training` is w, which stays as it is."""
        count = len(shares)
        own, share = head(self.own, count), self.share[:count]
        mixed = [
            [w + _wide(share, v) * (v - w) for v, w in zip(mine, theirs, strict=True)]
            for mine, theirs in zip(own, training, strict=True)
        ]
        before = [[part.clone() for part in parts] for parts in mixed]
        gradient_step(mixed, backward(self.network, mixed, inputs, labels, shares), rate)
        slope = share.new_zeros(count)  # -rate times that of the share
        for place, parts in enumerate(own):
            for part, v in enumerate(parts):
                moved = mixed[place][part] - before[place][part]
                slope += (moved * (v - training[place][part])).flatten(1).sum(dim=1)
                v += _wide(share, v) * moved
        if self.adapts:
            share.add_(slope).clamp_(0, 1)

    def mixture(self) -> ModelMixture:
        return ModelMixture(flattened(self.own), self.share, self.adapts)


def _wide(share: Tensor, part: Tensor) -> Tensor:
    return share.view(-1, *[1] * (part.ndim - 1))
