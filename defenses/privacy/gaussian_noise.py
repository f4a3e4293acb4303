"""Gaussian noise on the sum of updates, added in one of three places.

Distributed: each of m clients adds noise of variance deviation^2 / m before it sends.  The sum then
carries exactly the noise of the Gaussian mechanism, and no update travels without noise (Kairouz et
al. 2021, arXiv:2102.06387, section 1).  Central: updates travel without noise, and the server adds
all of it (McMahan et al. 2018, arXiv:1710.06963, section 2).  Local: each client adds all of the
noise to its own update.  Then clients need to trust nobody, and the sum of m updates carries m
times
the variance.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from lab.common.random_streams import gaussian_noise
from lab.interfaces.aggregation import UpdateTransform
from lab.interfaces.messages import Cohort

ROUNDED = 1.001  # what rounding adds to the variance under masks is less


class Noise(UpdateTransform):
    """Adds Gaussian noise to each client's update: its share of the sum's noise, or all of it.

    With local noise, each update alone is a Gaussian mechanism: its guarantee needs no server.
    """

    kind: Literal["noise"] = "noise"
    title: ClassVar[str] = "Gaussian noise (clients)"
    source: ClassVar[str] = "McMahan et al. 2018, arXiv:1710.06963, section 2"
    deviation: float = Field(
        1.0, ge=0, description="standard deviation of the noise on the sum of updates"
    )
    place: Literal["distributed", "local"] = Field(
        "distributed",
        description=(
            "distributed: each client adds a share of the noise; local: each client adds all of it"
        ),
    )
    secure: bool = Field(
        False, description="draw the noise from the operating system's secure generator"
    )

    def __call__(self, rows: Tensor, cohort: Cohort) -> Tensor:
        if not len(rows):
            return rows
        share = self.deviation if self.place == "local" else self.deviation / len(rows) ** 0.5
        # A loop over clients, because each one's noise is a stream of its own.
        streams = [cohort.private("noise", cohort.round, client) for client in cohort.clients]
        draws = [gaussian_noise(own, rows.shape[1], secure=self.secure) for own in streams]
        return rows + share * torch.stack(draws)


class Release(UpdateTransform):
    """Divides the sum by the expected cohort size; adds the noise that clients did not add.

    The released step is (sum + N(0, deviation^2)) / expected, however many clients came or were
    lost,
    as the accountant assumes for a Poisson cohort.  With local noise nothing is missing: every
    update
    that came carries that noise itself.  Under masks the sum carries more noise than needed, and
    the
    surplus would reveal how many took part.  Therefore the server adds noise up to a level that no
    cohort exceeds.
    """

    kind: Literal["release"] = "release"
    title: ClassVar[str] = "Noisy release (server)"
    side: ClassVar[Literal["client", "server"]] = "server"
    source: ClassVar[str] = "McMahan et al. 2018, arXiv:1710.06963, section 3"
    deviation: float = Field(
        1.0, ge=0, description="standard deviation of the noise on the sum of updates"
    )
    place: Literal["distributed", "central", "local", "masked"] = Field(
        "distributed",
        description="who adds the noise; masked: clients, before they mask their updates",
    )
    surplus: float = Field(
        1.0,
        ge=1,
        description=(
            "largest variance of the noise under masks over all cohorts, in multiples of what is "
            "needed"
        ),
    )
    secure: bool = Field(
        False, description="draw the noise from the operating system's secure generator"
    )
    name: Literal["missing noise", "missing noise of bits"] = Field(
        "missing noise", description="name of the random stream for the server's noise"
    )

    def __call__(self, rows: Tensor, cohort: Cohort) -> Tensor:
        """Shift and scale all rows alike, so that their plain mean is the released step."""
        own = cohort.private(self.name, cohort.round)
        drawn = gaussian_noise(own, rows.shape[1], secure=self.secure)
        shift = self.deviation * self._missing(cohort) ** 0.5 * drawn  # (params,)
        released: Tensor = (rows * cohort.present + shift) / cohort.expected
        return released

    def _missing(self, cohort: Cohort) -> float:
        """Return the share of the noise's variance that no client added."""
        asked = len(cohort.clients)
        if self.place == "local":
            return 0.0
        if self.place == "masked":
            return max(0.0, ROUNDED * self.surplus - cohort.carried)
        return 1 - cohort.present / asked if asked and self.place == "distributed" else 1.0
