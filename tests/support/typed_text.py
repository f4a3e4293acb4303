"""Federations that type, and what was typed there, which tests of text share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from lab import Experiment, run
from lab.common.random_streams import random_stream
from lab.engine.client.batches import touched
from lab.engine.data.federation import federated_dataset
from lab.engine.run_state import RoundResult
from lab.interfaces.attack_data import ReconstructedBatch
from lab.interfaces.messages import TrainingPlan
from lab.interfaces.views import ServerView
from lab.models.architectures import MODELS
from lab.models.network import Network

TYPED = {
    "data": {"source": "chat", "clients": 10},
    "model": {"kind": "transformer", "heads": 4, "each": 32},
    "training": {"rounds": 1, "steps": 1, "batch_size": 3, "clients_per_round": 3},
}
Sentence = tuple[tuple[int, ...], int]  # and its next word


def typed(**settings: object) -> Experiment:
    changes = {path.replace("__", "."): value for path, value in settings.items()}
    return Experiment.read(TYPED).changed(changes)


def moment_of(now: Experiment) -> RoundResult:
    *_, moment = run(now)
    return moment


@cache
def plain() -> RoundResult:
    return moment_of(typed())


def private(moment: RoundResult, client: int) -> tuple[Tensor, Tensor]:
    now, round = moment.state.experiment, moment.record.round
    federation = federated_dataset(now)
    held = federation.held(client)
    used = held[torch.from_numpy(touched(now, round, client, len(held)))]
    return federation.inputs[used], federation.labels[used]


def sentences(inputs: Tensor, labels: Tensor) -> Counter[Sentence]:
    rows = inputs.long().tolist()
    return Counter((tuple(row), label) for row, label in zip(rows, labels.tolist(), strict=True))


def last(guesses: Iterator[ReconstructedBatch]) -> ReconstructedBatch:
    *_, guess = guesses
    return guess


def view_of(inputs: Tensor, labels: Tensor, depth: int = 2, spoil: float = 0.0) -> ServerView:
    """A server that got the gradient of these examples, by autograd."""
    model = MODELS["transformer"].model_validate(
        {"kind": "transformer", "heads": 4, "each": 8, "depth": depth}
    )
    network = Network(model, (int(inputs.shape[1]),), 50)
    sent = network.initial(random_stream(1, "model")).requires_grad_(True)
    loss = F.cross_entropy(network(sent, inputs.float()), labels)
    gradient = torch.autograd.grad(loss, sent)[0]
    gradient += spoil * torch.randn(gradient.shape, generator=torch.Generator().manual_seed(0))
    recipe = TrainingPlan(
        epochs=1, cap=1, batch_size=len(labels), rate=1.0, poisson=None, weighted=True, mean_size=1
    )
    return ServerView(
        round=1,
        network=network,
        recipe=recipe,
        sent=sent.detach(),
        rows=-gradient.unsqueeze(0),
        weights=torch.tensor([float(len(labels))]),
        senders=((0,),),
        shared=network.size,
        masked=None,
    )
