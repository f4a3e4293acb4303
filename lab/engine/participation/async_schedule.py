"""Flights: who is at work and who comes back, where the server waits for nobody.

With every step the server sends new work out, until as many clients as a cohort has are at work,
and steps again as soon as enough have come back.  Nobody is waited for, so an update may be of a
model that the server has long left behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import numpy as np
import torch

from lab.common.random_streams import random_stream
from lab.engine.data.federation import federated_dataset
from lab.engine.participation.devices import durations
from lab.experiment.experiment import Experiment

_LOCK = Lock()


@dataclass(frozen=True, order=True)
class PendingUpdate:
    """A client at work."""

    due: float  # simulated seconds from the start
    client: int
    version: int  # the round after which it got its model


@dataclass(frozen=True)
class AsyncRound:
    """Who comes back in a round, in client order, and who does not yet."""

    flights: tuple[PendingUpdate, ...]
    waiting: tuple[PendingUpdate, ...]
    clock: float  # simulated seconds when the server steps
    lasted: float  # of which this round took so many


def async_round(experiment: Experiment, round: int) -> AsyncRound:
    """A function of the experiment: how long anybody takes does not depend on what is learnt."""
    known = _known(experiment)
    with _LOCK:
        while len(known) < round:
            before = known[-1] if known else AsyncRound((), (), 0.0, 0.0)
            known.append(_next(experiment.at(len(known) + 1), len(known) + 1, before))
        return known[round - 1]


@lru_cache(maxsize=16)
def _known(experiment: Experiment) -> list[AsyncRound]:
    return []


def _next(now: Experiment, round: int, before: AsyncRound) -> AsyncRound:
    awaits = now.training.algorithm.awaits
    if not awaits:  # a round in which everybody is waited for, so that nobody stays away
        return AsyncRound((), (), before.clock, 0.0)
    away = {flight.client for flight in before.waiting}
    order, there = (
        random_stream(now.seed, "cohort", round).permutation(now.data.clients),
        available(now, round),
    )
    free = [client for client in order[there[order]].tolist() if client not in away]
    leaving = free[: max(0, now.cohort_size - len(away))]
    flights = sorted(before.waiting + _departures(now, round, before.clock, leaving))
    back, waiting = flights[:awaits], flights[awaits:]
    clock = max([before.clock, *(flight.due for flight in back)])
    ordered = tuple(sorted(back, key=lambda flight: flight.client))
    return AsyncRound(ordered, tuple(waiting), clock, clock - before.clock)


def available(now: Experiment, round: int) -> np.ndarray:
    """Who can be asked in a round.  -> (clients,) bool"""
    luck = random_stream(now.seed, "availability", round).random(now.data.clients)
    return np.asarray(luck < now.network.availability)


def _departures(
    now: Experiment, round: int, clock: float, clients: list[int]
) -> tuple[PendingUpdate, ...]:
    if now.network.devices == "none":  # all are equally fast
        return tuple(PendingUpdate(clock + 1.0, client, round - 1) for client in clients)
    sizes = federated_dataset(now).sizes[clients].tolist()
    seen = torch.tensor([now.recipe.seen(size) for size in sizes])
    sent = 4 * now.training.algorithm.shared(now.architecture)
    seconds = durations(now, clients, seen, [sent] * len(clients), sent).tolist()
    return tuple(
        PendingUpdate(clock + second, client, round - 1)
        for second, client in zip(seconds, clients, strict=True)
    )
