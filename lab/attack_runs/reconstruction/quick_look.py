"""The lookout: what the server can read right now, by the cheapest attack that suits the model.

It looks over each round as it ends, at another client every time, and takes a second at most.
"""

from __future__ import annotations

import time

from attacks import SPIES
from lab.attack_runs.reconstruction.reconstruction import Glimpse, reconstruct
from lab.common.settings import SettingError
from lab.engine.run import Moment
from lab.interfaces.privacy_attacks import Reconstruction
from lab.models.network import Network

CHEAP = ("first-layer", "tokens", "idlg")  # the quickest first
SECONDS = 1.0  # that a look may take
APART = 0.2  # seconds between two looks at the clock


def glance(moment: Moment) -> Glimpse | None:
    """What one client's update shows; None where nothing came, or no cheap attack suits."""
    if not (arrived := moment.record.arrived):
        return None
    return look(moment, arrived[moment.record.round % len(arrived)])


def look(moment: Moment, target: int, seconds: float = SECONDS) -> Glimpse | None:
    """The same of one client, as far as an attack gets in that time."""
    spy = cheapest(moment.transcript.network)
    if spy is None:
        return None
    found, end = None, time.monotonic() + seconds
    try:
        for glimpse in reconstruct(spy, moment, target, APART):
            found = glimpse
            if time.monotonic() > end:
                break
    except SettingError:  # an empty batch, or a round that leaves nothing to attack
        return None
    return found


def cheapest(network: Network) -> Reconstruction | None:
    for kind in CHEAP:
        spy = SPIES[kind]()
        try:
            spy.suits(network)
        except SettingError:
            continue
        if isinstance(spy, Reconstruction):
            return spy
    return None
