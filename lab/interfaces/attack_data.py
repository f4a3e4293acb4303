"""What attacks measure beside their view, and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from lab.interfaces.views import ServerView
from lab.models.network import Network


@dataclass(frozen=True, eq=False)
class StagedRound:
    """A round of a malicious server's own making."""

    clients: tuple[int, ...]  # whom it asks, in client order
    models: Mapping[int, Tensor] = field(default_factory=dict)  # (params,) sent to those clients;
    # to all others the model of the round
    accomplices: tuple[int, ...] = ()  # of those asked, who tell it what they know
    again: bool = False  # a further round, not another course of this one: noise is drawn anew
    fresh: bool = False  # whether clients draw new batches, too
    hint: int = 0  # last bits that it is told of the weak seeds between all others
    announced: int = 0  # as how many it tells the honest clients, who then hear of `clients` alone;


@dataclass(frozen=True, eq=False)
class ShareResponses:
    """A malicious server asks for both halves of one client: what it was given and refused."""

    asked: tuple[int, ...]  # clients who were asked
    needed: int  # shares that open a half
    seeds: int  # shares it got of the target's own mask
    keys: int  # shares it got of the target's key to all shared masks
    refusals: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class MaliciousServer:
    """A malicious server under secure aggregation: the round as it was, and what it may try.

    It moves every message, chooses whom to ask and what to send, and owns its accomplices.  The
    clients are honest: they train as they are asked and follow the protocol.
    """

    view: ServerView  # of the round as it was
    clients: tuple[int, ...]  # who was asked in it
    play: Callable[[StagedRound], ServerView]  # one more round from the same model
    # (target, who is told that it lives, who is told that it is gone, the threshold announced or 0)
    interview: Callable[[int, tuple[int, ...], tuple[int, ...], int], ShareResponses]


@dataclass(frozen=True, eq=False)
class UpdateEstimate:
    """What an attack says that the target has sent.  Its last claim is its answer."""

    name: str  # what it was got from
    step: int
    steps: int
    update: Tensor | None = None  # (params,); None: nothing is claimed
    where: Tensor | None = None  # (params,) bool: which parameters are claimed; None: all
    weight: float = 1.0  # examples that the target reports, where clients do
    notes: tuple[str, ...] = ()  # what the attacker itself has seen


@dataclass(frozen=True, eq=False)
class Candidates:
    """Examples of which a membership attack says how likely each was trained on."""

    inputs: Tensor  # (candidates, *shape) floats
    labels: Tensor  # (candidates,)


@dataclass(frozen=True, eq=False)
class CanaryPrefix:
    """What an attacker knows of a secret that somebody may have typed."""

    before: Tensor  # (contexts, words) floats: other people's words, and how the secret begins
    alphabet: Tensor  # (letters,) int64: the words of which one stands in each place of the secret
    length: int  # its places


@dataclass(frozen=True, eq=False)
class MembershipSignals:
    """What an attack has measured of each example, on the model that it asks and on its own.

    Its own are shadow models: trained by the same recipe on halves of the candidates, drawn at
    random in pairs of which the second has what the first has not.
    """

    candidates: Candidates
    target: Tensor  # (candidates, ...) on the model under attack
    shadows: Tensor  # (shadows, candidates, ...) on the attacker's own models
    inside: Tensor  # (shadows, candidates) bool: what each of those was trained on
    public: Candidates  # examples of the same kind, of which no model was trained on any
    target_public: Tensor  # (public, ...)
    shadows_public: Tensor  # (shadows, public, ...)


@dataclass(frozen=True, eq=False)
class ClientSignals:
    """What a server has measured over all rounds, of the federation and of its own shadow ones."""

    candidates: Candidates
    target: Tensor  # (clients, candidates, ...)
    shadows: Tensor  # (shadows, clients, candidates, ...)
    holders: Tensor  # (shadows, candidates) int64: which client of each held it, -1 for none


@dataclass(frozen=True, eq=False)
class ActiveSignals:
    """What an active attacker has measured of each example, round after round."""

    start: Tensor  # (candidates, ...) on the model before it did anything
    sent: Tensor  # (rounds, candidates, ...) on the models that clients began with
    answered: Tensor  # (rounds, candidates, ...) on what came of their training


@dataclass(frozen=True, eq=False)
class ManipulatedModel:
    """What a malicious server sends in place of the model of the round."""

    network: Network  # the clients' own, or one of the server's making with the same examples
    sent: Tensor  # (params,) of that network


@dataclass(frozen=True, eq=False)
class ReconstructedBatch:
    """What a reconstruction attack believes so far.  Its last guess is its answer."""

    inputs: Tensor  # (guessed, *shape) floats; (0, *shape): labels are all it says
    labels: Tensor  # (guessed,)
    step: int  # how far the attack is,
    steps: int  # and where it ends
    objective: float | None = None  # what the attacker itself can measure; 0 is a perfect match
    proven: bool | None = None  # whether the attacker itself knows that it has found everything
    bag: Tensor | None = None  # (words,) how often each was typed, where their order is not told
    starts: int = 1  # tried so far; this guess is the best of them by the attacker's own measure
