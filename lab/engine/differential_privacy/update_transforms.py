"""The transforms of updates that privacy asks for, in their order."""

from __future__ import annotations

from typing import Any

from lab.engine.differential_privacy.update_clipping import UpdateClipping
from lab.experiment.experiment import Experiment
from lab.interfaces.aggregation import UpdateTransform


def privacy_transforms(
    settings: Experiment,
    clipping: UpdateClipping | None,
    side: str,
    missing: str = "missing noise",
) -> list[UpdateTransform]:
    """Return what one round's privacy does to the updates on one side of the wire, in order.

    settings: in force in that round; clipping: of client-level privacy, None without it
    missing: the stream of the server's noise
    """
    privacy, masks = settings.privacy, settings.secure_aggregation
    if clipping is None:
        shortened = side == "client" and masks.enabled and masks.norm
        return [UpdateTransform.pick({"kind": "clip", "bound": masks.norm})] if shortened else []
    place = "masked" if within_masks(settings) else privacy.place
    drawn = {"deviation": clipping.deviation, "place": place, "secure": privacy.secure_noise}
    chain: list[dict[str, Any]] = [
        {"kind": "clip", "bound": clipping.bound, "per_layer": privacy.per_layer},
        {"kind": "noise", **drawn},
        {"kind": "release", "name": missing, **drawn},
    ]
    if place in ("central", "masked"):
        del chain[1]
    if place == "masked":
        chain[-1]["surplus"] = masks.surplus
    return [stage for stage in map(UpdateTransform.pick, chain) if stage.side == side]


def within_masks(settings: Experiment) -> bool:
    """Return True where clients add their shares of the noise in the ring, under the masks."""
    private = settings.privacy.kind == "client" and settings.privacy.place == "distributed"
    return private and settings.secure_aggregation.enabled and settings.training.algorithm.talks
