"""What the adaptive server optimisers share. Reddi et al. 2021, arXiv:2003.00295, algorithm 2.

m = beta_1 m + (1 - beta_1) D; v as each of them has it; w += eta m / (sqrt(v) + tau).
"""

from __future__ import annotations

import torch
from torch import Tensor

from lab.wire import Memory


def fresh(params: int, floor: float) -> Memory:
    """v begins at tau^2, the least that the algorithm allows."""
    return {
        "first": torch.zeros(params),
        "second": torch.full((params,), floor**2),
        "rounds": torch.zeros(1),
    }


def moved(memory: Memory, step: Tensor, momentum: float, second: Tensor) -> Memory:
    """The next memory, given the next `second`."""
    first = momentum * memory["first"] + (1 - momentum) * step
    return {"first": first, "second": second, "rounds": memory["rounds"] + 1}


def ahead(memory: Memory, rate: float, floor: float) -> Tensor:
    """The server's step.  -> (params,)"""
    return rate * memory["first"] / (memory["second"].sqrt() + floor)
