"""Glances: what was read off an update in each round of a run that was watched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.scoring.reconstruction.image_scorer import Likeness
from lab.scoring.reconstruction.text_score import Wording


@dataclass(frozen=True)
class Glance:
    """How near the cheapest attack came to one client's examples."""

    round: int
    value: float  # dB of pictures; F1 of words
    floor: float  # what a guess without the update reaches
    unit: str


def glances(bodies: Mapping[int, Mapping[str, Any]]) -> list[Glance]:
    """bodies: what the store keeps of a glimpse, by round"""
    found = [_glance(round, body) for round, body in bodies.items()]
    return [one for one in found if one is not None]


def _glance(round: int, body: Mapping[str, Any]) -> Glance | None:
    if "likeness" in body:
        likeness = Likeness.read(body["likeness"])
        return Glance(round, likeness.psnr, likeness.floor, "dB")
    if "wording" in body:
        wording = Wording.read(body["wording"])
        return Glance(round, wording.f1, wording.floor, "F1 of words")
    return None
