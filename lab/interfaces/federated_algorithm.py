"""Federated algorithms: what they are, what they ask of clients, and what they get back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from lab.common.settings import Component
from lab.interfaces.messages import empty_rows
from lab.models.network import Network

Memory = Mapping[str, Tensor]  # what an algorithm keeps from round to round, by name


@dataclass(frozen=True, eq=False)
class GradientCorrection:
    """What an algorithm adds to the gradient g of a local step, at y, of a round that began at w.

    The client goes against g + push + pull * (y - w).
    """

    pull: float = 0.0
    push: Tensor | None = None  # (clients, params)


@dataclass(frozen=True, eq=False)
class ModelMixture:
    """Two models of a client, that are used as share * own + (1 - share) * trained."""

    own: Tensor  # (clients, params)
    share: Tensor  # (clients,)
    adapts: bool = False  # whether the share is trained as well

    def moved(self, device: torch.device) -> ModelMixture:
        """On another device."""
        return replace(self, own=self.own.to(device), share=self.share.to(device))


@dataclass(frozen=True, eq=False)
class LocalTask:
    """What the clients of a round are to train, besides what the experiment says."""

    start: Tensor  # (params,) for all, or (clients, params)
    drift: GradientCorrection = field(default_factory=GradientCorrection)
    anchor: Tensor | None = None  # (params,) what the drift pulls towards; None: the start
    layers: tuple[str, ...] = ()  # that move; none named: all of them
    epochs: int = 0  # 0: as the experiment says
    whole: bool = False  # a single step on all examples
    ahead: float = 0.0  # each gradient is taken this far along a gradient of other examples
    mixture: ModelMixture | None = None  # whose own model is trained beside, in the same steps
    stays: bool = False  # never leaves the client, so that it needs no protection

    def of(self, block: list[int]) -> LocalTask:
        """The task of some of the clients."""
        push, mixture = self.drift.push, self.mixture
        return replace(
            self,
            start=self.start if self.start.ndim == 1 else self.start[block],
            drift=self.drift if push is None else replace(self.drift, push=push[block]),
            mixture=mixture
            and replace(mixture, own=mixture.own[block], share=mixture.share[block]),
        )

    def moved(self, device: torch.device) -> LocalTask:
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
class ClientUpdates:
    """What the clients of a cohort have trained, in their order."""

    rows: Tensor  # (clients, params) the trained model minus the start
    sizes: Tensor  # (clients,) examples of each
    mixture: ModelMixture | None = None  # as it is after the task


@dataclass(frozen=True, eq=False)
class CohortTrainer:
    """The clients of a round at work: an algorithm says what to train and sees no example."""

    network: Network
    seed: int
    round: int
    rate: float  # of local SGD
    clients: tuple[int, ...]
    learn: Callable[[LocalTask], ClientUpdates]
    losses: Callable[[Tensor], Tensor]  # models (models, params) -> (clients, models)
    pooled: Callable[[Tensor], Tensor]  # (params,) -> (params,) the change, from all examples
    versions: tuple[int, ...] = ()  # the round after which each got its model, if they differ
    waiting: tuple[int, ...] = ()  # the versions of those who are still at work


@dataclass(frozen=True, eq=False)
class LocalResult:
    """What came of the local training."""

    rows: Tensor  # (clients, shared) what is to be sent
    memory: Memory
    starts: Tensor | None = None  # (clients, params) where each began, if not where all did
    groups: Tensor | None = None  # (clients,) the model that each trained, if there are several
    gradients: Tensor | None = None  # (clients, params) of the model sent, on all its examples
    stale: Tensor | None = None  # (clients,) rounds since each got its model
    change: Tensor | None = None  # (params,) of the model, where nothing is sent


@dataclass(frozen=True, eq=False)
class CohortReport:
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
    local: LocalResult = field(default_factory=lambda: LocalResult(empty_rows(0), {}))

    @property
    def counted(self) -> float:
        """How many updates the public model may be scaled by."""
        return float(self.arrived.sum()) if self.expected is None else self.expected

    @property
    def asked(self) -> Tensor:
        """Everybody.  -> (clients,) bool"""
        return torch.ones_like(self.arrived)


class Algorithm(Component):
    """What clients train, and what the server makes of the step that the rule found.

    Training is local SGD from the model that was sent, unless `train` says otherwise.
    """

    table: ClassVar[dict[str, type[Algorithm]]] = {}
    uniform: ClassVar[bool] = False  # every client counts alike, however many examples it holds
    needs_losses: ClassVar[bool] = False  # of the model that is sent, on each client's examples
    exposes: ClassVar[str] = ""  # what the server must see besides the sum of the updates
    keeps: ClassVar[int] = 0  # vectors of the model's size, remembered for every client
    common: ClassVar[bool] = True  # one model for all comes of it; otherwise clients' own count
    talks: ClassVar[bool] = True  # False: a baseline without messages
    asynchronous: ClassVar[bool] = False  # nobody waits for the slowest

    @property
    def unguarded(self) -> str:
        """What would leave a client without the noise that protects its examples."""
        return "its loss, without noise" if self.needs_losses else ""

    @property
    def up(self) -> int:
        """Vectors of the shared parameters' size that every client sends."""
        return 1

    @property
    def down(self) -> int:
        """Vectors of the shared parameters' size that every client is sent."""
        return 1

    @property
    def models(self) -> int:
        """How many models the clients choose from."""
        return 1

    @property
    def awaits(self) -> int:
        """How many updates an asynchronous server waits for; 0: for everybody's."""
        return 0

    def check(self, network: Network) -> None:
        """Raises SettingError where the algorithm makes no sense for the model."""

    def shared(self, network: Network) -> int:
        """How many parameters travel: the first so many.  All others never leave a client."""
        return network.size

    def begin(self, clients: int, params: int) -> Memory:
        """What server and clients remember before the first round."""
        return {}

    def drift(self, memory: Memory, clients: Sequence[int]) -> GradientCorrection:
        """What moves the clients in every local step, besides their gradient."""
        return GradientCorrection()

    def train(self, trainer: CohortTrainer, sent: Tensor, memory: Memory) -> LocalResult:
        """The clients' part of a round.  sent (params,)"""
        drift = self.drift(memory, trainer.clients)
        return LocalResult(trainer.learn(LocalTask(sent, drift)).rows, memory)

    def factors(self, report: CohortReport, memory: Memory) -> Tensor | None:
        """What every client multiplies its update by.  -> (clients,)

        Nobody knows yet whose update will arrive: what is relative to the others is relative to
        all who were asked, and `__call__` corrects it for those who arrived.
        """
        return None

    @abstractmethod
    def __call__(
        self, model: Tensor, step: Tensor, memory: Memory, report: CohortReport
    ) -> tuple[Tensor, Memory]:
        """The server's part: model (shared,), step (shared,) -> the next model, the next memory

        Where clients train several models, step is (models, shared): the step of each.
        """

    def own(
        self, model: Tensor, memory: Memory, clients: Sequence[int], network: Network
    ) -> Tensor | None:
        """The models that those clients themselves use after a round, if not the common one.

        model (params,) -> (clients, params)
        """
        return None
