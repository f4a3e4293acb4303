"""Simulation of the update that guessed examples would cause: the clients' work, repeated.

Several local steps are taken one after the other, in a graph (Geiping et al. 2020,
arXiv:2003.14053, section 5), and examples' gradients are clipped as the server prescribes.  The
coordinates that compression left out are not compared.  An update that was clipped is compared only
by direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.reconstruction.shared.length_before_clipping import lengthened
from attacks.reconstruction.shared.local_step_schedule import Step, courses
from attacks.reconstruction.shared.observed_gradient import label_counts, labels_from, observe
from lab.interfaces.views import AuxiliaryInfo, ServerView
from lab.models.network import Network

LEAVE_OUT = ("random-k", "top-k")  # codecs that send some coordinates and zero for all others
STRETCH = ("random-k", "sign")  # codecs that change a row's length


@dataclass(frozen=True, eq=False)
class Causation:
    """One update, and the attacker's assumptions about the examples behind it."""

    network: Network
    sent: tuple[Tensor, ...]  # the parameters, in the order of `network.slots`
    row: Tensor  # (params,) as a mean gradient
    where: Tensor | None  # (params,) bool: what arrived; None: all
    scaled: bool  # whether the row's length says nothing
    clip: float  # longest gradient of an example; 0: any
    rate: float
    courses: tuple[tuple[Step, ...], ...]  # of each client in the row
    labels: Tensor  # (examples,) as they are read off the row

    @classmethod
    def of(
        cls,
        view: ServerView,
        target: int,
        known: AuxiliaryInfo,
        most: int,
        unroll: int,
        dtype: torch.dtype,
    ) -> Causation:
        """Build it.

        most: examples to look for; unroll: local steps to repeat; the rest is merged
        """
        mechanism, seen = known.mechanism, observe(view, target)
        labels = labels_from(label_counts(view, lengthened(view, seen, known), known), most)
        parts = view.network.split(view.sent.to(dtype)).values()
        row = seen.gradient.to(dtype)
        return cls(
            network=view.network,
            sent=tuple(part.clone().requires_grad_(True) for part in parts),
            row=row,
            where=row != 0 if mechanism.codec in LEAVE_OUT else None,
            scaled=mechanism.clip > 0 or mechanism.codec in STRETCH,
            clip=mechanism.clip if mechanism.unit == "example" else 0.0,
            rate=view.recipe.rate,
            courses=courses(view, target, seen, len(labels), unroll),
            labels=labels,
        )

    def __call__(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the update that these examples would cause, differentiable.  -> (params,)

        inputs (examples, *shape); labels: classes (examples,), or shares (examples, classes)
        """
        paths = [self._path(course, inputs, labels) for course in self.courses]
        total = [torch.stack(parts).mean(dim=0) for parts in zip(*paths, strict=True)]
        row = torch.cat([part.flatten() for part in total])
        return row if self.where is None else row * self.where

    def _path(self, course: Sequence[Step], inputs: Tensor, labels: Tensor) -> list[Tensor]:
        """Return the mean gradient along one client's path, a tensor for each parameter."""
        own: Sequence[Tensor] = self.sent
        moved = [torch.zeros_like(part) for part in own]
        for step in course:
            slopes = self._slopes(own, inputs[step.places], labels[step.places])
            moved = [part + step.length * slope for part, slope in zip(moved, slopes, strict=True)]
            if step is not course[-1]:
                ahead = zip(self.sent, moved, strict=True)
                own = [part - self.rate * way for part, way in ahead]
        steps = sum(step.length for step in course)
        return [part / steps for part in moved]

    def _slopes(self, own: Sequence[Tensor], inputs: Tensor, labels: Tensor) -> Sequence[Tensor]:
        """Return the batch's gradient at those parameters."""
        if not self.clip:
            return _gradient(self.network, own, inputs, labels)
        each = [
            clipped(_gradient(self.network, own, mine, its), self.clip)
            for mine, its in zip(inputs.split(1), labels.split(1), strict=True)
        ]
        return [torch.stack(parts).mean(dim=0) for parts in zip(*each, strict=True)]


def clipped(parts: Sequence[Tensor], clip: float) -> list[Tensor]:
    """Clip one example's gradient to `clip` where it is longer."""
    length = torch.stack([part.square().sum() for part in parts]).sum().clamp_min(1e-30).sqrt()
    factor = (clip / length).clamp(max=1)
    return [part * factor for part in parts]


def _gradient(
    network: Network, own: Sequence[Tensor], inputs: Tensor, labels: Tensor
) -> tuple[Tensor, ...]:
    """Differentiate by each parameter: a flat vector's gradient would be assembled piecemeal."""
    outputs, named = inputs, dict(zip(network.slots, own, strict=True))
    for layer, mine in zip(network.layers, network.owned(named), strict=True):
        outputs = layer(mine, outputs)
    loss = F.cross_entropy(outputs, labels)
    return torch.autograd.grad(loss, own, create_graph=True)
