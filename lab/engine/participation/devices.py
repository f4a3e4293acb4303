"""Devices: how long a round takes on the clients' own machines, on a simulated clock.

A client takes as long as the model's way down, its local training, and its update's way up.  The
profiles are orders of magnitude of our own; a client's speeds lie around its profile's, by a
log-normal factor that it keeps for the whole run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from lab.common.random_streams import random_stream
from lab.experiment.experiment import Experiment
from lab.interfaces.messages import Cohort

SPREAD = 0.5  # standard deviation of the logarithm of a client's speed
# What share of clients has which device.
FLEETS = {
    "servers": {"server": 1.0},
    "laptops": {"laptop": 1.0},
    "phones": {"phone": 1.0},
    "mixed": {"phone": 0.6, "laptop": 0.3, "server": 0.1},
}


@dataclass(frozen=True)
class Profile:
    """What a device can do."""

    work: float  # operations a second that training sustains
    up: float  # bytes a second
    down: float


PROFILES = {
    "server": Profile(work=1e12, up=125e6, down=125e6),
    "laptop": Profile(work=5e10, up=2.5e6, down=12.5e6),
    "phone": Profile(work=5e9, up=1e6, down=5e6),
}


def on_time(now: Experiment, cohort: Cohort, sent: Tensor) -> Cohort:
    """Who comes too late counts as lost; the round lasts until the last one that is awaited.

    Over-selected clients are late from the cohort's size on, in the order in which they arrive.
    """
    if now.network.devices == "none" or not cohort.clients or cohort.lasted is not None:
        return cohort
    network, sizes = now.network, cohort.packed or (sent.nbytes,) * len(cohort.clients)
    assert cohort.seen is not None
    seconds = durations(now, cohort.clients, cohort.seen, sizes, sent.nbytes)
    late = torch.zeros_like(cohort.lost)
    if network.spare:
        order = seconds.masked_fill(cohort.lost, torch.inf).argsort()
        late[order[now.cohort_size :]] = True
    if network.deadline:
        late |= seconds > network.deadline
    lost = cohort.lost | late
    arrived = seconds[~lost]
    enough = len(arrived) >= (now.cohort_size if network.spare else len(seconds))
    # Whoever is missing is waited for until the deadline, if there is one.
    lasted = float(arrived.max()) if len(arrived) else 0.0
    if network.deadline and not enough:
        lasted = network.deadline
    return replace(cohort, lost=lost, late=late & ~cohort.lost, lasted=lasted)


def durations(
    now: Experiment, clients: Sequence[int], seen: Tensor, sizes: Sequence[int], sent: int
) -> Tensor:
    """How long each client takes, for packets of `sizes` bytes and a model of `sent` bytes.

    seen (clients,): examples that each one goes through -> (clients,)
    """
    speeds = _speeds(now.network.devices, now.seed, now.data.clients)[list(clients)]
    algorithm, work = now.training.algorithm, seen.double() * now.architecture.work
    up = torch.tensor(sizes).double() + sent * (algorithm.up - 1)
    down = torch.full_like(work, sent * algorithm.down)
    needs = torch.stack([work, up, down], dim=1)  # (clients, 3)
    return (needs / speeds).sum(dim=1)


@lru_cache(maxsize=16)
def _speeds(fleet: str, seed: int, clients: int) -> Tensor:
    """-> (clients, 3) operations, bytes up and bytes down a second"""
    names, shares = zip(*FLEETS[fleet].items(), strict=True)
    rows = []
    for client in range(clients):
        generator = random_stream(seed, "device", client)
        profile = PROFILES[names[int(generator.choice(len(names), p=shares))]]
        usual = torch.tensor([profile.work, profile.up, profile.down], dtype=torch.float64)
        rows.append(usual * torch.from_numpy(generator.lognormal(0, SPREAD, 3)))
    return torch.stack(rows)
