"""The contest: what malicious clients may know, and what a server has against them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from lab.common.random_streams import stream
from lab.interfaces.messages import Memory


@dataclass(frozen=True, eq=False)
class Scene:
    """What a malicious client knows when it changes its data."""

    place: int = 0  # its number among the malicious clients, from 0
    outside: Tensor | None = None  # (pictures, *shape) of another data set, where a poison asks


@dataclass(frozen=True, eq=False)
class Insight:
    """What malicious clients know in a round, besides the rows; each poison says what it uses."""

    sent: Tensor | None = None  # (params,) the model of the round
    change: Tensor | None = None  # (params,) the model's last change; None: there is none yet
    fresh: Tensor | None = None  # (params,) a model that nobody has trained
    fold: Callable[[Tensor], Tensor] | None = None  # rows (clients, params) -> the server's step


@dataclass(frozen=True, eq=False)
class Restraint:
    """What malicious clients mind in their local steps, besides their loss."""

    pull: float = 0.0  # towards the model that was sent: that many times the way back
    free: Tensor | None = None  # (params,) bool: which parameters may move; None: all of them


@dataclass(frozen=True, eq=False)
class Aid:
    """What a rule has besides the rows: an update of the server's own, and draws of its own."""

    root: Tensor | None = None  # (params,) trained on public data, where a rule needs it
    seed: int = 0
    round: int = 0

    def stream(self, *name: str) -> np.random.Generator:
        return stream(self.seed, *name, self.round)


@dataclass(frozen=True, eq=False)
class Verdict:
    """What became of each row."""

    kept: Tensor  # (rows,) bool: it counts
    factors: Tensor  # (rows,) what it was multiplied by; 1: left whole

    @classmethod
    def of(cls, kept: Tensor) -> Verdict:
        """Of rows that are left whole or left out."""
        return cls(kept, torch.ones(len(kept)))


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a stage before the rule made of the rows."""

    rows: Tensor  # (rows, params)
    weights: Tensor  # (rows,)
    memory: Memory = field(default_factory=dict)  # for the next round
    factors: Tensor | None = None  # (rows before,) what each was shortened by, where it was


IGNORANT = Insight()
ALONE = Scene()
UNAIDED = Aid()
