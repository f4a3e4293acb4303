"""Eight faults of a private mechanism, each of which has been a real bug.

All faults use the lab's own mechanism: a fault changes its input, as little as breaks it, and
leaves
the claim unchanged.  Audits detect seven.  A batch of hundreds is within a few per cent of the
expected one, and so is a sum that is divided by it: that fault is not detected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from lab.engine.differential_privacy.dp_sgd import DpSgdMechanism, StepMechanism
from lab.models.stacked_gradients import LayerGradients, StackedParameters

Fault = Literal[
    "none",
    "noise-halved",
    "no-clipping",
    "clipping-after-averaging",
    "noise-on-one-layer",
    "denominator-from-batch",
    "noise-reused",
    "always-sampled",
    "reseeded-each-round",
]
FAULTS: tuple[Fault, ...] = get_args(Fault)[1:]
UNSEEN: tuple[Fault, ...] = ("denominator-from-batch",)  # not caught: changes too little
# With these the mechanism is still Gaussian and sampled as claimed; its noise may be another.
FITTING: tuple[Fault, ...] = ("none", "noise-halved")
WORDS: dict[Fault, str] = {
    "none": "nothing: the lab's own mechanism",
    "noise-halved": "half of the noise is forgotten",
    "no-clipping": "gradients are not clipped",
    "clipping-after-averaging": "the average is clipped, and not each gradient",
    "noise-on-one-layer": "noise reaches the last layer only",
    "denominator-from-batch": "the sum is divided by the batch that came (not caught)",
    "noise-reused": "the same noise is added again and again",
    "always-sampled": "the canary is in every batch, and sampling is counted on",
    "reseeded-each-round": "the random generator starts anew every round",
}
ENDLESS = 1e6  # a clip that nothing reaches


def broken(guard: DpSgdMechanism, fault: Fault) -> StepMechanism:
    """Return one client's guard with that fault; faults of random draws are not its concern."""
    if fault == "noise-halved":
        return replace(guard, noise=guard.noise / 2)
    if fault == "no-clipping":
        return _unclipped(guard)
    if fault == "clipping-after-averaging":
        return ClippedMean(guard)
    if fault == "noise-on-one-layer":
        return OneLayer(guard)
    if fault == "denominator-from-batch":
        return Averaged(guard)
    if fault == "noise-reused":
        return Repeating(guard)
    return guard


def _unclipped(guard: DpSgdMechanism) -> DpSgdMechanism:
    """Return noise of the same size, and a clip that nothing reaches."""
    privacy = guard.now.privacy
    longer = privacy.model_copy(update={"clip": privacy.clip * ENDLESS})
    now = guard.now.model_copy(update={"privacy": longer})
    return replace(guard, now=now, noise=guard.noise / ENDLESS)


@dataclass(frozen=True, eq=False)
class ClippedMean:
    """A mechanism that clips the mean of the gradients, and none of them."""

    guard: DpSgdMechanism

    def descend(
        self, target: StackedParameters, found: Sequence[LayerGradients], mask: Tensor
    ) -> None:
        """Step in place: the gradients' mean, no longer than the clip over the expected batch."""
        now = self.guard.now
        moved = [[torch.zeros_like(part) for part in own] for own in target]
        replace(_unclipped(self.guard), noise=0.0).descend(moved, found, mask)
        length = torch.sqrt(torch.stack([p.square().sum() for own in moved for p in own]).sum())
        factor = (now.training.rate * now.privacy.clip / length.clamp_min(1e-12)).clamp_max(1.0)
        for parts, steps in zip(target, moved, strict=True):
            for part, step in zip(parts, steps, strict=True):
                part.add_(step * factor)
        self.guard.descend(target, [], mask)  # all of the noise


@dataclass(frozen=True, eq=False)
class OneLayer:
    """A mechanism that adds noise to the last layer only."""

    guard: DpSgdMechanism

    def descend(
        self, target: StackedParameters, found: Sequence[LayerGradients], mask: Tensor
    ) -> None:
        """Take a step, in place."""
        noisy = [[part.clone() for part in own] for own in target]
        self.guard.descend(noisy, found, mask)
        replace(self.guard, noise=0.0).descend(target, found, mask)
        last = max(place for place, own in enumerate(target) if own)
        for part, other in zip(target[last], noisy[last], strict=True):
            part.copy_(other)


@dataclass(frozen=True, eq=False)
class Averaged:
    """A mechanism that divides the sum by the batch that came, the noise by the expected one."""

    guard: DpSgdMechanism

    def descend(
        self, target: StackedParameters, found: Sequence[LayerGradients], mask: Tensor
    ) -> None:
        """Take a step, in place."""
        came = mask.sum(dim=1, keepdim=True).clamp_min(1)
        expected = self.guard.expected().unsqueeze(1)
        self.guard.descend(target, found, mask * expected / came)


@dataclass(frozen=True, eq=False)
class Repeating:
    """A mechanism whose every step adds the noise of the first."""

    guard: DpSgdMechanism
    state: dict[str, object] = field(default_factory=dict)

    def descend(
        self, target: StackedParameters, found: Sequence[LayerGradients], mask: Tensor
    ) -> None:
        """Take a step, in place."""
        (generator,) = self.guard.generators
        if not self.state:
            self.state.update(generator.bit_generator.state)
        generator.bit_generator.state = dict(self.state)
        self.guard.descend(target, found, mask)


def batch_round(fault: Fault, round: int) -> int:
    """Return the round whose batches are drawn."""
    return 1 if fault == "reseeded-each-round" else round


def noise_round(fault: Fault, round: int) -> int:
    """Return the round whose noise is drawn."""
    return 1 if fault in ("reseeded-each-round", "noise-reused") else round


def everywhere(fault: Fault, drawn: list[np.ndarray], first: int, last: int) -> list[np.ndarray]:
    """Return batches as positions; with that fault each has all from `first` to before `last`."""
    if fault != "always-sampled":
        return drawn
    return [np.union1d(batch, np.arange(first, last)) for batch in drawn]
