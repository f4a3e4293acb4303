"""Directed deviation attack. Fang et al. 2020, USENIX Security, arXiv:1911.11815.

These are the paper's attacks with full knowledge.  The paper speaks of models; rows here are
updates, so the model that was sent lies at zero.
"""

from __future__ import annotations

from math import sqrt
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.poisoning.shared.malicious_updates import apart, each_told, honest, step_of, told
from lab.common.random_streams import uniform
from lab.interfaces.messages import Cohort
from lab.interfaces.poisoning import NO_KNOWLEDGE, AdversaryKnowledge, PoisoningAttack
from lab.interfaces.privacy_attacks import Sees

THRESHOLD = 1e-5  # the paper's, but of the first lambda, for updates may be of any size


class Fang(PoisoningAttack):
    """Pushes every parameter against its honest direction, as far as the attacked rule accepts.

    The honest direction is the sign of the step of honest updates, malicious clients' included.
    Where
    the rule is unknown, it is the sign of their plain mean.
    """

    kind: Literal["fang"] = "fang"
    title: ClassVar[str] = "Fang directed deviation"
    source: ClassVar[str] = "Fang et al. 2020, USENIX Security, arXiv:1911.11815, section 3"
    knows: ClassVar[str] = "the updates of all honest clients, and the rule"
    against: Literal["trimmed-mean", "krum"] = Field(
        "trimmed-mean",
        description="the rule that the attack is made for; trimmed-mean also suits the median",
    )
    stretch: float = Field(
        2.0,
        gt=1,
        le=100,
        description=(
            "for trimmed-mean: how far updates go beyond the last honest value (b in the paper)"
        ),
    )

    @property
    def sees(self) -> Sees:
        return "updates"

    def rows(
        self, rows: Tensor, cohort: Cohort, insight: AdversaryKnowledge = NO_KNOWLEDGE
    ) -> Tensor:
        among, way = honest(rows, cohort), step_of(rows, insight).sign()  # (params,)
        if self.against == "krum":
            faulty = int(cohort.malicious.sum())
            return told(rows, cohort, -strength(among.double(), way.double(), faulty) * way)
        # The last honest value against the way, and b times as far from it or as near to zero.
        edge = torch.where(way > 0, among.amin(dim=0), among.amax(dim=0)) * way.abs()
        end = torch.where(edge * way > 0, edge / self.stretch, edge * self.stretch)

        def lie(client: int) -> Tensor:
            return edge + uniform(cohort.stream(client, "fang"), len(way)) * (end - edge)

        return each_told(rows, cohort, lie)


def strength(among: Tensor, way: Tensor, faulty: int) -> float:
    """Return the first lambda, halved from the paper's bound, at which Krum picks -lambda * way.

    All malicious clients send the same update.  Where Krum never picks it, the last lambda is
    returned.

    among (honest, params), way (params,), float64
    """
    neighbours = max(1, len(among) - 2)  # of n = honest + faulty, n - faulty - 2
    gaps = apart(among)
    lengths, along, square = among.square().sum(dim=1), among @ way, float(way.square().sum())

    def picked(lamda: float) -> bool:
        apart = lengths + 2 * lamda * along + lamda**2 * square  # (honest,) |x + lambda way|^2
        theirs = torch.cat([gaps, apart.expand(faulty, -1).T], dim=1)  # (honest, clients)
        mine = torch.cat([apart, apart.new_zeros(faulty)])  # (clients,)
        return bool(_score(mine.unsqueeze(0), neighbours) < _score(theirs, neighbours))

    spare, params = max(1, len(among) - faulty - 1), len(way)
    lamda = sqrt(_score(gaps, neighbours) / (spare * params)) + sqrt(lengths.max() / params)
    last = THRESHOLD * lamda
    while lamda > last and not picked(lamda):
        lamda /= 2
    return lamda


def _score(gaps: Tensor, neighbours: int) -> float:
    """Return the best Krum score.  gaps (rows, clients): squared distances, one to itself"""
    return float(gaps.sort(dim=1).values[:, 1 : neighbours + 1].sum(dim=1).min())
