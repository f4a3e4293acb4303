"""Active gradient ascent: raises a candidate's loss and watches training. Nasr et al. 2019.

arXiv:1812.00910, section on active attacks.  An attacker who can change the model adds an ascent
step
on the candidate's loss.  Clients who hold the candidate reduce its loss again; others do not.  A
server that targets one client isolates it: the next model it sends to that client is the client's
own
answer.  The paper feeds gradients and activations to a trained network; here the loss alone
decides,
taken after the last answer.  Ascent adds little to isolation alone (README has the numbers), so
both
are measured side by side.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from lab.interfaces.attack_data import ActiveSignals, Candidates
from lab.interfaces.privacy_attacks import ActiveMembershipAttack
from lab.interfaces.views import OutsiderView


class GradientAscent(ActiveMembershipAttack):
    """Raises the loss on a candidate; if training lowers it again, a client holds the candidate."""

    kind: Literal["gradient-ascent"] = "gradient-ascent"
    title: ClassVar[str] = "Active gradient ascent"
    source: ClassVar[str] = "Nasr et al. 2019, arXiv:1812.00910, active attacks"
    attacker: ClassVar[str] = (
        "a malicious server, which changes the model it sends, or a malicious client, which "
        "changes its update"
    )
    knows: ClassVar[str] = "the architecture, and each candidate with its label"
    fails: ClassVar[str] = (
        "many clients, whose mean dilutes one client's reaction; few local steps; large sets "
        "of candidates, which interfere; noise"
    )
    by: Literal["server", "client"] = Field(
        "server", description="who acts; a server that targets one client isolates it"
    )
    rate: float = Field(0.01, ge=0, le=10, description="length of the ascent step; 0: only observe")
    rounds: int = Field(3, ge=1, le=50, description="number of rounds in which the attacker acts")
    together: int = Field(
        8, ge=1, le=256, description="number of candidates attacked at the same time"
    )

    def provoke(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """Return an ascent step on the sum of the candidates' losses.  -> (params,)"""
        with torch.enable_grad():
            model = view.model.clone().requires_grad_()
            loss = F.cross_entropy(view.network(model, asked.inputs), asked.labels, reduction="sum")
            return self.rate * torch.autograd.grad(loss, model)[0]

    def signal(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """Return the cross-entropy of each candidate.  -> (candidates,)"""
        with torch.no_grad():
            logits = view.network(view.model, asked.inputs)
        return F.cross_entropy(logits, asked.labels, reduction="none")

    def __call__(self, evidence: ActiveSignals) -> Tensor:
        """Score low losses high: all were raised alike, and training lowered members'.

        -> (candidates,)
        """
        return -evidence.answered[-1]

    def still(self) -> ActiveMembershipAttack:
        return self.model_copy(update={"rate": 0.0})
