"""A quick look: what the server can read right now, by the cheapest attack that suits the model.

It looks over each round as it ends, at another client every time, and takes a second at most.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attacks import PRIVACY_ATTACKS
from lab.attack_runs.reconstruction.reconstruction import run_reconstruction
from lab.common.settings import SettingError
from lab.engine.run_state import RoundResult
from lab.interfaces.privacy_attacks import ReconstructionAttack
from lab.models.network import Network
from lab.scoring.attack_result import AttackProgress
from lab.scoring.reconstruction.image_scorer import ImageScore
from lab.scoring.reconstruction.text_score import TextScore

CHEAP = ("first-layer", "tokens", "idlg")  # the quickest first
SECONDS = 1.0  # that a look may take
APART = 0.2  # seconds between two looks at the clock


def quick_look(moment: RoundResult) -> AttackProgress | None:
    """What one client's update shows; None where nothing came, or no cheap attack suits."""
    if not (arrived := moment.record.arrived):
        return None
    return quick_look_at(moment, arrived[moment.record.round % len(arrived)])


def quick_look_at(
    moment: RoundResult, target: int, seconds: float = SECONDS
) -> AttackProgress | None:
    """The same of one client, as far as an attack gets in that time."""
    spy = cheapest(moment.transcript.network)
    if spy is None:
        return None
    found, end = None, time.monotonic() + seconds
    try:
        for glimpse in run_reconstruction(spy, moment, target, APART):
            found = glimpse
            if time.monotonic() > end:
                break
    except SettingError:  # an empty batch, or a round that leaves nothing to attack
        return None
    return found


def cheapest(network: Network) -> ReconstructionAttack | None:
    for kind in CHEAP:
        spy = PRIVACY_ATTACKS[kind]()
        try:
            spy.suits(network)
        except SettingError:
            continue
        if isinstance(spy, ReconstructionAttack):
            return spy
    return None


@dataclass(frozen=True)
class QuickLook:
    """How near the cheapest attack came to one client's examples."""

    round: int
    value: float  # dB of pictures; F1 of words
    floor: float  # what a guess without the update reaches
    unit: str


def quick_looks(bodies: Mapping[int, Mapping[str, Any]]) -> list[QuickLook]:
    """bodies: what the store keeps of a glimpse, by round"""
    found = [_measured(round, body) for round, body in bodies.items()]
    return [one for one in found if one is not None]


def _measured(round: int, body: Mapping[str, Any]) -> QuickLook | None:
    kind = body.get("score", {}).get("kind")
    if kind == "images":
        images = ImageScore.read(body["score"])
        return QuickLook(round, images.psnr, images.floor, "dB")
    if kind == "text":
        text = TextScore.read(body["score"])
        return QuickLook(round, text.f1, text.floor, "F1 of words")
    return None
