"""Example-level DP-SGD. Abadi et al. 2016, arXiv:1607.00133, algorithm 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from lab.common.random_streams import gaussian_noise
from lab.experiment.experiment import Experiment
from lab.models.stacked_gradients import LayerGradients, StackedParameters, clipped_step


class StepMechanism(Protocol):
    """A private step."""

    def descend(
        self, target: StackedParameters, found: Sequence[LayerGradients], mask: Tensor
    ) -> None:
        """In place.  mask (clients, examples): 0 for padding"""


@dataclass(frozen=True, eq=False)
class DpSgdMechanism:
    """Each step releases (sum of clipped gradients + N(0, (noise * clip)^2)) / expected batch."""

    now: Experiment
    noise: float  # multiplier
    sizes: Tensor  # (clients,) examples that each client holds
    generators: list[np.random.Generator]  # of each client

    def descend(
        self, target: StackedParameters, found: Sequence[LayerGradients], mask: Tensor
    ) -> None:
        """A private step, in place.  mask (clients, examples): 0 for padding"""
        network, privacy, rate = self.now.architecture, self.now.privacy, self.now.training.rate
        # An empty batch still gets its noise.
        expected = self.expected()[: len(mask)].to(mask.device)  # (clients,)
        if found:
            shares = mask / expected.unsqueeze(1)
            clipped_step(target, found, privacy.clip, shares, rate, privacy.per_layer)
        deviations = rate * privacy.clip * self.noise / expected  # (clients,)
        for place, deviation in enumerate(deviations.tolist()):
            # Drawn by the processor wherever the model is, so that a seed gives the same noise.
            own, secure = self.generators[place], privacy.secure_noise
            drawn = gaussian_noise(own, network.size, secure=secure).to(mask.device)
            draw = network.owned(network.split(drawn))
            for parts, draws in zip(target, draw, strict=True):
                for part, one in zip(parts, draws, strict=True):
                    part[place].sub_(one, alpha=deviation)

    def expected(self) -> Tensor:
        """How many examples a batch has, or is expected to have.  -> (clients,)"""
        recipe = self.now.recipe
        if recipe.poisson is None:
            return self.sizes.clamp(1, recipe.batch_size)
        return recipe.poisson * self.sizes
