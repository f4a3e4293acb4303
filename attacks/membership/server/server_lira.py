"""LiRA at the server, on the mean cosine of updates.

The likelihood ratio is that of Carlini et al. 2022, arXiv:2112.03570; the signal is that of Li et
al.
2022, openreview.net/forum?id=QsCSLPP55Ku.
"""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from attacks.membership.shared.update_probing import cosines
from lab.interfaces.attack_data import Candidates, ClientSignals
from lab.interfaces.privacy_attacks import AttackResources, ServerMembershipAttack
from lab.interfaces.views import ServerView

PRIOR = 16.0  # examples' worth of the mean variance that every variance is drawn to
GAP = 8.0  # the same of the mean gap that every example's gap is drawn to
ALIKE = 10  # groups of examples with similar means, which share that gap
LEAST = 1e-12  # of a variance


class ServerLira(ServerMembershipAttack):
    """Trains shadow federations to learn how updates look with and without a candidate."""

    kind: Literal["server-lira"] = "server-lira"
    title: ClassVar[str] = "LiRA at the server"
    source: ClassVar[str] = "Carlini et al. 2022, arXiv:2112.03570, on updates"
    attacker: ClassVar[str] = (
        "an honest-but-curious server that keeps every update and trains shadow federations"
    )
    knows: ClassVar[str] = (
        "the architecture, the training recipe, each candidate with its label, and no other "
        "examples: its federations train on halves of the candidates"
    )
    fails: ClassVar[str] = (
        "sums of updates, and updates with other noise or compression than in its own federations"
    )
    apart: ClassVar[bool] = True
    shadows: int = Field(
        16, ge=2, le=128, description="number of shadow federations that the server trains"
    )

    def needs(self) -> AttackResources:
        return AttackResources(shadows=self.shadows)

    def signal(self, view: ServerView, asked: Candidates) -> Tensor:
        """Return the cosines.  -> (rows, candidates)"""
        return cosines(view, asked)

    def gather(self, signals: Tensor) -> Tensor:
        """Average over the rounds that a client took part in.  -> (clients, candidates)"""
        return signals.nanmean(dim=0)

    def __call__(self, evidence: ClientSignals) -> Tensor:
        """Return the logarithm of the likelihood ratio.  -> (clients, candidates)"""
        target, own = evidence.target.double(), evidence.shadows.double()
        clients = torch.arange(own.shape[1]).view(-1, 1)
        holds = evidence.holders.unsqueeze(1) == clients  # (shadows, clients, candidates)
        inside, outside = _moments(own, holds), _moments(own, ~holds)
        gap = _drawn_together(inside.mean - outside.mean, inside.size, outside.mean)
        held = _logarithm(target, outside.mean + gap, inside.variance)
        return (held - _logarithm(target, outside.mean, outside.variance)).float()


class _Moments(NamedTuple):
    """Mean and variance for each example, over all chosen clients of all federations."""

    size: Tensor  # (candidates,) how many values
    mean: Tensor
    variance: Tensor


def _moments(own: Tensor, belongs: Tensor) -> _Moments:
    """Estimate the moments.  own, belongs (shadows, clients, candidates)

    Few values estimate a variance badly, so each variance is shrunk towards the mean of all.
    """
    belongs = belongs & own.isfinite()
    count = belongs.sum(dim=(0, 1)).double()
    mean = own.where(belongs, 0.0).sum(dim=(0, 1)) / count.clamp_min(1)
    squares = (own - mean).where(belongs, 0.0).square().sum(dim=(0, 1))
    freedom = (count - 1).clamp_min(0)
    usual = squares.sum() / freedom.sum().clamp_min(1)
    variance = (squares + PRIOR * usual) / (freedom + PRIOR)
    return _Moments(count, mean, variance.clamp_min(LEAST))


def _drawn_together(gap: Tensor, count: Tensor, mean: Tensor) -> Tensor:
    """Shrink every gap towards that of examples with a similar mean.  -> (candidates,)"""
    groups = mean.argsort().argsort() * ALIKE // len(mean)  # (candidates,)
    none = mean.new_zeros(ALIKE)
    totals = none.index_add(0, groups, gap * count)
    usual = totals / none.index_add(0, groups, count).clamp_min(1)
    return (count * gap + GAP * usual[groups]) / (count + GAP)


def _logarithm(values: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Return the log of a normal density, up to a constant.  -> like values"""
    return -0.5 * (variance.log() + (values - mean).square() / variance)
