"""Hardware: where local training computes.  Everything else stays with the processor."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import torch

from lab.interfaces.data import FederatedDataset

CONTAINER = (  # files with the memory limit of a container
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


@lru_cache(maxsize=1)
def memory_bytes() -> int:
    """Main memory of this machine, or of the container; 0 where the system does not say."""
    found = []
    with suppress(ValueError, OSError, AttributeError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for file in CONTAINER:
        with suppress(ValueError, OSError):
            found.append(int(file.read_text(encoding="ascii")))
    return min(found, default=0)


def device_of(name: str) -> torch.device:
    """name: cpu, or auto for the graphics processor where there is one"""
    there = name == "auto" and torch.cuda.is_available()
    return torch.device("cuda" if there else "cpu")


def moved(federation: FederatedDataset, device: torch.device) -> FederatedDataset:
    """The same examples on that device, kept there; who holds which stays where it is."""
    return federation if device.type == "cpu" else _moved(federation, device)


@lru_cache(maxsize=2)
def _moved(federation: FederatedDataset, device: torch.device) -> FederatedDataset:
    return federation.moved(device)
