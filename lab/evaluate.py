"""How good a model is on test examples."""

from __future__ import annotations

from math import isfinite

import torch
import torch.nn.functional as F
from torch import Tensor

from lab.federation import as_floats
from lab.models import Network

BLOCK = 512  # examples at once: bounded memory, and no page faults on ever new buffers


def evaluate(
    network: Network, model: Tensor, inputs: Tensor, labels: Tensor
) -> tuple[float, float | None]:
    """Share of right answers, and mean cross-entropy; None once that is no finite number."""
    right, total = 0, 0.0
    with torch.no_grad():
        for some, wanted in zip(inputs.split(BLOCK), labels.split(BLOCK), strict=True):
            logits = network(model, as_floats(some))
            right += int((logits.argmax(dim=1) == wanted).sum())
            total += float(F.cross_entropy(logits, wanted, reduction="sum"))
    loss = total / max(1, len(labels))
    return right / max(1, len(labels)), loss if isfinite(loss) else None
