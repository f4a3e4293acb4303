"""Confidence measures of predictions, computed without overflow and without ties.

The logit-scaled confidence is log(p / (1 - p)), where p is the probability of the example's label
(Carlini et al. 2022, arXiv:2112.03570, section 4.3).  From probabilities it is infinite as soon as
p rounds to 1; from logits it never is.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lab.interfaces.attack_data import Candidates
from lab.interfaces.views import OutsiderView

BLOCK = 1024  # examples at once


def logits_of(view: OutsiderView, asked: Candidates) -> Tensor:
    """Return the released model's logits.  -> (candidates, classes) float64"""
    with torch.no_grad():
        blocks = [view.network(view.model, inputs) for inputs in asked.inputs.split(BLOCK)]
    return torch.cat(blocks).double()


def confidence(logits: Tensor, labels: Tensor) -> Tensor:
    """Return log(p / (1 - p)) of each label: its logit minus the log-sum-exp of all others.

    logits (..., examples, classes), labels (examples,) -> (..., examples) float64
    """
    logits, places = logits.double(), labels.expand(logits.shape[:-1]).unsqueeze(-1)
    others = logits.scatter(-1, places, -torch.inf).logsumexp(dim=-1)
    return logits.gather(-1, places).squeeze(-1) - others


def log_probability(confidence: Tensor) -> Tensor:
    """Return log p for a logit-scaled confidence."""
    return F.logsigmoid(confidence)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the loss -log p.  logits (..., examples, classes), labels (examples,) -> float64"""
    return -log_probability(confidence(logits, labels))


def log_complements(logits: Tensor) -> Tensor:
    """Return log(1 - p) of every class, exact also where p rounds to 1.

    Only the likeliest class can have p near 1; its complement is the sum of all others.
    (examples, classes) -> (examples, classes)
    """
    logs = F.log_softmax(logits.double(), dim=-1)
    top = logs.argmax(dim=-1, keepdim=True)
    others = logs.scatter(-1, top, -torch.inf).logsumexp(dim=-1, keepdim=True)
    return torch.log1p(-logs.scatter(-1, top, -torch.inf).exp()).scatter(-1, top, others)
