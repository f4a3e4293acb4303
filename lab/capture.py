"""Capture: how many accomplices open a client's update under masks, and how likely that is.

The server lies and has accomplices among the clients; all others check what they are told.
"""

from __future__ import annotations

from defenses.secure_aggregation import Masked, Terms
from defenses.secure_aggregation.graph import accomplices_needed, chance_of_capture
from lab.experiment import Experiment

CORRUPT = 0.1  # of the other clients, for the example that is worked out
NEGLIGIBLE = 1e-3  # a chance below that is no reason for a caution


def captured(now: Experiment) -> list[str]:
    """What it takes to open one client's update, in sentences; none without masks."""
    masks = now.secure_aggregation
    if not masks.enabled:
        return []
    if not masks.checks:
        return ["Clients check nothing of the round: a lying server needs two accomplices"]
    terms = _terms(now)
    told = [
        f"A lying server opens a client's update with {accomplices_needed(terms)} accomplices "
        f"among {_whom(terms)}"
    ]
    if terms.neighbours:
        told.append(_odds(terms))
    return told


def mask_cautions(experiment: Experiment, rounds: int) -> list[str]:
    """What a reader should be told of the masks in force after so many rounds, in sentences."""
    now = experiment.at(max(1, rounds))
    masks = now.secure_aggregation
    if not (masks.enabled and masks.checks):
        return [f"{each}." for each in captured(now)]
    terms, told = _terms(now), []
    if chance_of_capture(terms, _corrupt(terms)) >= NEGLIGIBLE:
        better = "more secure_aggregation.neighbours or " if terms.neighbours else ""
        told += [f"{each}." for each in (*captured(now)[:1], _odds(terms))]
        told.append(f"Give {better}a higher secure_aggregation.threshold.")
    if terms.neighbours and not masks.signatures:
        told.append(
            "Without secure_aggregation.signatures a lying server needs no accomplice: it tells "
            "each neighbourhood another story of who was lost."
        )
    return told


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
    return f"With {corrupt} of all {others} others in its league, the chance is {often} a client"
