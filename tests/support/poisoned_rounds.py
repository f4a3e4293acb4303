"""Updates, parties of attackers and what they know, which tests of poisons share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from attacks import POISONING_ATTACKS
from defenses import AGGREGATION_RULES
from lab.interfaces.messages import Cohort
from lab.interfaces.poisoning import NO_KNOWLEDGE, AdversaryKnowledge
from tests.support.poisoning import cohort_of
from tests.support.poisoning import rows_of as draws

# What follows from the honest updates alone.
COPIES = ("alie", "ipm", "min-max", "min-sum", "mimic", "opt-alie", "opt-ipm")


def rows_of(seed: int, clients: int = 9, params: int = 7) -> Tensor:
    """Updates that differ, about a common way."""
    return 0.5 + draws(seed, clients, params)


def party(faulty: int, clients: int = 9) -> Cohort:
    """The last so many are malicious."""
    return cohort_of([place >= clients - faulty for place in range(clients)])


def folding(rule: str, **settings: Any) -> AdversaryKnowledge:
    chosen = AGGREGATION_RULES[rule](**settings)
    return AdversaryKnowledge(fold=lambda rows: chosen(rows, torch.ones(len(rows))))


def insight_of(params: int = 7) -> AdversaryKnowledge:
    sent, change, fresh = rows_of(99, 3, params)
    return replace(folding("median"), sent=sent, change=change, fresh=fresh)


ROWS = torch.tensor([[9.0, 9.0], [0.0, 2.0], [2.0, 2.0], [4.0, 5.0]])  # the honest mean is (2, 3)
FIRST = cohort_of([True, False, False, False])


def lie(name: str, insight: AdversaryKnowledge = NO_KNOWLEDGE, **settings: Any) -> Tensor:
    return POISONING_ATTACKS[name](**settings).rows(ROWS, FIRST, insight)[0]
