"""Canary gradients among a client's own; the engine's mechanism treats them as further examples.

A canary's gradient is non-zero in one coordinate, which no other canary has (Nasr et al. 2023,
arXiv:2302.07956, section 4, Dirac canaries).  It is longer than the clip, so clipping affects it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lab.engine.differential_privacy.dp_sgd import StepMechanism
from lab.models.layers import LayerGradient, Parameters
from lab.models.network import Network
from lab.models.stacked_gradients import LayerGradients, StackedParameters


@dataclass(frozen=True, eq=False)
class CanaryCoordinates:
    """The places of the canaries' coordinates in the stack of one client's parameters."""

    layer: Tensor  # (canaries,) place of the layer
    part: Tensor  # (canaries,) weight or bias
    offset: Tensor  # (canaries,) in the part, flat

    @classmethod
    def of(cls, network: Network, coordinates: Tensor) -> CanaryCoordinates:
        """Find them.  coordinates (canaries,) of the flat vector"""
        layer, part = torch.empty_like(coordinates), torch.empty_like(coordinates)
        offset = torch.empty_like(coordinates)
        numbers = network.owned(network.split(torch.arange(network.size)))
        for place, own in enumerate(numbers):
            for number, values in enumerate(own):
                first = int(values.flatten()[0])
                here = (coordinates >= first) & (coordinates < first + values.numel())
                layer[here], part[here], offset[here] = place, number, coordinates[here] - first
        return cls(layer, part, offset)

    def read(self, stack: StackedParameters) -> Tensor:
        """Read the parameters at those places.  -> (canaries,)"""
        found = torch.empty(len(self.layer))
        for place, own in enumerate(stack):
            for number, values in enumerate(own):
                here = (self.layer == place) & (self.part == number)
                found[here] = values[0].flatten()[self.offset[here]]
        return found


@dataclass(frozen=True, eq=False)
class Joined(LayerGradient):
    """A layer with the gradients of canaries beside those of examples."""

    inner: LayerGradient | None  # None: no example is in the batch
    examples: int
    part: Tensor  # (canaries of the batch,) where each one's coordinate is
    offset: Tensor  # (canaries of the batch,)
    slopes: Tensor  # (canaries of the batch,) along it; 0: not of this layer

    def each(self, kept: Any, slopes: Tensor) -> tuple[Tensor, Any]:
        squares, evidence = torch.zeros(1, 0), None
        if self.inner:
            squares, evidence = self.inner.each(kept, slopes)
        return torch.cat([squares, self.slopes.square().unsqueeze(0)], dim=1), evidence

    def descend_weighted(
        self, own: Parameters, evidence: Any, weights: Tensor, rate: float
    ) -> None:
        if self.inner:
            self.inner.descend_weighted(own, evidence, weights[:, : self.examples], rate)
        self._move(own, self.slopes * weights[0, self.examples :], rate)

    def descend(self, own: Parameters, kept: Any, slopes: Tensor, rate: float) -> None:
        """Take a step without clipping: every canary has weight one."""
        if self.inner:
            self.inner.descend(own, kept, slopes, rate)
        self._move(own, self.slopes, rate)

    def _move(self, own: Parameters, steps: Tensor, rate: float) -> None:
        """Move the canaries' coordinates.  steps (canaries of the batch,)"""
        for number, values in enumerate(own):
            here = (self.part == number) & (self.slopes != 0)
            values[0].view(-1).index_add_(0, self.offset[here], steps[here], alpha=-rate)


@dataclass(frozen=True, eq=False)
class Planting:
    """A mechanism on one client's examples and canaries that records every step it releases."""

    mechanism: StepMechanism
    network: Network
    spots: CanaryCoordinates  # of all canaries
    drawn: Iterator[tuple[Tensor, float]]  # of each step: who is in it, and the slope
    steps: list[Tensor]  # (canaries,) what each step moved along their coordinates, by step

    def descend(
        self, target: StackedParameters, found: Sequence[LayerGradients], mask: Tensor
    ) -> None:
        """Take a private step, in place.  mask (1, examples): 0 for padding"""
        who, slope = next(self.drawn)
        of = {visit.place: visit for visit in found}
        joined = []
        for place in reversed(range(len(self.network.layers))):
            if not target[place]:
                continue
            visit = of.get(place)
            here = self.spots.layer[who] == place
            own = Joined(
                inner=visit.layer if visit else None,
                examples=mask.shape[1],
                part=self.spots.part[who],
                offset=self.spots.offset[who],
                slopes=slope * here,
            )
            joined.append(
                LayerGradients(place, own, visit.kept, visit.slopes)
                if visit
                else LayerGradients(place, own, None, mask.new_zeros(0))
            )
        before = self.spots.read(target)
        self.mechanism.descend(target, joined, torch.cat([mask, mask.new_ones(1, len(who))], dim=1))
        self.steps.append(self.spots.read(target) - before)
