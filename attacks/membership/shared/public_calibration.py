"""Each model's own lean, read off public examples and taken away.  Our own addition to LiRA.

Where descent happens to stop, a model is surer of some kinds of examples than others like it are,
whether it was trained on them or not.  Public examples show that lean: what a model says of them,
less what shadow models say on average, is no sign of membership.  Kernel ridge regression carries
it over to candidates that look alike.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lab.interfaces.attack_data import Candidates, MembershipSignals

NEAR = 5.0  # how fast likeness falls with squared distance, in units of its mean
OTHER_LABEL = 0.2  # how alike examples of different labels are, beside those of the same
RIDGE = 1.0  # the variance of one example's answer, beside that of the lean


def levelled(evidence: MembershipSignals) -> MembershipSignals:
    """The same without each model's lean; unchanged where nothing is public.

    Signals are logit-scaled confidences, one an example.
    """
    public, models = evidence.public, evidence.shadows_public
    if not len(public.labels) or not len(models):
        return evidence
    usual = models.nanmean(dim=0)  # (public,)
    leans = torch.cat([evidence.target_public[None], models]) - usual  # (1 + shadows, public)
    scale = torch.cdist(*2 * (_flat(public),)).square().mean().clamp_min(1e-12)
    within = _likeness(public, public, scale)  # (public, public)
    within.diagonal().add_(RIDGE)
    weights = torch.cholesky_solve(leans.T, torch.linalg.cholesky(within))
    carried = (_likeness(evidence.candidates, public, scale) @ weights).T
    return replace(
        evidence, target=evidence.target - carried[0], shadows=evidence.shadows - carried[1:]
    )


def _likeness(ones: Candidates, others: Candidates, scale: Tensor) -> Tensor:
    """-> (ones, others), from 1 of the same picture with the same label down to 0"""
    far = torch.cdist(_flat(ones), _flat(others)).square() / scale
    same = ones.labels.unsqueeze(1) == others.labels
    return torch.exp(-NEAR * far) * torch.where(same, 1.0, OTHER_LABEL)


def _flat(examples: Candidates) -> Tensor:
    return examples.inputs.flatten(1).double()
