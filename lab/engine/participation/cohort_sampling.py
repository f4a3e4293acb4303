"""Cohorts: which clients take part in a round, and which of them are lost on the way."""

from __future__ import annotations

from math import ceil

import numpy as np

from lab.common.random_streams import private_stream, random_stream, secret_stream
from lab.engine.participation.async_schedule import async_round, available
from lab.experiment.experiment import Experiment


def is_poisson(experiment: Experiment) -> bool:
    """Client-level privacy is amplified only by a cohort whose clients are drawn independently."""
    privacy = experiment.privacy
    independent = privacy.kind == "client" and privacy.sampling == "poisson"
    return independent and client_rate(experiment) < 1


def is_secret(experiment: Experiment) -> bool:
    """Whether cohorts come from the operating system, so that no seed tells who takes part.

    Only where a guarantee may count on that: against a server, who takes part is no secret.
    """
    return experiment.privacy.kind == "client" and experiment.privacy.secure_noise


def client_rate(experiment: Experiment) -> float:
    """The chance that a given client is asked in a given round."""
    return experiment.cohort_size / experiment.data.clients


def select_cohort(experiment: Experiment, round: int, guests: int = 0) -> tuple[int, ...]:
    """The clients of a round, in order.  A Poisson cohort may be empty.

    guests: further clients, numbered after the others, who are drawn as they are where draws are
    independent, and otherwise always there; nobody else's draw depends on them
    """
    if experiment.at(round).training.algorithm.asynchronous:
        return tuple(flight.client for flight in async_round(experiment, round).flights)
    experiment = experiment.at(round)
    clients, generator = experiment.data.clients, _draws(experiment, round)
    if is_poisson(experiment):
        drawn = (generator.random(clients + guests) < client_rate(experiment)).nonzero()[0]
    else:
        asked = ceil(experiment.cohort_size * (1 + experiment.network.spare))
        order, there = generator.permutation(clients), available(experiment, round)
        drawn = np.append(order[there[order]][:asked], np.arange(clients, clients + guests))
    return tuple(sorted(int(client) for client in drawn))


def _draws(now: Experiment, round: int) -> np.random.Generator:
    """The random stream of a round's cohort."""
    if is_secret(now):
        return secret_stream(now.seed, now.nonce, "cohort", round)
    if now.privacy.kind == "client":
        return private_stream(now.seed, now.nonce, "cohort", round)
    return random_stream(now.seed, "cohort", round)


def dropped_clients(experiment: Experiment, round: int) -> tuple[int, ...]:
    """The clients whose update does not arrive in a round, if they are asked."""
    luck = random_stream(experiment.seed, "dropout", round).random(experiment.data.clients)
    return tuple(int(client) for client in (luck < experiment.network.dropout).nonzero()[0])
