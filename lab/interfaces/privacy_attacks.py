"""The abstract parts: every point at which Leaklab can be extended, on one page.

A new part is one file with a final class, and one line in its package's table.  Settings are
fields; data arrives as arguments.  (Models are parts too, and live in `lab.models.network`.)
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Literal, NamedTuple

from torch import Tensor

from lab.common.settings import Component, SettingError
from lab.interfaces.attack_data import (
    ActiveSignals,
    CanaryPrefix,
    Candidates,
    ClientSignals,
    MaliciousServer,
    ManipulatedModel,
    MembershipSignals,
    ReconstructedBatch,
    UpdateEstimate,
)
from lab.interfaces.properties import Property
from lab.interfaces.views import AuxiliaryInfo, OutsiderView, ServerView
from lab.models.architectures import Modality
from lab.models.network import Network

Sees = Literal["nothing", "cohort", "updates"]  # who takes part, or what they send


class PrivacyAttack(Component):
    """An attack on privacy.  It gets a view and what it declares to know, and never the truth."""

    table: ClassVar[dict[str, type[PrivacyAttack]]] = {}
    attacker: ClassVar[str]  # who can do this
    knows: ClassVar[str]  # what it is assumed to know besides its view
    fails: ClassVar[str]  # where it must fail
    reads: ClassVar[tuple[Modality, ...]] = ("pictures", "table")  # what it can tell examples of
    seat: ClassVar[Literal["client", "server", "outsider"]] = "server"  # where the attacker sits

    @classmethod
    def notes(cls) -> dict[str, str]:
        return {"by": cls.attacker, "knows": cls.knows, "fails on": cls.fails}

    def check(self, network: Network) -> None:
        """Raises SettingError where the attack has nothing to work on."""

    def suits(self, network: Network) -> None:
        """Raises SettingError where the attack does not go with such examples, or such a model."""
        if not set(self.reads) & set(network.model.reads):
            fitting = [
                kind
                for kind, spy in PrivacyAttack.table.items()
                if issubclass(spy, ReconstructionAttack)
                and set(spy.reads) & set(network.model.reads)
            ]
            raise SettingError(
                f"{self.kind} finds {' or '.join(self.reads)}, and model.kind {network.model.kind} "
                f"is trained on {' or '.join(network.model.reads)}: use {' or '.join(fitting)}"
            )
        self.check(network)


class ReconstructionAttack(PrivacyAttack):
    """Rebuilds private inputs from what the server received."""

    @abstractmethod
    def __call__(
        self, view: ServerView, target: int, known: AuxiliaryInfo
    ) -> Iterator[ReconstructedBatch]:
        """Guesses at the examples of client `target`, ever better; the last one is the answer."""


class ActiveReconstructionAttack(ReconstructionAttack):
    """The same by a malicious server, which sends a model of its own making and reads the answer.

    The clients are honest and train it; the view that `__call__` gets is of that round.
    """

    @abstractmethod
    def plant(self, view: ServerView, known: AuxiliaryInfo) -> ManipulatedModel:
        """What it sends to the cohort.

        view: of the round as it was, before the attack, with the rows that it is after
        """


class AttackResources(NamedTuple):
    """What an attack has to have besides its view."""

    shadows: int = 0  # models of its own
    public: int = 0  # examples of the same kind that nobody trains on


class MembershipInferenceAttack(PrivacyAttack):
    """Tells which of the candidates were trained on, by the released model."""

    reads: ClassVar[tuple[Modality, ...]] = ("pictures", "table", "text")
    seat: ClassVar[Literal["client", "server", "outsider"]] = "outsider"

    def needs(self) -> AttackResources:
        return AttackResources()

    @abstractmethod
    def signal(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """What it measures of each example on one model.  -> (candidates, ...)"""

    @abstractmethod
    def __call__(self, evidence: MembershipSignals) -> Tensor:
        """A score for each candidate, higher for likelier members.  -> (candidates,)"""


class ServerMembershipAttack(PrivacyAttack):
    """Tells which client holds which candidate, by all that the server gets round after round."""

    reads: ClassVar[tuple[Modality, ...]] = ("pictures", "table", "text")
    apart: ClassVar[bool] = False  # whether it needs every client's update by itself

    def needs(self) -> AttackResources:
        """Shadows are whole federations here."""
        return AttackResources()

    @abstractmethod
    def signal(self, view: ServerView, asked: Candidates) -> Tensor:
        """What it measures of each example on each row that it got.  -> (rows, candidates)"""

    @abstractmethod
    def gather(self, signals: Tensor) -> Tensor:
        """All rounds as one, each candidate by itself.

        signals (rounds, clients, candidates), NaN where nothing came
        -> (clients, candidates, ...)
        """

    @abstractmethod
    def __call__(self, evidence: ClientSignals) -> Tensor:
        """How likely each client holds each candidate, higher for likelier.

        -> (clients, candidates)
        """


class SubjectMembershipAttack(PrivacyAttack):
    """Tells which people were trained on, by examples of theirs."""

    reads: ClassVar[tuple[Modality, ...]] = ("pictures", "table", "text")

    def needs(self) -> AttackResources:
        """Shadows are trained on further people."""
        return AttackResources()

    def seen(self) -> bool:
        """Whether it has the very examples that people trained on, which is for comparison."""
        return False

    @abstractmethod
    def signal(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """What it measures of each example on one model.  -> (examples, ...)"""

    @abstractmethod
    def __call__(self, evidence: MembershipSignals, person: Tensor) -> Tensor:
        """A score for each person, higher for those who likelier took part.

        person (examples,) whose each is -> (people,)
        """


class CanarySpec(NamedTuple):
    """Which secrets an experimenter inserts, to see whether an attack gets at them."""

    canaries: int  # secrets for each number of copies
    copies: int  # the most often that one is inserted
    length: int  # its words


class SecretExtractionAttack(PrivacyAttack):
    """Draws secrets out of a released language model, of which it knows how they begin."""

    reads: ClassVar[tuple[Modality, ...]] = ("text",)

    @abstractmethod
    def inserted(self) -> CanarySpec:
        """What it is measured by."""

    @abstractmethod
    def __call__(self, view: OutsiderView, opening: CanaryPrefix, fillings: Tensor) -> Tensor:
        """How hard the model finds each filling, lower for likelier ones.

        fillings (fillings, length) word numbers -> (fillings,)
        """

    @abstractmethod
    def search(self, view: OutsiderView, opening: CanaryPrefix) -> Tensor:
        """What the model says next, of all words there are; the likeliest first.

        -> (found, length) word numbers
        """


class ActiveMembershipAttack(PrivacyAttack):
    """Changes the model that clients train, and tells members by how training takes that back."""

    reads: ClassVar[tuple[Modality, ...]] = ("pictures", "table", "text")
    by: Literal["server", "client"] = "server"  # a client can only add to its own update
    rounds: int = 1  # in which it acts
    together: int = 8  # candidates asked about in one course of the run

    @abstractmethod
    def provoke(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """What it adds to that model.  -> (params,)"""

    @abstractmethod
    def signal(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """What it measures of each example on one model.  -> (candidates, ...)"""

    @abstractmethod
    def __call__(self, evidence: ActiveSignals) -> Tensor:
        """A score for each candidate, higher for likelier members.  -> (candidates,)"""

    @abstractmethod
    def still(self) -> ActiveMembershipAttack:
        """The same without doing anything: what watching alone would tell."""


class PropertyInferenceAttack(PrivacyAttack):
    """Tells how many of the examples behind an update have a property that no label names.

    It trains updates of its own from the model that was sent, and learns from those.
    """

    reads: ClassVar[tuple[Modality, ...]] = ("pictures", "table", "text")
    rounds: int = 1  # that it looks at
    present: float = 0.0  # the share from which the property counts as there; 0: the median

    @abstractmethod
    def trait(self, known: AuxiliaryInfo, classes: int) -> Property:
        """Raises SettingError, with what there is, for a property that examples do not have."""

    @abstractmethod
    def sets(self, view: ServerView, known: AuxiliaryInfo) -> Tensor:
        """Public examples that updates are to be made of.  -> (sets, examples) int64"""

    @abstractmethod
    def __call__(
        self, view: ServerView, known: AuxiliaryInfo, sets: Tensor, made: Tensor
    ) -> Tensor:
        """The share that it sees in each row that the server got.  -> (rows,)

        made (sets, params): the updates of clients who hold those sets
        """


class SecureAggregationAttack(PrivacyAttack):
    """Gets one client's update out of secure aggregation, as a server that does as it likes."""

    reads: ClassVar[tuple[Modality, ...]] = ("pictures", "table", "text")

    @abstractmethod
    def __call__(self, server: MaliciousServer, target: int) -> Iterator[UpdateEstimate]:
        """Claims of what client `target` has sent, one for each step; the last is the answer.

        Raises SettingError where the round leaves the attack nothing to do.
        """


def attack_settings(spy: PrivacyAttack) -> dict[str, float | int | str]:
    return {name: value for name, value in spy.dump().items() if name != "kind"}
