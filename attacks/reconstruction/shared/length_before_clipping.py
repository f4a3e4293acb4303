"""The norm of an update before it was clipped, computed from classes without examples.

The last bias's gradient is mean(probability - one-hot).  For a class without an example it is only
the mean probability, which public examples tell for the model that was sent; no class can have
more.  Therefore the least ratio of the two over the classes is the clipping factor.
"""

from __future__ import annotations

from dataclasses import replace

from attacks.reconstruction.shared.label_counting import likely
from attacks.reconstruction.shared.observed_gradient import Observed
from lab.interfaces.views import AuxiliaryInfo, ServerView


def lengthened(view: ServerView, seen: Observed, known: AuxiliaryInfo) -> Observed:
    """Return the row at its norm before clipping, where one row can tell; otherwise unchanged.

    With noise, a row does not tell its norm; with examples of every class, hardly.
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
