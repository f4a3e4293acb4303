"""The contest: what malicious clients may know, and what a server has against them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from lab.common.settings import Component
from lab.interfaces.messages import Cohort
from lab.interfaces.privacy_attacks import Sees
from lab.models.layers import Shape


@dataclass(frozen=True, eq=False)
class DataPoisoningContext:
    """What a malicious client knows when it changes its data."""

    place: int = 0  # its number among the malicious clients, from 0
    outside: Tensor | None = None  # (pictures, *shape) of another data set, where a poison asks


@dataclass(frozen=True, eq=False)
class AdversaryKnowledge:
    """What malicious clients know in a round, besides the rows; each poison says what it uses."""

    sent: Tensor | None = None  # (params,) the model of the round
    change: Tensor | None = None  # (params,) the model's last change; None: there is none yet
    fresh: Tensor | None = None  # (params,) a model that nobody has trained
    fold: Callable[[Tensor], Tensor] | None = None  # rows (clients, params) -> the server's step


@dataclass(frozen=True, eq=False)
class TrainingConstraint:
    """What malicious clients mind in their local steps, besides their loss."""

    pull: float = 0.0  # towards the model that was sent: that many times the way back
    free: Tensor | None = None  # (params,) bool: which parameters may move; None: all of them


ALONE = DataPoisoningContext()  # an attacker whose data nobody else shares
NO_KNOWLEDGE = AdversaryKnowledge()


class PoisoningAttack(Component):
    """What malicious clients do: to their data before training, to their row after it."""

    table: ClassVar[dict[str, type[PoisoningAttack]]] = {}
    pictures_only: ClassVar[bool] = False
    knows: ClassVar[str] = "its own data"  # what the attacker must know
    remembers: ClassVar[bool] = False  # needs to know how the model changed in the round before

    @classmethod
    def notes(cls) -> dict[str, str]:
        return {"knows": cls.knows}

    @property
    def sees(self) -> Sees:
        """What of the other clients' round enters what malicious clients send."""
        return "nothing"

    @property
    def stranger(self) -> str:
        """The data set whose pictures it trains on besides; empty: none."""
        return ""

    @property
    def stranger_label(self) -> int:
        """The class there that those pictures are of."""
        return 0

    def check(self, shape: Shape, classes: int) -> None:
        """Raises SettingError where the poison makes no sense for such examples."""

    def data(
        self, inputs: Tensor, labels: Tensor, classes: int, scene: DataPoisoningContext = ALONE
    ) -> tuple[Tensor, Tensor]:
        """One malicious client's examples -> as many, that it trains on instead."""
        return inputs, labels

    def restrain(self, insight: AdversaryKnowledge) -> TrainingConstraint | None:
        """What malicious clients mind in their local steps."""
        return None

    def rows(
        self, rows: Tensor, cohort: Cohort, insight: AdversaryKnowledge = NO_KNOWLEDGE
    ) -> Tensor:
        """All rows, of which only those of `cohort.malicious` may change."""
        return rows

    def claims(self, weights: Tensor, malicious: Tensor) -> Tensor:
        """The examples that clients report.  weights, malicious (clients,) -> (clients,)"""
        return weights

    def goal(
        self, inputs: Tensor, labels: Tensor, outside: Tensor | None = None
    ) -> tuple[Tensor, Tensor] | None:
        """Test examples and the labels that the attacker wants for them, if it has such a goal.

        outside: test pictures of the stranger
        """
        return None
