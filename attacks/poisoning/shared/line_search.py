"""Search for the factor that harms a rule most. Allouah et al. 2023, arXiv:2302.01772, as in ByzFL.

ByzFL searches from 0 in steps of 10, doubled while that helps and then shortened, and so finds one
maximum.  A rule that filters has several, so half of the trials here are spread out first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from attacks.poisoning.shared.malicious_updates import honest, step_of, told
from lab.interfaces.messages import Cohort
from lab.interfaces.poisoning import AdversaryKnowledge

LARGEST = 1e6  # the mean believes everything, and float32 ends somewhere
RUNGS = sorted(range(-8, 9), key=abs)[1:]  # powers of two around the first factor


def most_harmful(
    rows: Tensor,
    cohort: Cohort,
    insight: AdversaryKnowledge,
    line: Callable[[float], Tensor],
    known: Sequence[float],
    trials: int,
) -> Tensor:
    """Return the rows with the malicious update that moves the step farthest from the honest mean.

    line: factor -> (params,), the malicious update; known: factors that are tried in any case
    """
    mean = honest(rows, cohort).mean(dim=0)

    def harm(factor: float) -> float:
        step = step_of(told(rows, cohort, line(factor)), insight)
        # What is no number counts as no harm, for a server leaves it out.
        return float(torch.linalg.vector_norm((step - mean).double()).nan_to_num(0.0, 0.0))

    return told(rows, cohort, line(strongest(harm, known, trials)))


def strongest(harm: Callable[[float], float], known: Sequence[float], trials: int) -> float:
    """Return the most harmful factor of so many trials, the `known` factors included.

    It tries the known factors and powers of two around the first, then ever closer around the best.
    """
    ladder = list(dict.fromkeys([*known, *(known[0] * 2.0**rung for rung in RUNGS)]))
    tried = {factor: harm(factor) for factor in ladder[: max(len(known), trials // 2)]}
    best = max(tried, key=lambda factor: tried[factor])
    most, left, stride = tried[best], trials - len(tried), 2**0.5
    while left > 0:
        for factor in (min(LARGEST, best * stride), best / stride)[:left]:
            left, found = left - 1, harm(factor)
            if found > most:
                best, most = factor, found
                break
        else:
            stride **= 0.5
    return best
