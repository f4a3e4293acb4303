"""Gaussian noise on the sum of updates, in one of three places.

Distributed: each of m clients adds noise of variance deviation^2 / m before it sends, so that the
sum carries exactly the noise of the Gaussian mechanism, and no row travels bare (Kairouz et al.
2021, arXiv:2102.06387, section 1).  Central: rows travel bare, and the server adds all of the noise
(McMahan et al. 2018, arXiv:1710.06963, section 2).  Local: each client adds all of it to its own
row, which needs no trust in anybody, and the sum of m rows carries m times the variance.
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
    """The clients' half: each adds a share of the noise that the sum needs, or all of it.

    With place local, a row by itself is a Gaussian mechanism: its guarantee needs no server.
    """

    kind: Literal["noise"] = "noise"
    source: ClassVar[str] = "McMahan et al. 2018, arXiv:1710.06963, section 2"
    deviation: float = Field(1.0, ge=0, description="standard deviation of the sum's noise")
    place: Literal["distributed", "local"] = Field("distributed", description="a share, or all")
    secure: bool = Field(False, description="drawn from the operating system's generator")

    def __call__(self, rows: Tensor, cohort: Cohort) -> Tensor:
        if not len(rows):
            return rows
        share = self.deviation if self.place == "local" else self.deviation / len(rows) ** 0.5
        # A loop over clients, because each one's noise is a stream of its own.
        streams = [cohort.private("noise", cohort.round, client) for client in cohort.clients]
        draws = [gaussian_noise(own, rows.shape[1], secure=self.secure) for own in streams]
        return rows + share * torch.stack(draws)


class Release(UpdateTransform):
    """The server's half: divide by the expected cohort, add the noise that is missing.

    With it the released step is (sum + N(0, deviation^2)) / expected whoever came or was lost,
    as the accountant assumes of a Poisson cohort.  With place local nothing is missing: every row
    that came carries that noise itself.  Under masks a sum carries more than it needs, and how much
    would tell how many took part: the server fills it up to what no cohort exceeds.
    """

    kind: Literal["release"] = "release"
    side: ClassVar[Literal["client", "server"]] = "server"
    source: ClassVar[str] = "McMahan et al. 2018, arXiv:1710.06963, section 3"
    deviation: float = Field(1.0, ge=0, description="standard deviation of the sum's noise")
    place: Literal["distributed", "central", "local", "masked"] = Field(
        "distributed", description="who adds the noise; masked: clients, within the masks"
    )
    surplus: float = Field(1.0, ge=1, description="of the variance under masks, over all cohorts")
    secure: bool = Field(False, description="drawn from the operating system's generator")
    name: Literal["missing noise", "missing noise of bits"] = Field(
        "missing noise", description="the random stream of what is missing"
    )

    def __call__(self, rows: Tensor, cohort: Cohort) -> Tensor:
        """Shifts and scales every row alike, so that their plain mean is the released step."""
        own = cohort.private(self.name, cohort.round)
        drawn = gaussian_noise(own, rows.shape[1], secure=self.secure)
        shift = self.deviation * self._missing(cohort) ** 0.5 * drawn  # (params,)
        released: Tensor = (rows * cohort.present + shift) / cohort.expected
        return released

    def _missing(self, cohort: Cohort) -> float:
        """What share of the noise's variance no client added."""
        asked = len(cohort.clients)
        if self.place == "local":
            return 0.0
        if self.place == "masked":
            return max(0.0, ROUNDED * self.surplus - cohort.carried)
        return 1 - cohort.present / asked if asked and self.place == "distributed" else 1.0
