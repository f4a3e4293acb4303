"""The exchange: what happens to the clients' rows between local training and the server's rule."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lab.engine.data.federation import assemble
from lab.engine.differential_privacy.update_clipping import CLIP, clipping
from lab.engine.differential_privacy.update_transforms import NOTHING, stages, within_masks
from lab.engine.participation.cohort_sampling import is_poisson
from lab.engine.participation.devices import on_time
from lab.experiment.experiment import Experiment
from lab.interfaces.aggregation import Channel
from lab.interfaces.federated_algorithm import Memory
from lab.interfaces.messages import Cohort, Delivery
from lab.interfaces.poisoning import IGNORANT, Insight
from lab.privacy.adaptive_clipping import next_clip

# Settings of secure aggregation that its channel does not need.
LAB_ONLY = ("enabled", "on_abort", "norm")
WILD = 1e15  # nobody's loss explains such a factor, and squares of more overflow in float32
RESIDUALS = "residuals"  # in a state's memory: (clients, params) what packing lost so far
CARRIED = (RESIDUALS, CLIP)  # what the exchange remembers, and no algorithm


@dataclass(frozen=True, eq=False)
class Exchange:
    """What came of a round's messages."""

    delivery: Delivery
    party: Cohort  # with everybody lost whose update did not arrive
    carried: Memory  # for the next round
    notes: tuple[str, ...]
    clip: float | None = None  # in force, where it adapts


def exchange(
    experiment: Experiment,
    rows: Tensor,
    party: Cohort,
    sent: Tensor,
    memory: Memory,
    insight: Insight = IGNORANT,
) -> Exchange:
    """The clients' side of the wire, and the wire.

    rows (clients, shared), sent (shared,): what travels
    insight: of malicious clients
    """
    now, round = experiment.at(party.round), party.round
    rows, bits = guarded(experiment, rows, party, memory)
    if party.malicious.any():  # a poison is of updates: whoever sends it does not lie about its bit
        rows = now.adversary.poison.rows(rows, party, insight)
    rows = torch.cat([rows, bits], dim=1) if now.privacy.adapts else rows
    rows, party, carried = packed(now, rows, party, memory.get(RESIDUALS), sent)
    rows, party, notes = only_numbers(rows, party)
    # Under masks the server sees no length; under client-level privacy one client's must not
    # decide whether another's counts.
    if not (now.secure_aggregation.enabled or now.privacy.kind == "client"):
        rows, party, wild = only_measured(rows, party)
        notes += wild
    delivery = channel(experiment, round, memory)(rows, party, sent)
    party = replace(party, lost=~delivery.arrived, carried=delivery.carried)
    notes += [delivery.note] if delivery.note else []
    clip = None
    if now.privacy.adapts:
        clip = clipping(experiment, round, memory).bound
        delivery, ahead = adapted(experiment, delivery, party, memory, len(sent))
        carried = {**carried, CLIP: torch.tensor([ahead], dtype=torch.float64)}
    return Exchange(_besides(now, delivery, party, sent), party, carried, tuple(notes), clip)


def guarded(
    experiment: Experiment, rows: Tensor, party: Cohort, memory: Memory
) -> tuple[Tensor, Tensor]:
    """What privacy makes of the rows, and the bits of adaptive clipping.

    rows (clients, params) -> (clients, params), (clients, 1 or 0)
    """
    params = rows.shape[1]
    if experiment.at(party.round).privacy.kind == "client":
        # Nobody's overflow may show in who arrives: it counts as no update.
        rows = torch.where(rows.isfinite().all(dim=1, keepdim=True), rows, 0.0)
    for stage in stages(experiment, party.round, "client", memory):
        before, rows = rows, stage(rows, party)
        if stage.kind == "clip" and experiment.at(party.round).privacy.adapts:
            rows = clipping(experiment, party.round, memory).with_bits(before, rows)
    return rows[:, :params], rows[:, params:]


def adapted(
    experiment: Experiment, delivery: Delivery, party: Cohort, memory: Memory, params: int
) -> tuple[Delivery, float]:
    """The delivery without the bits, and the clip of the next round, which follows from them.

    Bits are released as updates are: the sum with all of its noise, over the expected cohort.
    """
    shares = delivery.weights / delivery.weights.sum()
    bits = shares @ delivery.rows[:, params:] if len(delivery.rows) else torch.zeros(1)
    bits = bits.unsqueeze(0)  # (1, 1)
    for stage in stages(experiment, party.round, "server", memory, "missing noise of bits"):
        bits = stage(bits, party)
    found = clipping(experiment, party.round, memory)
    quantile = experiment.at(party.round).privacy.quantile
    ahead = next_clip(found.bound, found.share(bits), quantile)
    return replace(delivery, rows=delivery.rows[:, :params]), ahead


def _besides(now: Experiment, delivery: Delivery, party: Cohort, sent: Tensor) -> Delivery:
    """With the bytes that some algorithms send besides update and model."""
    algorithm = now.training.algorithm
    if not algorithm.talks:
        return delivery
    up = (algorithm.up - 1) * sent.nbytes * party.present
    down = (algorithm.down - 1) * sent.nbytes * len(party.clients)
    return replace(delivery, bytes_up=delivery.bytes_up + up, bytes_down=delivery.bytes_down + down)


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
    return _without(rows, party, ~rows.isfinite().all(dim=1), "not finite")


def only_measured(rows: Tensor, party: Cohort) -> tuple[Tensor, Cohort, list[str]]:
    """A row of quite another scale counts as lost, too.

    This guards the arithmetic and is no defence: most attacks stay far below WILD times the length
    that half of the rows have.
    """
    lengths = torch.linalg.vector_norm(rows, dim=1)  # (clients,); infinite where it overflows
    there = lengths[~party.lost]
    usual = float(there.median()) if len(there) else 0.0
    return _without(rows, party, (lengths > WILD * usual) & (usual > 0), "of another scale")


def _without(
    rows: Tensor, party: Cohort, broken: Tensor, why: str
) -> tuple[Tensor, Cohort, list[str]]:
    broken = broken & ~(torch.zeros_like(broken) if party.broken is None else party.broken)
    if not broken.any():
        return rows, party, []
    who = ", ".join(str(c) for c, bad in zip(party.clients, broken, strict=True) if bad)
    rows = torch.where(broken.unsqueeze(1), torch.zeros(()), rows)
    known = broken if party.broken is None else party.broken | broken
    party = replace(party, lost=party.lost | broken, broken=known)
    return rows, party, [f"{why}, left out: client {who}"]


def channel(experiment: Experiment, round: int, memory: Memory = NOTHING) -> Channel:
    now = experiment.at(round)
    masks, privacy = now.secure_aggregation, now.privacy
    if not now.training.algorithm.talks:
        return Channel.pick("silent")
    if not masks.enabled:
        return Channel.pick("plain")
    heaviest = float(assemble(now).sizes.max()) if now.recipe.weighted else 1.0
    given = masks.dump() | {"kind": "masked", "heaviest": heaviest}
    if privacy.kind == "client":
        found = clipping(experiment, round, memory)
        given["most"] = now.data.clients if is_poisson(now) else 0
        if within_masks(now):
            given |= {"bound": found.longest, "longest": found.longest}
            given |= {"deviation": found.deviation, "secure": privacy.secure_noise}
        elif privacy.place == "central":  # clipped rows are no larger, and a finer ring rounds less
            given["bound"] = found.longest
        else:  # the ring must not clip what the noise needs
            given["bound"] = max(masks.bound, found.largest)
    return Channel.pick({name: given[name] for name in given if name not in LAB_ONLY})
