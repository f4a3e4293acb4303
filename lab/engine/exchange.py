"""The exchange: what happens to clients' updates between local training and the aggregation rule.

The order of the steps is the meaning of the exchange, so it stands in one list, `STEPS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lab.engine.data.federation import federated_dataset
from lab.engine.differential_privacy.update_clipping import UpdateClipping
from lab.engine.differential_privacy.update_transforms import privacy_transforms, within_masks
from lab.engine.participation.cohort_sampling import is_poisson
from lab.engine.participation.devices import on_time
from lab.experiment.experiment import Experiment
from lab.interfaces.aggregation import Channel
from lab.interfaces.messages import Cohort, ReceivedUpdates
from lab.interfaces.poisoning import NO_KNOWLEDGE, AdversaryKnowledge
from lab.privacy.adaptive_clipping import next_clip

# Settings of secure aggregation that its channel does not need.
LAB_ONLY = ("enabled", "on_abort", "norm")
WILD = 1e15  # nobody's loss explains such a factor, and squares of more overflow in float32


@dataclass(frozen=True, eq=False)
class Wire:
    """What is fixed for the exchange of one round."""

    settings: Experiment  # in force in the round
    sent: Tensor  # (shared,) the model as it travelled to the clients
    clipping: UpdateClipping | None = None  # of client-level privacy
    residuals: Tensor | None = None  # (clients, params) what compression has lost so far
    insight: AdversaryKnowledge = NO_KNOWLEDGE  # of malicious clients


@dataclass(frozen=True, eq=False)
class Outgoing:
    """Updates on their way from the clients to the server."""

    updates: Tensor  # (clients, shared)
    clip_bits: Tensor  # (clients, 1), or (clients, 0) where the clip does not adapt
    cohort: Cohort
    residuals: Tensor | None = None  # (clients, params) for the next round
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> Tensor:
        """Each client's update with its bit behind it, as one message."""
        if not self.clip_bits.shape[1]:
            return self.updates
        return torch.cat([self.updates, self.clip_bits], dim=1)

    def with_rows(self, rows: Tensor, cohort: Cohort) -> Outgoing:
        """Return a copy with other messages from those clients."""
        shared = self.updates.shape[1]
        return replace(self, updates=rows[:, :shared], clip_bits=rows[:, shared:], cohort=cohort)


@dataclass(frozen=True, eq=False)
class ExchangeResult:
    """What came of a round's messages."""

    delivery: ReceivedUpdates
    cohort: Cohort  # with everybody lost whose update did not arrive
    residuals: Tensor | None  # (clients, params) for the next round
    notes: tuple[str, ...]
    clip: float | None = None  # in force, where it adapts
    next_clip: Tensor | None = None  # (1,) float64


def exchange(wire: Wire, updates: Tensor, cohort: Cohort) -> ExchangeResult:
    """Carry out the clients' side of the wire, and the wire.  updates (clients, shared)"""
    outgoing = Outgoing(updates, updates[:, :0], cohort)
    for step in STEPS:
        outgoing = step(wire, outgoing)
    return transmit(wire, outgoing)


def protect(wire: Wire, outgoing: Outgoing) -> Outgoing:
    """Clip updates and add the clients' noise, as privacy asks; note who was clipped."""
    rows, cohort = outgoing.updates, outgoing.cohort
    params = rows.shape[1]
    if wire.settings.privacy.kind == "client":
        # Nobody's overflow may show in who arrives: it counts as no update.
        rows = torch.where(rows.isfinite().all(dim=1, keepdim=True), rows, 0.0)
    for stage in privacy_transforms(wire.settings, wire.clipping, "client"):
        before = rows
        rows = stage(before, cohort)
        if stage.kind == "clip" and wire.clipping and wire.settings.privacy.adapts:
            rows = wire.clipping.with_bits(before, rows)
    return replace(outgoing, updates=rows[:, :params], clip_bits=rows[:, params:])


def poison(wire: Wire, outgoing: Outgoing) -> Outgoing:
    """Let malicious clients change their updates.  None of them lies about its bit."""
    if not outgoing.cohort.malicious.any():
        return outgoing
    attack = wire.settings.adversary.attack
    return replace(outgoing, updates=attack.rows(outgoing.updates, outgoing.cohort, wire.insight))


def compress(wire: Wire, outgoing: Outgoing) -> Outgoing:
    """Replace each message by what the server unpacks; who comes too late counts as lost.

    With error feedback what compression loses is added in the next round (Seide et al. 2014;
    Karimireddy et al. 2019, arXiv:1901.09847, algorithm 2).  A client whose packet is lost carries
    all of it over.  A row that is no row of numbers travels as it is.
    """
    settings, cohort, rows = wire.settings, outgoing.cohort, outgoing.rows
    codec, who = settings.network.compression, list(cohort.clients)
    if codec.kind == "none":
        return replace(outgoing, cohort=on_time(settings, cohort, wire.sent))
    residuals = wire.residuals
    if settings.network.error_feedback:
        if residuals is None:
            residuals = torch.zeros(settings.data.clients, rows.shape[1])
        rows = rows + residuals[who]
    sound = rows.isfinite().all(dim=1, keepdim=True)  # (clients, 1)
    slots = settings.architecture.slots.values()
    shapes = [shape for place, shape in slots if place.stop <= rows.shape[1]]
    unpacked, sizes = codec.transmit(torch.where(sound, rows, 0.0), cohort, shapes)
    cohort = on_time(settings, replace(cohort, packed=tuple(sizes)), wire.sent)
    arrived = outgoing.with_rows(torch.where(sound, unpacked, rows), cohort)
    if not settings.network.error_feedback or residuals is None:
        return arrived
    left = torch.where(cohort.lost.unsqueeze(1), rows, rows - unpacked)  # (clients, params)
    carried = residuals.clone()
    carried[who] = torch.where(sound, left, 0.0)
    return replace(arrived, residuals=carried)


def drop_not_finite(wire: Wire, outgoing: Outgoing) -> Outgoing:
    """Count a message that is not all finite as lost, and report it."""
    rows = outgoing.rows
    # A sum of numbers may overflow, but a sum with something else in it is never a number.
    if rows.sum(dim=1).isfinite().all():
        return outgoing
    return _without(outgoing, ~rows.isfinite().all(dim=1), "not finite")


def drop_out_of_scale(wire: Wire, outgoing: Outgoing) -> Outgoing:
    """Count a message of quite another scale as lost, too.

    This guards the arithmetic and is no defence: most attacks stay far below WILD times the length
    that half of the messages have.
    """
    # Under masks the server sees no length; under client-level privacy one client's must not
    # decide whether another's counts.
    if wire.settings.secure_aggregation.enabled or wire.settings.privacy.kind == "client":
        return outgoing
    lengths = torch.linalg.vector_norm(outgoing.rows, dim=1)  # (clients,), inf where it overflows
    there = lengths[~outgoing.cohort.lost]
    usual = float(there.median()) if len(there) else 0.0
    return _without(outgoing, (lengths > WILD * usual) & (usual > 0), "of another scale")


# An update is poisoned after it was protected: an attacker protects nothing.
STEPS: tuple[Callable[[Wire, Outgoing], Outgoing], ...] = (
    protect,
    poison,
    compress,
    drop_not_finite,
    drop_out_of_scale,
)


def transmit(wire: Wire, outgoing: Outgoing) -> ExchangeResult:
    """Send what is left through the channel, plain or masked."""
    settings, sent = wire.settings, wire.sent
    delivery = channel(settings, wire.clipping)(outgoing.rows, outgoing.cohort, sent)
    cohort = replace(outgoing.cohort, lost=~delivery.arrived, carried=delivery.carried)
    notes = (*outgoing.notes, delivery.note) if delivery.note else outgoing.notes
    clip, ahead = None, None
    if wire.clipping and settings.privacy.adapts:
        clip = wire.clipping.bound
        delivery, ahead = _adapted(wire, wire.clipping, delivery, cohort)
    delivery = _with_extra_bytes(settings, delivery, cohort, sent)
    return ExchangeResult(delivery, cohort, outgoing.residuals, notes, clip, ahead)


def channel(settings: Experiment, clipping: UpdateClipping | None) -> Channel:
    """Return the channel of a round under those settings."""
    masks, privacy = settings.secure_aggregation, settings.privacy
    if not settings.training.algorithm.talks:
        return Channel.pick("silent")
    if not masks.enabled:
        return Channel.pick("plain")
    heaviest = float(federated_dataset(settings).sizes.max()) if settings.recipe.weighted else 1.0
    given = masks.dump() | {"kind": "masked", "heaviest": heaviest}
    if clipping:
        given["most"] = settings.data.clients if is_poisson(settings) else 0
        if within_masks(settings):
            given |= {"bound": clipping.longest, "longest": clipping.longest}
            given |= {"deviation": clipping.deviation, "secure": privacy.secure_noise}
        elif privacy.place == "central":  # clipped rows are no larger, and a finer ring rounds less
            given["bound"] = clipping.longest
        else:  # the ring must not clip what the noise needs
            given["bound"] = max(masks.bound, clipping.largest)
    return Channel.pick({name: given[name] for name in given if name not in LAB_ONLY})


def _adapted(
    wire: Wire, clipping: UpdateClipping, delivery: ReceivedUpdates, cohort: Cohort
) -> tuple[ReceivedUpdates, Tensor]:
    """Return the delivery without the bits, and the clip of the next round that follows from them.

    Bits are released as updates are: the sum with all of its noise, over the expected cohort.
    """
    params = len(wire.sent)
    shares = delivery.weights / delivery.weights.sum()
    bits = shares @ delivery.rows[:, params:] if len(delivery.rows) else torch.zeros(1)
    bits = bits.unsqueeze(0)  # (1, 1)
    for stage in privacy_transforms(wire.settings, clipping, "server", "missing noise of bits"):
        bits = stage(bits, cohort)
    ahead = next_clip(clipping.bound, clipping.share(bits), wire.settings.privacy.quantile)
    without = replace(delivery, rows=delivery.rows[:, :params])
    return without, torch.tensor([ahead], dtype=torch.float64)


def _with_extra_bytes(
    settings: Experiment, delivery: ReceivedUpdates, cohort: Cohort, sent: Tensor
) -> ReceivedUpdates:
    """Add the bytes that some algorithms send besides update and model."""
    algorithm = settings.training.algorithm
    if not algorithm.talks:
        return delivery
    up = (algorithm.up - 1) * sent.nbytes * cohort.present
    down = (algorithm.down - 1) * sent.nbytes * len(cohort.clients)
    return replace(delivery, bytes_up=delivery.bytes_up + up, bytes_down=delivery.bytes_down + down)


def _without(outgoing: Outgoing, broken: Tensor, why: str) -> Outgoing:
    """Count the messages that are `broken` (clients,) as lost."""
    cohort = outgoing.cohort
    if cohort.broken is not None:
        broken = broken & ~cohort.broken
    if not broken.any():
        return outgoing
    who = ", ".join(str(c) for c, bad in zip(cohort.clients, broken, strict=True) if bad)
    rows = torch.where(broken.unsqueeze(1), torch.zeros(()), outgoing.rows)
    known = broken if cohort.broken is None else cohort.broken | broken
    cohort = replace(cohort, lost=cohort.lost | broken, broken=known)
    notes = (*outgoing.notes, f"{why}, left out: client {who}")
    return replace(outgoing.with_rows(rows, cohort), notes=notes)
