"""Clipping: what bounds and hides the updates of one round, fixed or adaptive.

With adaptive clipping (Andrew et al. 2021, arXiv:1905.03871, algorithm 1) a client's bit travels
as one more coordinate of its row, so that whatever hides the update hides the bit: masks, lost
messages and every place of the noise treat both alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot

import torch
from torch import Tensor

from lab.experiment.experiment import Experiment
from lab.privacy.adaptive_clipping import count_noise, update_noise


@dataclass(frozen=True)
class UpdateClipping:
    """The bound of a round, and the standard deviation of the noise that hides it."""

    bound: float
    deviation: float  # of the sum's noise, in each coordinate
    unit: float = 0.0  # what a bit counts in a row; 0: there are no bits

    @property
    def longest(self) -> float:
        """No row is longer, its bit included."""
        return hypot(self.bound, self.unit / 2)

    @property
    def largest(self) -> float:
        """No coordinate is ever larger: noise does not reach eight deviations."""
        return self.bound + 8 * self.deviation + self.unit / 2

    def with_bits(self, rows: Tensor, clipped: Tensor) -> Tensor:
        """The clipped rows, each with its centred bit: whether it is as long as it was.

        (clients, params) -> (clients, params + 1)
        """
        whole = (clipped == rows).all(dim=1, keepdim=True)  # (clients, 1)
        return torch.cat([clipped, self.unit * (whole.to(clipped.dtype) - 0.5)], dim=1)

    def share(self, bits: Tensor) -> float:
        """The noisy share of updates that came through whole.  bits (visible, 1), as released"""
        return float(bits.double().mean()) / self.unit + 0.5


def clipping(
    settings: Experiment, noise_multiplier: float, carried: Tensor | None
) -> UpdateClipping:
    """Return the clipping of client-level privacy in one round.

    settings: in force in that round; carried (1,): the clip that the round before led to

    Bits count so much that one deviation fits both: an update and its bit are together no longer
    than deviation / noise multiplier, which is theorem 1 there.  Raises SettingError.
    """
    clip = settings.privacy.clip
    if not settings.privacy.adapts:
        return UpdateClipping(clip, noise_multiplier * clip)
    if carried is not None:
        clip = float(carried)
    deviation = update_noise(noise_multiplier, settings.cohort_size) * clip
    return UpdateClipping(clip, deviation, deviation / count_noise(settings.cohort_size))


def begins_afresh(settings: Experiment, before: Experiment) -> bool:
    """Return True where a change of the settings has the clip begin again where they say."""
    now = (settings.privacy.clip, settings.privacy.quantile)
    return now != (before.privacy.clip, before.privacy.quantile)
