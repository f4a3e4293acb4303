"""Removal of each model's own bias, estimated on public examples.  Leaklab's own addition to LiRA.

Depending on where training happens to stop, a model is more confident on some kinds of examples
than
similar models are, whether it was trained on them or not.  Public examples show this bias: a
model's
confidence on them, minus shadow models' mean confidence, is no sign of membership.  Kernel ridge
regression carries the bias over to similar candidates.
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
    """Return the signals without each model's own bias; unchanged without public examples.

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
    """Return similarities (ones, others): 1 for the same picture with the same label, down to 0."""
    far = torch.cdist(_flat(ones), _flat(others)).square() / scale
    same = ones.labels.unsqueeze(1) == others.labels
    return torch.exp(-NEAR * far) * torch.where(same, 1.0, OTHER_LABEL)


def _flat(examples: Candidates) -> Tensor:
    return examples.inputs.flatten(1).double()
