"""The abstract parts: every point at which Leaklab can be extended, on one page.

A new part is one file with a final class, and one line in its package's table.  Settings are
fields; data arrives as arguments.  (Models are parts too, and live in `lab.models.network`.)
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lab.common.settings import Part, SettingError
from lab.interfaces.columns import Column
from lab.interfaces.data import Examples
from lab.interfaces.messages import Cohort, Crew, Delivery, Drift, Local, Memory, Report, Task
from lab.interfaces.poisoning import (
    ALONE,
    IGNORANT,
    UNAIDED,
    Aid,
    Insight,
    Prepared,
    Restraint,
    Scene,
    Verdict,
)
from lab.interfaces.properties import Trait
from lab.interfaces.views import (
    Candidates,
    Claim,
    Evidence,
    Guess,
    Known,
    Opening,
    OutsiderView,
    Planted,
    Provoked,
    ServerView,
    Siege,
    Watched,
)
from lab.models.layers import Shape
from lab.models.network import Content, Network


class Source(Part):
    """A data set.  `source` is its citation."""

    table: ClassVar[dict[str, type[Source]]] = {}
    licence: ClassVar[str]
    shape: ClassVar[Shape]
    classes: ClassVar[tuple[str, ...]]
    size: ClassVar[int]  # training examples
    groups: ClassVar[tuple[str, ...]] = ()  # real owners of the data, where there are any
    content: ClassVar[Content] = "pictures"

    def columns(self) -> tuple[Column, ...]:
        """What the floats of a table mean; nothing for pictures and text."""
        return ()

    @abstractmethod
    def load(self) -> Examples:
        """Raises SettingError, with the command that mends it, when the files are not there."""

    def dump(self) -> Any:
        return self.kind  # a source has no settings, so its name says it all


class Split(Part):
    """Who gets which examples, and how they look to whom."""

    table: ClassVar[dict[str, type[Split]]] = {}

    @property
    def dealt(self) -> float:
        """The share of the examples that it deals out, or nearly."""
        return 1.0

    @abstractmethod
    def __call__(
        self,
        labels: np.ndarray,
        groups: np.ndarray | None,
        clients: int,
        generator: np.random.Generator,
    ) -> Sequence[np.ndarray]:
        """labels (examples,) -> the indices of each client, disjoint; a client may get none"""

    def check(self, source: Source, clients: int, examples: int) -> None:
        """Raises SettingError where the split makes no sense for so many clients and examples."""

    def shift(
        self,
        client: int,
        inputs: Tensor,
        labels: Tensor,
        classes: int,
        stream: Callable[[int], np.random.Generator],
    ) -> tuple[Tensor, Tensor]:
        """One client's examples, inputs as floats -> as this client sees them.

        Test examples stay as they are.

        stream: random streams by number, such as the client's, the same whoever else there is
        """
        return inputs, labels


class Algorithm(Part):
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

    def drift(self, memory: Memory, clients: Sequence[int]) -> Drift:
        """What moves the clients in every local step, besides their gradient."""
        return Drift()

    def train(self, crew: Crew, sent: Tensor, memory: Memory) -> Local:
        """The clients' part of a round.  sent (params,)"""
        drift = self.drift(memory, crew.clients)
        return Local(crew.learn(Task(sent, drift)).rows, memory)

    def factors(self, report: Report, memory: Memory) -> Tensor | None:
        """What every client multiplies its update by.  -> (clients,)

        Nobody knows yet whose update will arrive: what is relative to the others is relative to
        all who were asked, and `__call__` corrects it for those who arrived.
        """
        return None

    @abstractmethod
    def __call__(
        self, model: Tensor, step: Tensor, memory: Memory, report: Report
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


class Stage(Part):
    """Changes the rows and keeps their number.

    Its side of the wire decides what the server sees: a client's stage runs before the exchange.
    """

    table: ClassVar[dict[str, type[Stage]]] = {}
    side: ClassVar[Literal["client", "server"]] = "client"

    @abstractmethod
    def __call__(self, rows: Tensor, cohort: Cohort) -> Tensor:
        """rows (clients, params) -> (clients, params); never changes its input"""


class Codec(Stage):
    """Packs an update into fewer bytes.  The server gets what decoding the packet reproduces."""

    table: ClassVar[dict[str, type[Stage]]] = {}

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


class Preparation(Stage):
    """What the server does to the rows before its rule, in order to withstand malicious ones.

    It may remember something from round to round, by client or for all.
    """

    table: ClassVar[dict[str, type[Stage]]] = {}
    side: ClassVar[Literal["client", "server"]] = "server"
    by_client: ClassVar[bool] = False  # must know whose each row is
    fails: ClassVar[str]  # where it must fail

    @classmethod
    def notes(cls) -> dict[str, str]:
        return {"fails on": cls.fails}

    @abstractmethod
    def prepare(self, rows: Tensor, weights: Tensor, cohort: Cohort, memory: Memory) -> Prepared:
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
        _enough(f"stages, kind {self.kind},", self.fewest(), rows)


class Rule(Part):
    """Folds the rows into one step, and remembers nothing."""

    table: ClassVar[dict[str, type[Rule]]] = {}
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
    def __call__(self, rows: Tensor, weights: Tensor, aid: Aid = UNAIDED) -> Tensor:
        """rows (clients, params), weights (clients,) -> (params,); never changes its input

        Autograd can go through it, to find each client's influence.
        """

    def judge(self, rows: Tensor, weights: Tensor, aid: Aid = UNAIDED) -> Verdict | None:
        """Who is kept whole, shortened or left out.  None: every row counts somewhere."""
        return None

    def fewest(self) -> int:
        """How many rows the rule needs to mean anything."""
        return 1

    def check(self, clients: int) -> None:
        """Raises SettingError where the rule means nothing for a cohort of that size."""
        _enough(f"rule.kind {self.kind}", self.fewest(), clients)


def _enough(name: str, needed: int, there: int) -> None:
    if there < needed:
        raise SettingError(
            f"{name} needs {needed} clients a round, and there are {there}: ask more clients, or "
            "use rule.kind mean without stages"
        )


class Channel(Part):
    """How rows reach the server."""

    table: ClassVar[dict[str, type[Channel]]] = {}

    @abstractmethod
    def __call__(self, rows: Tensor, cohort: Cohort, sent: Tensor) -> Delivery:
        """rows (clients, params), sent (params,): the model of this round"""


Sees = Literal["nothing", "cohort", "updates"]  # who takes part, or what they send


class Poison(Part):
    """What malicious clients do: to their data before training, to their row after it."""

    table: ClassVar[dict[str, type[Poison]]] = {}
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
        self, inputs: Tensor, labels: Tensor, classes: int, scene: Scene = ALONE
    ) -> tuple[Tensor, Tensor]:
        """One malicious client's examples -> as many, that it trains on instead."""
        return inputs, labels

    def restrain(self, insight: Insight) -> Restraint | None:
        """What malicious clients mind in their local steps."""
        return None

    def rows(self, rows: Tensor, cohort: Cohort, insight: Insight = IGNORANT) -> Tensor:
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


class Spy(Part):
    """An attack on privacy.  It gets a view and what it declares to know, and never the truth."""

    table: ClassVar[dict[str, type[Spy]]] = {}
    attacker: ClassVar[str]  # who can do this
    knows: ClassVar[str]  # what it is assumed to know besides its view
    fails: ClassVar[str]  # where it must fail
    reads: ClassVar[tuple[Content, ...]] = ("pictures", "table")  # what it can tell examples of
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
                for kind, spy in Spy.table.items()
                if issubclass(spy, Reconstruction) and set(spy.reads) & set(network.model.reads)
            ]
            raise SettingError(
                f"{self.kind} finds {' or '.join(self.reads)}, and model.kind {network.model.kind} "
                f"is trained on {' or '.join(network.model.reads)}: use {' or '.join(fitting)}"
            )
        self.check(network)


class Reconstruction(Spy):
    """Rebuilds private inputs from what the server received."""

    @abstractmethod
    def __call__(self, view: ServerView, target: int, known: Known) -> Iterator[Guess]:
        """Guesses at the examples of client `target`, ever better; the last one is the answer."""


class Subversion(Reconstruction):
    """The same by a malicious server, which sends a model of its own making and reads the answer.

    The clients are honest and train it; the view that `__call__` gets is of that round.
    """

    @abstractmethod
    def plant(self, view: ServerView, known: Known) -> Planted:
        """What it sends to the cohort.

        view: of the round as it was, before the attack, with the rows that it is after
        """


class Needs(NamedTuple):
    """What an attack has to have besides its view."""

    shadows: int = 0  # models of its own
    public: int = 0  # examples of the same kind that nobody trains on


class Inference(Spy):
    """Tells which of the candidates were trained on, by the released model."""

    reads: ClassVar[tuple[Content, ...]] = ("pictures", "table", "text")
    seat: ClassVar[Literal["client", "server", "outsider"]] = "outsider"

    def needs(self) -> Needs:
        return Needs()

    @abstractmethod
    def signal(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """What it measures of each example on one model.  -> (candidates, ...)"""

    @abstractmethod
    def __call__(self, evidence: Evidence) -> Tensor:
        """A score for each candidate, higher for likelier members.  -> (candidates,)"""


class Surveillance(Spy):
    """Tells which client holds which candidate, by all that the server gets round after round."""

    reads: ClassVar[tuple[Content, ...]] = ("pictures", "table", "text")
    apart: ClassVar[bool] = False  # whether it needs every client's update by itself

    def needs(self) -> Needs:
        """Shadows are whole federations here."""
        return Needs()

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
    def __call__(self, evidence: Watched) -> Tensor:
        """How likely each client holds each candidate, higher for likelier.

        -> (clients, candidates)
        """


class Recognition(Spy):
    """Tells which people were trained on, by examples of theirs."""

    reads: ClassVar[tuple[Content, ...]] = ("pictures", "table", "text")

    def needs(self) -> Needs:
        """Shadows are trained on further people."""
        return Needs()

    def seen(self) -> bool:
        """Whether it has the very examples that people trained on, which is for comparison."""
        return False

    @abstractmethod
    def signal(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """What it measures of each example on one model.  -> (examples, ...)"""

    @abstractmethod
    def __call__(self, evidence: Evidence, person: Tensor) -> Tensor:
        """A score for each person, higher for those who likelier took part.

        person (examples,) whose each is -> (people,)
        """


class Insertion(NamedTuple):
    """Which secrets an experimenter inserts, to see whether an attack gets at them."""

    canaries: int  # secrets for each number of copies
    copies: int  # the most often that one is inserted
    length: int  # its words


class Extraction(Spy):
    """Draws secrets out of a released language model, of which it knows how they begin."""

    reads: ClassVar[tuple[Content, ...]] = ("text",)

    @abstractmethod
    def inserted(self) -> Insertion:
        """What it is measured by."""

    @abstractmethod
    def __call__(self, view: OutsiderView, opening: Opening, fillings: Tensor) -> Tensor:
        """How hard the model finds each filling, lower for likelier ones.

        fillings (fillings, length) word numbers -> (fillings,)
        """

    @abstractmethod
    def search(self, view: OutsiderView, opening: Opening) -> Tensor:
        """What the model says next, of all words there are; the likeliest first.

        -> (found, length) word numbers
        """


class Provocation(Spy):
    """Changes the model that clients train, and tells members by how training takes that back."""

    reads: ClassVar[tuple[Content, ...]] = ("pictures", "table", "text")
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
    def __call__(self, evidence: Provoked) -> Tensor:
        """A score for each candidate, higher for likelier members.  -> (candidates,)"""

    @abstractmethod
    def still(self) -> Provocation:
        """The same without doing anything: what watching alone would tell."""


class Survey(Spy):
    """Tells how many of the examples behind an update have a property that no label names.

    It trains updates of its own from the model that was sent, and learns from those.
    """

    reads: ClassVar[tuple[Content, ...]] = ("pictures", "table", "text")
    rounds: int = 1  # that it looks at
    present: float = 0.0  # the share from which the property counts as there; 0: the median

    @abstractmethod
    def trait(self, known: Known, classes: int) -> Trait:
        """Raises SettingError, with what there is, for a property that examples do not have."""

    @abstractmethod
    def sets(self, view: ServerView, known: Known) -> Tensor:
        """Public examples that updates are to be made of.  -> (sets, examples) int64"""

    @abstractmethod
    def __call__(self, view: ServerView, known: Known, sets: Tensor, made: Tensor) -> Tensor:
        """The share that it sees in each row that the server got.  -> (rows,)

        made (sets, params): the updates of clients who hold those sets
        """


class Unmasking(Spy):
    """Gets one client's update out of secure aggregation, as a server that does as it likes."""

    reads: ClassVar[tuple[Content, ...]] = ("pictures", "table", "text")

    @abstractmethod
    def __call__(self, siege: Siege, target: int) -> Iterator[Claim]:
        """Claims of what client `target` has sent, one for each step; the last is the answer.

        Raises SettingError where the round leaves the attack nothing to do.
        """
