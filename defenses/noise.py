"""Gaussian noise on the sum of updates, split over the clients who make it.

Each of m clients adds noise of variance deviation^2 / m before it sends: the sum carries exactly
the noise of the Gaussian mechanism, and no row travels bare. McMahan et al. 2018,
arXiv:1710.06963, section 2; the split as in Kairouz et al. 2021, arXiv:2102.06387, section 1.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from lab.parts import Stage
from lab.rng import normal, stream
from lab.wire import Cohort


class Noise(Stage):
    """Every client adds its share of the noise that the sum of updates needs."""

    kind: Literal["noise"] = "noise"
    source: ClassVar[str] = "McMahan et al. 2018, arXiv:1710.06963, section 2"
    deviation: float = Field(1.0, ge=0, description="standard deviation of the sum's noise")

    def __call__(self, rows: Tensor, cohort: Cohort) -> Tensor:
        share = self.deviation / max(1, len(rows)) ** 0.5
        # A loop over clients, because each one's noise is a stream of its own.
        draws = [normal(cohort.stream(client, "noise"), rows.shape[1]) for client in cohort.clients]
        return rows + share * torch.stack(draws) if draws else rows


class Release(Stage):
    """The server's half: divide by the expected cohort, add what lost clients did not.

    With it the released step is (sum + N(0, deviation^2)) / expected whoever came or was lost,
    as the accountant assumes of a Poisson cohort.
    """

    kind: Literal["release"] = "release"
    side: ClassVar[Literal["client", "server"]] = "server"
    source: ClassVar[str] = "McMahan et al. 2018, arXiv:1710.06963, section 3"
    deviation: float = Field(1.0, ge=0, description="standard deviation of the sum's noise")

    def __call__(self, rows: Tensor, cohort: Cohort) -> Tensor:
        """Shifts and scales every row alike, so that their plain mean is the released step."""
        asked = len(cohort.clients)
        missing = 1 - cohort.present / asked if asked else 1.0  # share of the noise's variance
        noise = normal(stream(cohort.seed, "missing noise", cohort.round), rows.shape[1])
        shift = self.deviation * missing**0.5 * noise  # (params,)
        released: Tensor = (rows * cohort.present + shift) / cohort.expected
        return released
