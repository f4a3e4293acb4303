"""Source inference: whose record is it?  Hu et al. 2021, arXiv:2109.05659."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from attacks.membership.shared.update_probing import client_losses, last_heard
from lab.interfaces.attack_data import Candidates, ClientSignals
from lab.interfaces.privacy_attacks import ServerMembershipAttack
from lab.interfaces.views import ServerView


class SourceInference(ServerMembershipAttack):
    """Of a record that somebody holds, the owner's model makes the least of all errors."""

    kind: Literal["source-inference"] = "source-inference"
    source: ClassVar[str] = "Hu et al. 2021, arXiv:2109.05659"
    attacker: ClassVar[str] = "an honest server that keeps every update"
    knows: ClassVar[str] = "the architecture, and each candidate with its label"
    fails: ClassVar[str] = "sums of updates; of a record that nobody holds it names a client, too"
    apart: ClassVar[bool] = True
    rounds: Literal["all", "last"] = Field(
        "all", description="all: the mean over a client's rounds; last: its last one alone"
    )

    def signal(self, view: ServerView, asked: Candidates) -> Tensor:
        """The cross-entropy of each candidate on each client's model.  -> (rows, candidates)"""
        return client_losses(view, asked)

    def gather(self, signals: Tensor) -> Tensor:
        """-> (clients, candidates)"""
        return signals.nanmean(dim=0) if self.rounds == "all" else last_heard(signals)

    def __call__(self, evidence: ClientSignals) -> Tensor:
        """The chance of each client, if all hold equally many.  -> (clients, candidates)"""
        heard = evidence.target.isfinite()
        chances = (-evidence.target).masked_fill(~heard, -float("inf")).softmax(dim=0)
        return chances.where(heard, float("nan"))
