"""Hardware: where local training computes.  Everything else stays with the processor."""

from __future__ import annotations

from functools import lru_cache

import torch

from lab.federation import Federation


def device_of(name: str) -> torch.device:
    """name: cpu, or auto for the graphics processor where there is one"""
    there = name == "auto" and torch.cuda.is_available()
    return torch.device("cuda" if there else "cpu")


def moved(federation: Federation, device: torch.device) -> Federation:
    """The same examples on that device, kept there; who holds which stays where it is."""
    return federation if device.type == "cpu" else _moved(federation, device)


@lru_cache(maxsize=2)
def _moved(federation: Federation, device: torch.device) -> Federation:
    return federation.moved(device)
