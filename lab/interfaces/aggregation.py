"""Aggregation: transforms of updates, codecs, pre-aggregators, rules, channels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from lab.common.random_streams import random_stream
from lab.common.settings import Component, SettingError
from lab.interfaces.federated_algorithm import Memory
from lab.interfaces.messages import Cohort, ReceivedUpdates
from lab.models.layers import Shape


@dataclass(frozen=True, eq=False)
class AggregationContext:
    """What a rule has besides the rows: an update of the server's own, and draws of its own."""

    root: Tensor | None = None  # (params,) trained on public data, where a rule needs it
    seed: int = 0
    round: int = 0

    def stream(self, *name: str) -> np.random.Generator:
        return random_stream(self.seed, *name, self.round)


@dataclass(frozen=True, eq=False)
class AggregationDecision:
    """What became of each row."""

    kept: Tensor  # (rows,) bool: it counts
    factors: Tensor  # (rows,) what it was multiplied by; 1: left whole

    @classmethod
    def of(cls, kept: Tensor) -> AggregationDecision:
        """Of rows that are left whole or left out."""
        return cls(kept, torch.ones(len(kept)))


@dataclass(frozen=True, eq=False)
class PreAggregated:
    """What a stage before the rule made of the rows."""

    rows: Tensor  # (rows, params)
    weights: Tensor  # (rows,)
    memory: Memory = field(default_factory=dict)  # for the next round
    factors: Tensor | None = None  # (rows before,) what each was shortened by, where it was


NO_CONTEXT = AggregationContext()


class UpdateTransform(Component):
    """Changes the rows and keeps their number.

    Its side of the wire decides what the server sees: a client's stage runs before the exchange.
    """

    table: ClassVar[dict[str, type[UpdateTransform]]] = {}
    side: ClassVar[Literal["client", "server"]] = "client"

    @abstractmethod
    def __call__(self, rows: Tensor, cohort: Cohort) -> Tensor:
        """rows (clients, params) -> (clients, params); never changes its input"""


class Codec(UpdateTransform):
    """Packs an update into fewer bytes.  The server gets what decoding the packet reproduces."""

    table: ClassVar[dict[str, type[UpdateTransform]]] = {}

    def contracts(self, params: int) -> bool:
        """Whether the error is shorter than its row, at least on average over any row.

        Error feedback needs that: otherwise what is carried over grows from round to round.
        """
        return True

    @abstractmethod
    def encode(self, row: Tensor, shapes: Sequence[Shape], shared: np.random.Generator) -> bytes:
        """row (params,), the parameters of `shapes` one after the other -> what is sent

        shared: randomness that both ends draw alike, so that it need not be sent
        """

    @abstractmethod
    def decode(self, packet: bytes, shapes: Sequence[Shape], shared: np.random.Generator) -> Tensor:
        """What `encode` packed, as far as it was kept.  -> (params,)"""

    def __call__(self, rows: Tensor, cohort: Cohort) -> Tensor:
        """What the server decodes.  -> (clients, params)"""
        return self.transmit(rows, cohort, [rows.shape[1:]])[0]

    def transmit(
        self, rows: Tensor, cohort: Cohort, shapes: Sequence[Shape]
    ) -> tuple[Tensor, list[int]]:
        """The rows that arrive, and the bytes of each packet."""
        arrived, sizes = torch.empty_like(rows), []
        # A loop over clients, because each one packs and sends on its own.
        for place, client in enumerate(cohort.clients):
            packet = self.encode(rows[place], shapes, cohort.stream(client, "shared"))
            arrived[place] = self.decode(packet, shapes, cohort.stream(client, "shared"))
            sizes.append(len(packet))
        return arrived, sizes


class PreAggregator(UpdateTransform):
    """What the server does to the rows before its rule, in order to withstand malicious ones.

    It may remember something from round to round, by client or for all.
    """

    table: ClassVar[dict[str, type[UpdateTransform]]] = {}
    side: ClassVar[Literal["client", "server"]] = "server"
    by_client: ClassVar[bool] = False  # must know whose each row is
    fails: ClassVar[str]  # where it must fail

    @classmethod
    def notes(cls) -> dict[str, str]:
        return {"fails on": cls.fails}

    @abstractmethod
    def prepare(
        self, rows: Tensor, weights: Tensor, cohort: Cohort, memory: Memory
    ) -> PreAggregated:
        """rows (clients, params), weights (clients,), of `cohort.clients`; changes no input

        memory: what the last round returned, or `begin`
        """

    def begin(self, clients: int, params: int) -> Memory:
        """What is remembered before the first round."""
        return {}

    def __call__(self, rows: Tensor, cohort: Cohort) -> Tensor:
        """What the rule gets in the first round of all."""
        memory = self.begin(max(cohort.clients, default=-1) + 1, rows.shape[1])
        return self.prepare(rows, cohort.weights, cohort, memory).rows

    def leaves(self, rows: int) -> int:
        """How many rows come out of that many."""
        return rows

    def fewest(self) -> int:
        """How many rows it needs to mean anything."""
        return 1

    def check(self, rows: int) -> None:
        """Raises SettingError where the stage means nothing for that many rows."""
        enough(f"aggregation.pre_aggregators, kind {self.kind},", self.fewest(), rows)


class AggregationRule(Component):
    """Folds the rows into one step, and remembers nothing."""

    table: ClassVar[dict[str, type[AggregationRule]]] = {}
    fails: ClassVar[str]  # where it must fail

    @classmethod
    def notes(cls) -> dict[str, str]:
        return {"fails on": cls.fails}

    @property
    def public(self) -> int:
        """Public examples on which the server trains an update of its own, if it needs one."""
        return 0

    @property
    def needs_rows(self) -> bool:
        """False: the weighted mean of the rows is all it needs."""
        return True

    @abstractmethod
    def __call__(
        self, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> Tensor:
        """rows (clients, params), weights (clients,) -> (params,); never changes its input

        Autograd can go through it, to find each client's influence.
        """

    def judge(
        self, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> AggregationDecision | None:
        """Who is kept whole, shortened or left out.  None: every row counts somewhere."""
        return None

    def fewest(self) -> int:
        """How many rows the rule needs to mean anything."""
        return 1

    def check(self, clients: int) -> None:
        """Raises SettingError where the rule means nothing for a cohort of that size."""
        enough(f"aggregation.rule.kind {self.kind}", self.fewest(), clients)


def enough(name: str, needed: int, there: int) -> None:
    if there < needed:
        raise SettingError(
            f"{name} needs {needed} clients a round, and there are {there}: ask more clients, or "
            "use aggregation.rule.kind mean without pre-aggregators"
        )


class Channel(Component):
    """How rows reach the server."""

    table: ClassVar[dict[str, type[Channel]]] = {}

    @abstractmethod
    def __call__(self, rows: Tensor, cohort: Cohort, sent: Tensor) -> ReceivedUpdates:
        """rows (clients, params), sent (params,): the model of this round"""
