"""Views: what one party holds after a round.  An attack gets a view and never the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lab.interfaces.columns import Column
from lab.interfaces.data import FederatedDataset
from lab.interfaces.messages import RevealedMasks, TrainingPlan, Transcript
from lab.models.inputs import as_floats
from lab.models.network import Network


@dataclass(frozen=True, eq=False)
class ServerView:
    """The server: it sent the model, and holds whatever rows reached it."""

    round: int
    network: Network
    recipe: TrainingPlan
    sent: Tensor  # (params,)
    rows: Tensor  # (visible, params); 0 where nothing travels
    weights: Tensor  # (visible,)
    senders: tuple[tuple[int, ...], ...]
    shared: int  # how many parameters travel: the first so many
    masked: np.ndarray | None  # (arrived, words) uint32, only under secure aggregation
    opened: RevealedMasks | None = None  # what it knows of those masks
    note: str = ""  # why nothing was unmasked

    def row_of(self, client: int) -> int:
        """The visible row that holds this client's update, alone or with others'.

        Raises LookupError when the server got nothing from the client in this round.
        """
        for row, senders in enumerate(self.senders):
            if client in senders:
                return row
        raise LookupError(f"client {client} sent nothing in round {self.round}")

    # it works under terms of its own; 0: it announces those that it asks


@dataclass(frozen=True, eq=False)
class ClientView:
    """One client: the model that it was sent, and its own data."""

    round: int
    network: Network
    recipe: TrainingPlan
    sent: Tensor  # (params,)
    inputs: Tensor  # (own examples, *shape) floats
    labels: Tensor  # (own examples,)


@dataclass(frozen=True, eq=False)
class OutsiderView:
    """Anybody who is given the released model."""

    round: int
    network: Network
    model: Tensor  # (params,)


@dataclass(frozen=True)
class ClientMechanism:
    """What clients do to an update before they send it; the server prescribes it, so it knows."""

    unit: Literal["none", "example", "client"] = "none"  # whom clipping and noise protect
    clip: float = 0.0  # longest gradient or update let through; 0: any
    noise: float = 0.0  # noise multiplier: of each local step (example), of the sum (client)
    codec: str = ""  # kind of compression


@dataclass(frozen=True, eq=False)
class AuxiliaryInfo:
    """What an attacker knows besides its view: all of it public, and the same for every target."""

    inputs: Tensor  # (public, *shape) examples like the private ones, on which nobody trains
    labels: Tensor  # (public,)
    columns: tuple[Column, ...] = ()  # what the floats of a table mean
    mechanism: ClientMechanism = ClientMechanism()

    @classmethod
    def nothing(cls, network: Network) -> AuxiliaryInfo:
        """But for the shape of the examples, and that nothing is done to updates."""
        return cls(torch.zeros(0, *network.shape), torch.zeros(0, dtype=torch.int64))


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


def client_view(transcript: Transcript, federation: FederatedDataset, client: int) -> ClientView:
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
