"""What crosses the wire in a round: who was asked, what the server got, what everybody may know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

import numpy as np
import torch
from torch import Tensor

from lab.common.random_streams import private_stream, stream
from lab.models.network import Network


@dataclass(frozen=True)
class Recipe:
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
        return stream(self.seed, *name, self.round, client)

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


Memory = Mapping[str, Tensor]  # what an algorithm keeps from round to round, by name


@dataclass(frozen=True, eq=False)
class Drift:
    """What an algorithm adds to the gradient g of a local step, at y, of a round that began at w.

    The client goes against g + push + pull * (y - w).
    """

    pull: float = 0.0
    push: Tensor | None = None  # (clients, params)


@dataclass(frozen=True, eq=False)
class Mixture:
    """Two models of a client, that are used as share * own + (1 - share) * trained."""

    own: Tensor  # (clients, params)
    share: Tensor  # (clients,)
    adapts: bool = False  # whether the share is trained as well

    def moved(self, device: torch.device) -> Mixture:
        """On another device."""
        return replace(self, own=self.own.to(device), share=self.share.to(device))


@dataclass(frozen=True, eq=False)
class Task:
    """What the clients of a round are to train, besides what the experiment says."""

    start: Tensor  # (params,) for all, or (clients, params)
    drift: Drift = field(default_factory=Drift)
    anchor: Tensor | None = None  # (params,) what the drift pulls towards; None: the start
    layers: tuple[str, ...] = ()  # that move; none named: all of them
    epochs: int = 0  # 0: as the experiment says
    whole: bool = False  # a single step on all examples
    ahead: float = 0.0  # each gradient is taken this far along a gradient of other examples
    mixture: Mixture | None = None  # whose own model is trained beside, in the same steps
    stays: bool = False  # never leaves the client, so that it needs no protection

    def of(self, block: list[int]) -> Task:
        """The task of some of the clients."""
        push, mixture = self.drift.push, self.mixture
        return replace(
            self,
            start=self.start if self.start.ndim == 1 else self.start[block],
            drift=self.drift if push is None else replace(self.drift, push=push[block]),
            mixture=mixture
            and replace(mixture, own=mixture.own[block], share=mixture.share[block]),
        )

    def moved(self, device: torch.device) -> Task:
        """On another device."""
        push, anchor = self.drift.push, self.anchor
        return replace(
            self,
            start=self.start.to(device),
            drift=self.drift if push is None else replace(self.drift, push=push.to(device)),
            anchor=anchor if anchor is None else anchor.to(device),
            mixture=self.mixture and self.mixture.moved(device),
        )


@dataclass(frozen=True, eq=False)
class Updates:
    """What the clients of a cohort have trained, in their order."""

    rows: Tensor  # (clients, params) the trained model minus the start
    sizes: Tensor  # (clients,) examples of each
    mixture: Mixture | None = None  # as it is after the task


@dataclass(frozen=True, eq=False)
class Crew:
    """The clients of a round at work: an algorithm says what to train and sees no example."""

    network: Network
    seed: int
    round: int
    rate: float  # of local SGD
    clients: tuple[int, ...]
    learn: Callable[[Task], Updates]
    losses: Callable[[Tensor], Tensor]  # models (models, params) -> (clients, models)
    pooled: Callable[[Tensor], Tensor]  # (params,) -> (params,) the change, from all examples
    versions: tuple[int, ...] = ()  # the round after which each got its model, if they differ
    waiting: tuple[int, ...] = ()  # the versions of those who are still at work


@dataclass(frozen=True, eq=False)
class Local:
    """What came of the local training."""

    rows: Tensor  # (clients, shared) what is to be sent
    memory: Memory
    starts: Tensor | None = None  # (clients, params) where each began, if not where all did
    groups: Tensor | None = None  # (clients,) the model that each trained, if there are several
    gradients: Tensor | None = None  # (clients, params) of the model sent, on all its examples
    stale: Tensor | None = None  # (clients,) rounds since each got its model
    change: Tensor | None = None  # (params,) of the model, where nothing is sent


@dataclass(frozen=True, eq=False)
class Report:
    """What an algorithm may know of a round's local training, client by client."""

    everyone: int  # clients of the federation
    clients: tuple[int, ...]  # who was asked
    arrived: Tensor  # (clients,) bool
    weights: Tensor  # (clients,)
    steps: Tensor  # (clients,) local steps taken
    rows: Tensor  # (clients, shared) updates, before any defence
    rate: float  # of local SGD
    losses: Tensor | None = None  # (clients,) mean loss of the model that was sent
    expected: float | None = None  # updates, where their number is secret; None: it is public
    local: Local = field(default_factory=lambda: Local(empty_rows(0), {}))

    @property
    def counted(self) -> float:
        """How many updates the public model may be scaled by."""
        return float(self.arrived.sum()) if self.expected is None else self.expected

    @property
    def asked(self) -> Tensor:
        """Everybody.  -> (clients,) bool"""
        return torch.ones_like(self.arrived)


@dataclass(frozen=True, eq=False)
class Opened:
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
class Delivery:
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
    opened: Opened | None = None  # where masks were taken off
    aborted: bool = False  # whether the protocol was broken off
    note: str = ""


@dataclass(frozen=True, eq=False)
class Transcript:
    """All messages of one round.  Holds no private example."""

    round: int
    network: Network
    recipe: Recipe
    sent: Tensor  # (params,) the model that the clients were sent
    released: Tensor  # (params,) the model after the round
    delivery: Delivery
    starts: Mapping[int, Tensor] = field(default_factory=dict)  # of clients sent another, (params,)


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole, and 0 where there is no whole."""
    return torch.where(whole > 0, part / whole, torch.zeros_like(part))


def empty_rows(params: int) -> Tensor:
    return torch.zeros(0, params)
