"""A little is enough. Baruch et al. 2019, arXiv:1902.06156, algorithm 3."""

from __future__ import annotations

from statistics import NormalDist
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from attacks.poisoning.shared.malicious_updates import deviation, honest, told
from lab.interfaces.messages import Cohort
from lab.interfaces.poisoning import NO_KNOWLEDGE, AdversaryKnowledge, PoisoningAttack
from lab.interfaces.privacy_attacks import Sees


class Alie(PoisoningAttack):
    """Sends the honest mean, shifted by `z` standard deviations: too little to be detected.

    The paper writes mean + z deviations, of gradients, and its code subtracts: the sign is free.
    The
    paper estimates both from the attackers' own data; this attacker knows them.
    """

    kind: Literal["alie"] = "alie"
    title: ClassVar[str] = "A little is enough (ALIE)"
    source: ClassVar[str] = "Baruch et al. 2019, arXiv:1902.06156, algorithm 3"
    knows: ClassVar[str] = "the updates of all honest clients"
    z: float = Field(
        0.0,
        ge=0,
        le=100,
        description="shift in standard deviations; 0: the largest by the paper's formula",
    )
    sign: Literal["plus", "minus"] = Field(
        "plus", description="direction of the shift: above or below the honest mean"
    )

    @property
    def sees(self) -> Sees:
        return "updates"

    def rows(
        self, rows: Tensor, cohort: Cohort, insight: AdversaryKnowledge = NO_KNOWLEDGE
    ) -> Tensor:
        among = honest(rows, cohort)
        z = self.z or tolerated(len(rows), int(cohort.malicious.sum()))
        moved = z * deviation(among)
        mean = among.mean(dim=0)
        return told(rows, cohort, mean + moved if self.sign == "plus" else mean - moved)


def tolerated(clients: int, faulty: int) -> float:
    """Return the z beyond which lie enough honest clients to form a majority with the attackers.

    Too few attackers for that have z = 0 and send the mean.  Where attackers are a majority
    already,
    z is as large as if they needed one client: the formula's answer would be infinite.
    """
    others = max(1, clients - faulty or clients)  # n - m
    needed = max(1, clients // 2 + 1 - faulty)  # s
    share = (others - needed) / others
    return NormalDist().inv_cdf(share) if share > 0.5 else 0.0
