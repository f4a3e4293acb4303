"""Push the model away from a candidate, and see who pulls it back. Nasr et al. 2019.

arXiv:1812.00910, section on active attacks: whoever can change the model adds an ascent step on the
candidate's loss; clients who hold the candidate train it down again, others do not.  A server that
is after one client isolates it: what that client is sent next is its own answer.  The paper feeds
gradients and activations to a trained network; here the loss alone decides, taken after the last
answer.  What the ascent adds to isolation alone is little (README has the numbers), so both are
measured side by side.
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
    """Make the model worse on a candidate: if training repairs that, somebody holds it."""

    kind: Literal["gradient-ascent"] = "gradient-ascent"
    source: ClassVar[str] = "Nasr et al. 2019, arXiv:1812.00910, active attacks"
    attacker: ClassVar[str] = (
        "a malicious server, which changes the model it sends, or a malicious client, which "
        "changes its update"
    )
    knows: ClassVar[str] = "the architecture, and each candidate with its label"
    fails: ClassVar[str] = (
        "many clients whose mean dilutes one client's pull, few local steps, large sets of "
        "candidates, which drown each other; noise"
    )
    by: Literal["server", "client"] = Field(
        "server", description="who acts; a server that is told a client isolates that one"
    )
    rate: float = Field(0.01, ge=0, le=10, description="length of the ascent; 0: only watches")
    rounds: int = Field(3, ge=1, le=50, description="rounds in which it acts")
    together: int = Field(8, ge=1, le=256, description="candidates asked about at once")

    def provoke(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """An ascent step on the sum of the candidates' losses.  -> (params,)"""
        with torch.enable_grad():
            model = view.model.clone().requires_grad_()
            loss = F.cross_entropy(view.network(model, asked.inputs), asked.labels, reduction="sum")
            return self.rate * torch.autograd.grad(loss, model)[0]

    def signal(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """The cross-entropy of each candidate.  -> (candidates,)"""
        with torch.no_grad():
            logits = view.network(view.model, asked.inputs)
        return F.cross_entropy(logits, asked.labels, reduction="none")

    def __call__(self, evidence: ActiveSignals) -> Tensor:
        """All were pushed alike, so who was pulled back has the lower loss.  -> (candidates,)"""
        return -evidence.answered[-1]

    def still(self) -> ActiveMembershipAttack:
        return self.model_copy(update={"rate": 0.0})
