"""Source inference: which client holds a record.  Hu et al. 2021, arXiv:2109.05659."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from attacks.membership.shared.update_probing import client_losses, last_heard
from lab.interfaces.attack_data import Candidates, ClientSignals
from lab.interfaces.privacy_attacks import ServerMembershipAttack
from lab.interfaces.views import ServerView


class SourceInference(ServerMembershipAttack):
    """Names the client whose model has the lowest loss on a record as the holder of the record."""

    kind: Literal["source-inference"] = "source-inference"
    title: ClassVar[str] = "Source inference"
    source: ClassVar[str] = "Hu et al. 2021, arXiv:2109.05659"
    attacker: ClassVar[str] = "an honest-but-curious server that keeps every update"
    knows: ClassVar[str] = "the architecture, and each candidate with its label"
    fails: ClassVar[str] = (
        "sums of updates; it also names a client for a record that no client holds"
    )
    apart: ClassVar[bool] = True
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
        """Return each client's probability, if all hold equally many.  -> (clients, candidates)"""
        heard = evidence.target.isfinite()
        chances = (-evidence.target).masked_fill(~heard, -float("inf")).softmax(dim=0)
        return chances.where(heard, float("nan"))
