"""How long a row was before it was clipped, from the classes that nobody has.

The last bias's gradient is mean(probability - one-hot).  For a class without an example it is the
mean probability alone, which public examples tell of the model that was sent; no class can have
more.  So the ratio of the two, least over the classes, is what the row was shortened by.
"""

from __future__ import annotations

from dataclasses import replace

from attacks.reconstruction.shared.label_counting import likely
from attacks.reconstruction.shared.observed_gradient import Observed
from lab.interfaces.views import AuxiliaryInfo, ServerView


def lengthened(view: ServerView, seen: Observed, known: AuxiliaryInfo) -> Observed:
    """The row at its length before clipping, where one row can tell; otherwise as it is.

    With noise on it, a row tells nothing of the kind; with examples of every class, too little.
    """
    if not known.mechanism.clip or known.mechanism.noise or view.shared < view.network.size:
        return seen
    place, _ = view.network.slots["out.bias"]
    bias = seen.gradient[place]  # (classes,)
    there = bias > 1e-12
    if not there.any():
        return seen
    factor = float((likely(view.network, view.sent, known)[there] / bias[there]).min())
    return replace(seen, gradient=seen.gradient * max(1.0, factor))
