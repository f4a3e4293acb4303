"""Mimic one honest client. Karimireddy, He and Jaggi 2022, arXiv:2006.09365."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from attacks.poisoning.shared.malicious_updates import honest, told
from lab.interfaces.messages import Cohort
from lab.interfaces.poisoning import NO_KNOWLEDGE, AdversaryKnowledge, PoisoningAttack
from lab.interfaces.privacy_attacks import Sees


class Mimic(PoisoningAttack):
    """Sends a copy of one honest client's update, which gives that client too much weight.

    The copied client is the one that lies farthest along the direction in which honest updates vary
    most.  The paper learns that direction over its first rounds; this attack uses the round's own.
    """

    kind: Literal["mimic"] = "mimic"
    title: ClassVar[str] = "Mimic"
    source: ClassVar[str] = "Karimireddy, He and Jaggi 2022, arXiv:2006.09365"
    knows: ClassVar[str] = "the updates of all honest clients"

    @property
    def sees(self) -> Sees:
        return "updates"

    def rows(
        self, rows: Tensor, cohort: Cohort, insight: AdversaryKnowledge = NO_KNOWLEDGE
    ) -> Tensor:
        among = honest(rows, cohort)
        exact = among.double()
        gaps = exact - exact.mean(dim=0)  # (honest, params)
        # From the small matrix (honest, honest), which shares its eigenvalues with the covariance.
        main = gaps.T @ torch.linalg.eigh(gaps @ gaps.T).eigenvectors[:, -1]  # (params,)
        return told(rows, cohort, among[(exact @ main).abs().argmax()])
