"""How long a row was before it was clipped, from the classes that nobody has.

The last bias's gradient is mean(probability - one-hot).  For a class without an example it is the
mean probability alone, which the attacker knows of a model that it sent; no class can have more.
So the ratio of the two, least over the classes, is what the row was shortened by.
"""

from __future__ import annotations

from dataclasses import replace

from attacks.gradients import Observed, likely
from lab.views import Mechanism, ServerView


def lengthened(view: ServerView, seen: Observed, mechanism: Mechanism) -> Observed:
    """The row at its length before clipping, where one row can tell; otherwise as it is.

    With noise on it, a row tells nothing of the kind; with examples of every class, too little.
    """
    if not mechanism.clip or mechanism.noise or view.shared < view.network.size:
        return seen
    place, _ = view.network.slots["out.bias"]
    bias = seen.gradient[place]  # (classes,)
    there = bias > 1e-12
    if not there.any():
        return seen
    factor = float((likely(view, seen)[there] / bias[there]).min())
    return replace(seen, gradient=seen.gradient * max(1.0, factor))
