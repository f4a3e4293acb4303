"""Spies that watch all rounds, and what they see, which tests of surveillance share."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from attacks import SPIES
from lab import Experiment, run
from lab.engine import State
from lab.models import MODELS, Network
from lab.parts import Surveillance
from lab.surveillance import surveil
from lab.trial import Result
from lab.views import Candidates, ServerView
from lab.wire import Recipe

WATCHERS = [name for name, spy in SPIES.items() if issubclass(spy, Surveillance)]

OVERFITTED = Experiment.read(
    {
        "seed": 5,
        "data": {"source": "fashion-mnist", "clients": 4, "examples": 160},
        "model": {"kind": "mlp", "hidden": 64},
        "training": {"rounds": 4, "epochs": 10, "batch_size": 10, "rate": 0.1},
    }
)


def spy_of(name: str, **settings: object) -> Surveillance:
    few = {"shadows": 4} if name == "server-lira" else {}
    spy = SPIES[name].read({"kind": name, **few, **settings})
    assert isinstance(spy, Surveillance)
    return spy


@cache
def ended(now: Experiment) -> State:
    *_, moment = run(now)
    return moment.state


def watched(name: str, now: Experiment, client: int | None = None) -> Result:
    *_, glimpse = surveil(spy_of(name), ended(now), client)
    assert glimpse.result is not None
    return glimpse.result


@cache
def overfitted(name: str) -> Result:
    return watched(name, OVERFITTED)


# A linear model of two classes that knows nothing: every gradient is (-1/2, 1/2) x (inputs, 1).
LINEAR = Network(MODELS["logistic"](), (2,), 2)
RECIPE = Recipe(1, 0, 1, 0.1, None, True, 1.0)
ASKED = Candidates(torch.tensor([[3.0, 4.0], [3.0, 4.0], [4.0, -3.0]]), torch.tensor([0, 1, 0]))


def view_of(
    network: Network, rows: Tensor, sent: Tensor | None = None, shared: int | None = None
) -> ServerView:
    start = torch.zeros(network.size) if sent is None else sent
    senders = tuple((one,) for one in range(len(rows)))
    shared = network.size if shared is None else shared
    return ServerView(1, network, RECIPE, start, rows, torch.ones(len(rows)), senders, shared, None)
