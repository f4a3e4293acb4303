"""What crosses the wire in a round: who was asked, what the server got, what everybody may know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

import numpy as np
import torch
from torch import Tensor

from lab.common.random_streams import private_stream, random_stream
from lab.models.network import Network


@dataclass(frozen=True)
class TrainingPlan:
    """What the server tells every client to do; so an attacker at the server knows it."""

    epochs: int
    cap: int  # most local steps of a round; 0 for no cap
    batch_size: int
    rate: float
    poisson: float | None  # chance of each example to be in a batch, where batches are drawn so
    weighted: bool  # whether clients report how many examples they hold
    mean_size: float  # examples of an average client

    def local_steps(self, size: int) -> int:
        """Gradient steps that a client with `size` examples takes in a round."""
        batches = -(-size // self.batch_size)
        if self.poisson:
            batches = ceil(1 / self.poisson - 1e-9)  # rounding must not make 49.0000001 a 50
        steps = self.epochs * batches if size else 0
        return min(steps, self.cap) if self.cap else steps

    def seen(self, size: int) -> float:
        """Examples that such a client goes through in a round, repeated ones counted again."""
        batch = self.poisson * size if self.poisson else float(self.batch_size)
        return min(self.local_steps(size) * batch, float(self.epochs * size))

    def images(self, size: int) -> int:
        """Examples that enter the update of a client with `size` examples, or are expected to."""
        batch = self.poisson * size if self.poisson else float(self.batch_size)
        return max(1, min(size, round(self.local_steps(size) * batch)))


@dataclass(frozen=True, eq=False)
class Cohort:
    """The clients of one round, in client order; what a stage may know besides the rows."""

    seed: int
    round: int
    clients: tuple[int, ...]
    weights: Tensor  # (clients,) examples that each one reports
    malicious: Tensor  # (clients,) bool
    lost: Tensor  # (clients,) bool: trained, but the update never arrived
    expected: float  # the cohort's expected size, where it is drawn at random
    seen: Tensor | None = None  # (clients,) examples that each one goes through in the round
    packed: tuple[int, ...] | None = None  # bytes of each client's packet, where it was compressed
    late: Tensor | None = None  # (clients,) bool: lost for coming too late
    lasted: float | None = None  # simulated seconds of the round
    layers: tuple[int, ...] = ()  # parameters of each layer, one after the other, in a row
    broken: Tensor | None = None  # (clients,) bool: lost for sending what is no row of numbers
    carried: float = 0.0  # noise that came in the sum under masks, as a multiple of its variance
    sent: Tensor | None = None  # (clients, params) models, where a lying server sent different ones
    accomplices: tuple[int, ...] = ()  # who tell the server what they know
    announced: int = 0  # as how many clients a lying server tells the honest ones; 0: it is honest
    nonce: int = 0  # of the run, in the names of its private streams

    def private(self, *name: str | int) -> np.random.Generator:
        """A stream of noise of this round; the name says whose."""
        return private_stream(self.seed, self.nonce, *name)

    def stream(self, client: int, *name: str) -> np.random.Generator:
        """A stream of this round that belongs to one client."""
        return random_stream(self.seed, *name, self.round, client)

    def bytes_of(self, rows: Tensor) -> int:
        """What the updates that arrive weigh."""
        if self.packed is None:
            return self.present * rows.shape[1] * rows.element_size()
        return sum(size for size, lost in zip(self.packed, self.lost, strict=True) if not lost)

    def part(self, places: Sequence[int]) -> Cohort:
        """Some of the clients, as a cohort of their own."""
        some = list(places)
        clients = tuple(self.clients[place] for place in some)

        def cut(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[some]

        return replace(
            self,
            clients=clients,
            weights=self.weights[some],
            malicious=self.malicious[some],
            lost=self.lost[some],
            seen=cut(self.seen),
            packed=self.packed and tuple(self.packed[place] for place in some),
            late=cut(self.late),
            broken=cut(self.broken),
            sent=cut(self.sent),
            accomplices=tuple(
                one for one in self.accomplices if one in {self.clients[p] for p in some}
            ),
        )

    @property
    def present(self) -> int:
        return int((~self.lost).sum())


@dataclass(frozen=True, eq=False)
class RevealedMasks:
    """What a server knows of a round's masks afterwards, besides masked rows and the sum."""

    step: float  # what a word of one is worth in the weighted sum of updates
    most: int  # no word of a client is larger in size, read as a signed number
    generator: str  # of masks
    seeds: Mapping[int, bytes]  # of their own masks, of those who arrived: unmasking takes them
    partners: Mapping[int, tuple[int, ...]]  # who shares masks with whom
    holders: Mapping[int, tuple[int, ...]]  # who holds shares of whose secrets
    keys: Mapping[tuple[int, int], bytes]  # of masks shared with the lost and with accomplices,
    # by the pair of clients, the lower one first
    told: Mapping[int, np.ndarray]  # (words,) uint32 of accomplices, before their masks
    hints: Mapping[tuple[int, int], int] = field(default_factory=dict)  # last bits of weak seeds


@dataclass(frozen=True, eq=False)
class ReceivedUpdates:
    """What the server holds at the end of the exchange.

    Each visible row is the update of its `senders`: of one client, or under secure aggregation the
    weighted mean of all that arrived.
    """

    rows: Tensor  # (visible, params)
    weights: Tensor  # (visible,)
    senders: tuple[tuple[int, ...], ...]
    arrived: Tensor  # (clients,) bool
    bytes_up: int
    bytes_down: int
    masked: np.ndarray | None = None  # (arrived, words) uint32: all it saw of each client
    carried: float = 0.0  # variance of the noise on the sum, as a multiple of what it needs
    opened: RevealedMasks | None = None  # where masks were taken off
    aborted: bool = False  # whether the protocol was broken off
    note: str = ""


@dataclass(frozen=True, eq=False)
class Transcript:
    """All messages of one round.  Holds no private example."""

    round: int
    network: Network
    recipe: TrainingPlan
    sent: Tensor  # (params,) the model that the clients were sent
    released: Tensor  # (params,) the model after the round
    delivery: ReceivedUpdates
    starts: Mapping[int, Tensor] = field(default_factory=dict)  # of clients sent another, (params,)


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole, and 0 where there is no whole."""
    return torch.where(whole > 0, part / whole, torch.zeros_like(part))


def empty_rows(params: int) -> Tensor:
    return torch.zeros(0, params)
