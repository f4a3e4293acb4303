"""Membership by the losses of a client's models over the rounds.

Yeom et al. 2018, arXiv:1709.01604, section 3.2, on every model that the client sends.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from attacks.membership.shared.update_probing import client_losses, last_heard
from lab.interfaces.attack_data import Candidates, ClientSignals
from lab.interfaces.privacy_attacks import ServerMembershipAttack
from lab.interfaces.views import ServerView


class LossTrajectory(ServerMembershipAttack):
    """Tracks each client's loss on a candidate over rounds; a lower loss points to the holder."""

    kind: Literal["loss-trajectory"] = "loss-trajectory"
    title: ClassVar[str] = "Loss trajectory"
    source: ClassVar[str] = "Yeom et al. 2018, arXiv:1709.01604, section 3.2, in every round"
    attacker: ClassVar[str] = "an honest-but-curious server that keeps every update"
    knows: ClassVar[str] = "the architecture, and each candidate with its label"
    fails: ClassVar[str] = "models that do as well on new examples as on training examples"
    rounds: Literal["all", "last"] = Field(
        "all", description="all: the mean over a client's rounds; last: its last round only"
    )

    def signal(self, view: ServerView, asked: Candidates) -> Tensor:
        """Return each candidate's cross-entropy on each client's model.  -> (rows, candidates)"""
        return client_losses(view, asked)

    def gather(self, signals: Tensor) -> Tensor:
        """Combine the rounds.  -> (clients, candidates)"""
        return signals.nanmean(dim=0) if self.rounds == "all" else last_heard(signals)

    def __call__(self, evidence: ClientSignals) -> Tensor:
        """Score low losses high.  -> (clients, candidates)"""
        return -evidence.target
