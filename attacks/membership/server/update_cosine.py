"""Membership by alignment with gradients. Li et al. 2022, openreview.net/forum?id=QsCSLPP55Ku."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from attacks.membership.shared.update_probing import cosines, descents
from lab.interfaces.attack_data import Candidates, ClientSignals
from lab.interfaces.privacy_attacks import ServerMembershipAttack
from lab.interfaces.views import ServerView


class UpdateCosine(ServerMembershipAttack):
    """Scores candidates by how well a client's update aligns with the negative loss gradient."""

    kind: Literal["update-cosine"] = "update-cosine"
    title: ClassVar[str] = "Update cosine"
    source: ClassVar[str] = "Li et al. 2022, openreview.net/forum?id=QsCSLPP55Ku"
    attacker: ClassVar[str] = "an honest-but-curious server that keeps every update"
    knows: ClassVar[str] = (
        "the architecture, the training recipe, and each candidate with its label"
    )
    fails: ClassVar[str] = "clients with so many examples that none changes the update noticeably"
    measure: Literal["cosine", "difference"] = Field(
        "cosine",
        description=(
            "cosine: of the update and the example's negative gradient; difference: how much "
            "shorter the sum of gradients gets without the example's"
        ),
    )

    def signal(self, view: ServerView, asked: Candidates) -> Tensor:
        """Return the chosen measure.  -> (rows, candidates)"""
        if self.measure == "cosine":
            return cosines(view, asked)
        # With s the sum of gradients and g the example's own: |s|^2 - |s - g|^2 = 2 <s, g> - |g|^2.
        products, squares = descents(view, asked)
        recipe = view.recipe
        size = max(1, round(recipe.mean_size))
        passes = max(recipe.seen(size) / size, 1e-9)  # of the client through its examples
        summed = products.new_tensor([len(senders) for senders in view.senders])
        scale = summed.unsqueeze(1) * recipe.batch_size / (recipe.rate * passes)
        return 2 * scale * products - squares

    def gather(self, signals: Tensor) -> Tensor:
        """Average over the rounds that a client took part in.  -> (clients, candidates)"""
        return signals.nanmean(dim=0)

    def __call__(self, evidence: ClientSignals) -> Tensor:
        """Return the gathered scores.  -> (clients, candidates)"""
        return evidence.target
