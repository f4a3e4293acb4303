"""Capture: how many accomplices open a client's update under masks, and how likely that is.

The server lies and has accomplices among the clients; all others check what they are told.
"""

from __future__ import annotations

from defenses.secure_aggregation import Masked, Terms
from defenses.secure_aggregation.graph import accomplices_needed, chance_of_capture
from lab.experiment.experiment import Experiment

CORRUPT = 0.1  # of the other clients, for the example that is worked out
NEGLIGIBLE = 1e-3  # a chance below that is no reason for a caution
UNSIGNED = (
    "Without secure_aggregation.signatures a lying server needs no accomplice: it tells each "
    "neighbourhood another story of who was lost"
)


def captured(now: Experiment) -> list[str]:
    """What it takes to open one client's update, in sentences; none without masks."""
    masks = now.secure_aggregation
    if not masks.enabled:
        return []
    if not masks.checks:
        return ["Clients check nothing of the round: a lying server needs two accomplices"]
    if masks.neighbours and not masks.signatures:
        return [UNSIGNED]
    terms = _terms(now)
    server = "A lying server" if masks.signatures else "A lying server that exchanges no keys"
    needed = accomplices_needed(terms)
    told = f"{server} opens a client's update with {needed} accomplices among {_whom(terms)}"
    return [told, _odds(terms)] if terms.neighbours else [told]


def mask_cautions(experiment: Experiment, rounds: int) -> list[str]:
    """What a reader should be told of the masks in force after so many rounds, in sentences."""
    now = experiment.at(max(1, rounds))
    masks, told = now.secure_aggregation, captured(now)
    if not masks.enabled:
        return []
    if masks.checks and (masks.signatures or not masks.neighbours):
        terms = _terms(now)
        if chance_of_capture(terms, _corrupt(terms)) < NEGLIGIBLE:
            return []
        better = "more secure_aggregation.neighbours or " if terms.neighbours else ""
        told = [told[0], _odds(terms), f"Give {better}a higher secure_aggregation.threshold"]
    return [f"{each}." for each in told]


def _terms(now: Experiment) -> Terms:
    masks = now.secure_aggregation
    channel = Masked(
        threshold=masks.threshold, neighbours=masks.neighbours, signatures=masks.signatures
    )
    return channel.terms(now.cohort_size // masks.buckets)


def _corrupt(terms: Terms) -> int:
    return max(1, round(CORRUPT * (terms.clients - 1)))


def _whom(terms: Terms) -> str:
    if terms.neighbours:
        return f"the {terms.neighbours} neighbours that it chose"
    return f"the {terms.clients - 1} others"


def _odds(terms: Terms) -> str:
    corrupt, others = _corrupt(terms), terms.clients - 1
    chance = chance_of_capture(terms, corrupt)
    often = f"{chance:.2%}" if chance >= 1e-4 else f"{chance:.1g}"
    return (
        f"If {corrupt} of the {others} others are its accomplices, the chance is {often} a client"
    )
