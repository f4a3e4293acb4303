"""Membership scores beside the main one: of further target models, and against other clients."""

from __future__ import annotations

from typing import Literal

from lab.common.settings import Settings
from lab.scoring.membership.membership_score import MembershipScore


class PooledScore(Settings):
    """The same attack on models by the same recipe, taken together."""

    kind: Literal["pooled"] = "pooled"
    targets: int
    score: MembershipScore

    @property
    def title(self) -> str:
        return f"With {self.targets} models like this one, taken together"

    def lines(self) -> list[str]:
        told = f"models like this one, {self.targets} federations by the same recipe together:"
        return [told, *self.score_lines()]

    def score_lines(self) -> list[str]:
        return self.score.lines(blind=False)  # who is inside was drawn at random


class OtherClientsScore(Settings):
    """The same attack against members of other clients."""

    kind: Literal["other-clients"] = "other-clients"
    score: MembershipScore

    @property
    def title(self) -> str:
        return "Against members of other clients"

    def lines(self) -> list[str]:
        return ["against members of other clients:", *self.score_lines()]

    def score_lines(self) -> list[str]:
        return self.score.lines()
