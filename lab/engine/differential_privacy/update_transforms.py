"""The transforms of updates that privacy asks for, in their order."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from lab.engine.differential_privacy.update_clipping import clipping
from lab.experiment.experiment import Experiment
from lab.interfaces.aggregation import Stage
from lab.interfaces.federated_algorithm import Memory

NOTHING: Memory = MappingProxyType({})


def stages(
    experiment: Experiment,
    round: int,
    side: str,
    memory: Memory = NOTHING,
    missing: str = "missing noise",
) -> list[Stage]:
    """What the round's privacy does to the rows on one side of the wire, in order.

    missing: the stream of the server's noise
    """
    now = experiment.at(round)
    privacy, masks = now.privacy, now.secure_aggregation
    if privacy.kind != "client":
        shortened = side == "client" and masks.enabled and masks.norm
        return [Stage.pick({"kind": "clip", "bound": masks.norm})] if shortened else []
    found = clipping(experiment, round, memory)
    place = "masked" if within_masks(now) else privacy.place
    drawn = {"deviation": found.deviation, "place": place, "secure": privacy.secure_noise}
    chain: list[dict[str, Any]] = [
        {"kind": "clip", "bound": found.bound, "per_layer": privacy.per_layer},
        {"kind": "noise", **drawn},
        {"kind": "release", "name": missing, **drawn},
    ]
    if place in ("central", "masked"):
        del chain[1]
    if place == "masked":
        chain[-1]["surplus"] = masks.surplus
    return [stage for stage in map(Stage.pick, chain) if stage.side == side]


def within_masks(now: Experiment) -> bool:
    """Whether clients add their shares of the noise in the ring, under the masks."""
    private = now.privacy.kind == "client" and now.privacy.place == "distributed"
    return private and now.secure_aggregation.enabled and now.training.algorithm.talks
