"""Constrained training: malicious clients limit their local steps, to look harmless.

A pull towards the model that was sent is the constraint of Bagdasaryan et al. 2020
(arXiv:1807.00459, section 4.3); parameters that may not move are those of Neurotoxin (Zhang et al.
2022, arXiv:2206.10341, algorithm 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lab.interfaces.poisoning import TrainingConstraint
from lab.models.network import Network
from lab.models.stacked_gradients import StackedParameters, stacked


@dataclass(frozen=True, eq=False)
class ConstrainedSteps:
    """Some clients of a block, and where each parameter of theirs began."""

    bad: Tensor  # (clients,) bool
    pull: float
    begun: StackedParameters
    free: StackedParameters  # True where a parameter may move; of one for all

    @classmethod
    def on(
        cls, network: Network, restraint: TrainingConstraint, bad: Tensor, begun: Tensor
    ) -> ConstrainedSteps:
        """begun (clients, params)"""
        free = restraint.free
        if free is None:
            free = torch.ones(network.size, dtype=torch.bool)
        free = F.pad(free, (0, network.size - len(free)), value=True)  # what never travels is free
        return cls(bad, restraint.pull, stacked(network, begun), stacked(network, free[None]))

    def draw_back(
        self, training: StackedParameters, changing: StackedParameters, rate: float
    ) -> None:
        """A step of `changing` towards the beginning, in place; before the others are taken."""
        if self.pull:
            for place, own in enumerate(changing):
                for part, parameter in enumerate(own):
                    away = training[place][part] - self.begun[place][part][: len(parameter)]
                    parameter.sub_(away * self._bad(parameter), alpha=rate * self.pull)

    def hold(self, changing: StackedParameters, whole: bool) -> None:
        """Put back what may not move, in place.

        whole: `changing` is a model; otherwise it is a change, which begins at nothing
        """
        for place, own in enumerate(changing):
            for part, parameter in enumerate(own):
                held = self._bad(parameter) & ~self.free[place][part]
                begun = (
                    self.begun[place][part][: len(parameter)] if whole else parameter.new_zeros(1)
                )
                parameter.copy_(torch.where(held, begun, parameter))

    def _bad(self, parameter: Tensor) -> Tensor:
        """-> (clients, 1, ...)"""
        return self.bad[: len(parameter)].view(-1, *[1] * (parameter.ndim - 1))
