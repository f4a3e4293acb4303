"""Which clients are malicious, and when they attack."""

from __future__ import annotations

from lab.common.random_streams import random_stream
from lab.experiment.experiment import Experiment


def malicious_clients(experiment: Experiment) -> tuple[int, ...]:
    """The malicious clients.  A larger count adds to a smaller one's, never replaces it."""
    return tuple(sorted(drawn_attackers(experiment)))


def active_attackers(experiment: Experiment, round: int) -> tuple[int, ...]:
    """Those who are malicious in that round; in others they are as honest as anybody."""
    adversary = experiment.adversary
    late = round > adversary.start and adversary.once
    if not adversary.count or round < adversary.start or late:
        return ()
    if adversary.chance < 1:
        drawn = random_stream(experiment.seed, "adversary acts", round).random()
        return malicious_clients(experiment) if drawn < adversary.chance else ()
    return malicious_clients(experiment)


def drawn_attackers(experiment: Experiment) -> tuple[int, ...]:
    """The malicious clients in the order in which a growing count adds them."""
    named = experiment.adversary.clients
    drawn = (
        random_stream(experiment.seed, "malicious").permutation(experiment.data.clients).tolist()
    )
    order = [*named, *(client for client in drawn if client not in set(named))]
    return tuple(order[: experiment.adversary.count])
