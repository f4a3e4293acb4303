"""Views: what one party holds after a round.  An attack gets a view and never the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lab.interfaces.columns import Column
from lab.interfaces.data import Federation, as_floats
from lab.interfaces.messages import Opened, Recipe, Transcript
from lab.models.network import Network


@dataclass(frozen=True, eq=False)
class ServerView:
    """The server: it sent the model, and holds whatever rows reached it."""

    round: int
    network: Network
    recipe: Recipe
    sent: Tensor  # (params,)
    rows: Tensor  # (visible, params); 0 where nothing travels
    weights: Tensor  # (visible,)
    senders: tuple[tuple[int, ...], ...]
    shared: int  # how many parameters travel: the first so many
    masked: np.ndarray | None  # (arrived, words) uint32, only under secure aggregation
    opened: Opened | None = None  # what it knows of those masks
    note: str = ""  # why nothing was unmasked

    def row_of(self, client: int) -> int:
        """The visible row that holds this client's update, alone or with others'.

        Raises LookupError when the server got nothing from the client in this round.
        """
        for row, senders in enumerate(self.senders):
            if client in senders:
                return row
        raise LookupError(f"client {client} sent nothing in round {self.round}")


@dataclass(frozen=True, eq=False)
class Plot:
    """A round of a malicious server's own making."""

    clients: tuple[int, ...]  # whom it asks, in client order
    models: Mapping[int, Tensor] = field(default_factory=dict)  # (params,) sent to those clients;
    # to all others the model of the round
    accomplices: tuple[int, ...] = ()  # of those asked, who tell it what they know
    again: bool = False  # a further round, not another course of this one: noise is drawn anew
    fresh: bool = False  # whether clients draw new batches, too
    hint: int = 0  # last bits that it is told of the weak seeds between all others
    announced: int = 0  # as how many it tells the honest clients, who then hear of `clients` alone;
    # it works under terms of its own; 0: it announces those that it asks


@dataclass(frozen=True, eq=False)
class Interview:
    """A malicious server asks for both halves of one client: what it was given and refused."""

    asked: tuple[int, ...]  # clients who were asked
    needed: int  # shares that open a half
    seeds: int  # shares it got of the target's own mask
    keys: int  # shares it got of the target's key to all shared masks
    refusals: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Siege:
    """A malicious server under secure aggregation: the round as it was, and what it may try.

    It moves every message, chooses whom to ask and what to send, and owns its accomplices.  The
    clients are honest: they train as they are asked and follow the protocol.
    """

    view: ServerView  # of the round as it was
    clients: tuple[int, ...]  # who was asked in it
    play: Callable[[Plot], ServerView]  # one more round from the same model
    # (target, who is told that it lives, who is told that it is gone, the threshold announced or 0)
    interview: Callable[[int, tuple[int, ...], tuple[int, ...], int], Interview]


@dataclass(frozen=True, eq=False)
class Claim:
    """What an attack says that the target has sent.  Its last claim is its answer."""

    name: str  # what it was got from
    step: int
    steps: int
    update: Tensor | None = None  # (params,); None: nothing is claimed
    where: Tensor | None = None  # (params,) bool: which parameters are claimed; None: all
    weight: float = 1.0  # examples that the target reports, where clients do
    notes: tuple[str, ...] = ()  # what the attacker itself has seen


@dataclass(frozen=True, eq=False)
class ClientView:
    """One client: the model that it was sent, and its own data."""

    round: int
    network: Network
    recipe: Recipe
    sent: Tensor  # (params,)
    inputs: Tensor  # (own examples, *shape) floats
    labels: Tensor  # (own examples,)


@dataclass(frozen=True, eq=False)
class OutsiderView:
    """Anybody who is given the released model."""

    round: int
    network: Network
    model: Tensor  # (params,)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Examples of which a membership attack says how likely each was trained on."""

    inputs: Tensor  # (candidates, *shape) floats
    labels: Tensor  # (candidates,)


@dataclass(frozen=True, eq=False)
class Opening:
    """What an attacker knows of a secret that somebody may have typed."""

    before: Tensor  # (contexts, words) floats: other people's words, and how the secret begins
    alphabet: Tensor  # (letters,) int64: the words of which one stands in each place of the secret
    length: int  # its places


@dataclass(frozen=True, eq=False)
class Evidence:
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
class Watched:
    """What a server has measured over all rounds, of the federation and of its own shadow ones."""

    candidates: Candidates
    target: Tensor  # (clients, candidates, ...)
    shadows: Tensor  # (shadows, clients, candidates, ...)
    holders: Tensor  # (shadows, candidates) int64: which client of each held it, -1 for none


@dataclass(frozen=True, eq=False)
class Provoked:
    """What an active attacker has measured of each example, round after round."""

    start: Tensor  # (candidates, ...) on the model before it did anything
    sent: Tensor  # (rounds, candidates, ...) on the models that clients began with
    answered: Tensor  # (rounds, candidates, ...) on what came of their training


@dataclass(frozen=True)
class Mechanism:
    """What clients do to an update before they send it; the server prescribes it, so it knows."""

    unit: Literal["none", "example", "client"] = "none"  # whom clipping and noise protect
    clip: float = 0.0  # longest gradient or update let through; 0: any
    noise: float = 0.0  # noise multiplier: of each local step (example), of the sum (client)
    codec: str = ""  # kind of compression


@dataclass(frozen=True, eq=False)
class Known:
    """What an attacker knows besides its view: all of it public, and the same for every target."""

    inputs: Tensor  # (public, *shape) examples like the private ones, on which nobody trains
    labels: Tensor  # (public,)
    columns: tuple[Column, ...] = ()  # what the floats of a table mean
    mechanism: Mechanism = Mechanism()

    @classmethod
    def nothing(cls, network: Network) -> Known:
        """But for the shape of the examples, and that nothing is done to updates."""
        return cls(torch.zeros(0, *network.shape), torch.zeros(0, dtype=torch.int64))


@dataclass(frozen=True, eq=False)
class Planted:
    """What a malicious server sends in place of the model of the round."""

    network: Network  # the clients' own, or one of the server's making with the same examples
    sent: Tensor  # (params,) of that network


@dataclass(frozen=True, eq=False)
class Guess:
    """What a reconstruction attack believes so far.  Its last guess is its answer."""

    inputs: Tensor  # (guessed, *shape) floats; (0, *shape): labels are all it says
    labels: Tensor  # (guessed,)
    step: int  # how far the attack is,
    steps: int  # and where it ends
    objective: float | None = None  # what the attacker itself can measure; 0 is a perfect match
    proven: bool | None = None  # whether the attacker itself knows that it has found everything
    bag: Tensor | None = None  # (words,) how often each was typed, where their order is not told
    starts: int = 1  # tried so far; this guess is the best of them by the attacker's own measure


def server_view(transcript: Transcript, target: int | None = None) -> ServerView:
    """target: a client that may have been sent another model than the rest"""
    rows, sent = transcript.delivery.rows, transcript.sent
    shared = rows.shape[1]
    return ServerView(
        round=transcript.round,
        network=transcript.network,
        recipe=transcript.recipe,
        sent=sent if target is None else transcript.starts.get(target, sent),
        rows=F.pad(rows, (0, len(sent) - shared)),
        weights=transcript.delivery.weights,
        senders=transcript.delivery.senders,
        shared=shared,
        masked=transcript.delivery.masked,
        opened=transcript.delivery.opened,
        note=transcript.delivery.note,
    )


def client_view(transcript: Transcript, federation: Federation, client: int) -> ClientView:
    held = federation.held(client)
    return ClientView(
        round=transcript.round,
        network=transcript.network,
        recipe=transcript.recipe,
        sent=transcript.sent,
        inputs=as_floats(federation.inputs[held]),
        labels=federation.labels[held],
    )


def outsider_view(transcript: Transcript) -> OutsiderView:
    return OutsiderView(transcript.round, transcript.network, transcript.released)
