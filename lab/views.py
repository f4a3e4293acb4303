"""Views: what one party holds after a round.  An attack gets a view and never the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from lab.federation import Federation, as_floats
from lab.models import Network
from lab.wire import Recipe, Transcript


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

    def row_of(self, client: int) -> int:
        """The visible row that holds this client's update, alone or with others'.

        Raises LookupError when the server got nothing from the client in this round.
        """
        for row, senders in enumerate(self.senders):
            if client in senders:
                return row
        raise LookupError(f"client {client} sent nothing in round {self.round}")


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
class Guess:
    """What a reconstruction attack believes so far.  Its last guess is its answer."""

    inputs: Tensor  # (guessed, *shape) floats
    labels: Tensor  # (guessed,)
    step: int  # how far the attack is,
    steps: int  # and where it ends
    objective: float | None = None  # what the attacker itself can measure; 0 is a perfect match


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
