"""The exchange: what happens to the clients' rows between local training and the server's rule."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lab.accountant import noise_multiplier
from lab.assembly import assemble
from lab.devices import on_time
from lab.experiment import Experiment
from lab.parts import Channel, Stage
from lab.wire import Cohort, Delivery, Memory

LAB_ONLY = ("enabled", "on_abort")  # settings of secure aggregation that its channel does not need
RESIDUALS = "residuals"  # in a state's memory: (clients, params) what packing lost so far


@dataclass(frozen=True, eq=False)
class Exchange:
    """What came of a round's messages."""

    delivery: Delivery
    party: Cohort  # with everybody lost whose update did not arrive
    carried: Memory  # for the next round
    notes: tuple[str, ...]


def exchange(
    experiment: Experiment, rows: Tensor, party: Cohort, sent: Tensor, memory: Memory
) -> Exchange:
    """The clients' side of the wire, and the wire.

    rows (clients, shared), sent (shared,): what travels
    """
    now, round = experiment.at(party.round), party.round
    for stage in stages(experiment, round, "client"):
        rows = stage(rows, party)
    if party.malicious.any():
        rows = now.adversary.poison.rows(rows, party)
    rows, party, carried = packed(now, rows, party, memory.get(RESIDUALS), sent)
    rows, party, notes = only_numbers(rows, party)
    delivery = channel(experiment, round)(rows, party, sent)
    party = replace(party, lost=~delivery.arrived)
    notes += [delivery.note] if delivery.note else []
    return Exchange(_besides(now, delivery, party, sent), party, carried, tuple(notes))


def _besides(now: Experiment, delivery: Delivery, party: Cohort, sent: Tensor) -> Delivery:
    """With the bytes that some algorithms send besides update and model."""
    algorithm = now.training.algorithm
    if not algorithm.talks:
        return delivery
    up = (algorithm.up - 1) * sent.nbytes * party.present
    down = (algorithm.down - 1) * sent.nbytes * len(party.clients)
    return replace(delivery, bytes_up=delivery.bytes_up + up, bytes_down=delivery.bytes_down + down)


def stages(experiment: Experiment, round: int, side: str) -> list[Stage]:
    """What the round's privacy does to the rows on one side of the wire, in order."""
    privacy = experiment.at(round).privacy
    if privacy.kind != "client":
        return []
    deviation = noise_multiplier(experiment, round) * privacy.clip
    chain = (
        {"kind": "clip", "bound": privacy.clip},
        {"kind": "noise", "deviation": deviation},
        {"kind": "release", "deviation": deviation},
    )
    return [stage for stage in map(Stage.pick, chain) if stage.side == side]


def packed(
    now: Experiment, rows: Tensor, party: Cohort, residuals: Tensor | None, sent: Tensor
) -> tuple[Tensor, Cohort, Memory]:
    """The rows as the server unpacks them, who is on time, and what error feedback carries over.

    Seide et al. 2014; Karimireddy et al. 2019, arXiv:1901.09847, algorithm 2.  A client whose
    packet is lost carries all of it over.  A row that is no row of numbers travels as it is.
    """
    codec, who = now.network.compression, list(party.clients)
    if codec.kind == "none":
        return rows, on_time(now, party, sent), {}
    if now.network.error_feedback:
        residuals = torch.zeros(now.data.clients, rows.shape[1]) if residuals is None else residuals
        rows = rows + residuals[who]
    sound = rows.isfinite().all(dim=1, keepdim=True)  # (clients, 1)
    slots = now.architecture.slots.values()
    shapes = [shape for place, shape in slots if place.stop <= rows.shape[1]]
    unpacked, sizes = codec.transmit(torch.where(sound, rows, 0.0), party, shapes)
    party = on_time(now, replace(party, packed=tuple(sizes)), sent)
    if not now.network.error_feedback or residuals is None:
        return torch.where(sound, unpacked, rows), party, {}
    left = torch.where(party.lost.unsqueeze(1), rows, rows - unpacked)  # (clients, params)
    carried = residuals.clone()
    carried[who] = torch.where(sound, left, 0.0)
    return torch.where(sound, unpacked, rows), party, {RESIDUALS: carried}


def only_numbers(rows: Tensor, party: Cohort) -> tuple[Tensor, Cohort, list[str]]:
    """A row that is not all finite counts as lost, and is reported, not averaged in."""
    # A sum of numbers may overflow, but a sum with something else in it is never a number.
    if rows.sum(dim=1).isfinite().all():
        return rows, party, []
    broken = ~rows.isfinite().all(dim=1)  # (clients,)
    if not broken.any():
        return rows, party, []
    who = ", ".join(str(c) for c, bad in zip(party.clients, broken, strict=True) if bad)
    rows = torch.where(broken.unsqueeze(1), torch.zeros(()), rows)
    party = replace(party, lost=party.lost | broken, broken=broken)
    return rows, party, [f"not finite, left out: client {who}"]


def channel(experiment: Experiment, round: int) -> Channel:
    now = experiment.at(round)
    masks, privacy = now.secure_aggregation, now.privacy
    if not now.training.algorithm.talks:
        return Channel.pick("silent")
    if not masks.enabled:
        return Channel.pick("plain")
    heaviest = float(assemble(now).sizes.max()) if now.recipe.weighted else 1.0
    bound = masks.bound
    if privacy.kind == "client":
        # The ring must not clip what the noise needs: eight deviations are never passed.
        deviation = noise_multiplier(experiment, round) * privacy.clip
        bound = max(bound, privacy.clip + 8 * deviation)
    given = masks.dump() | {"kind": "masked", "bound": bound, "heaviest": heaviest}
    return Channel.pick({name: given[name] for name in given if name not in LAB_ONLY})
