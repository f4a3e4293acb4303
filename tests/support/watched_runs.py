"""Spies that watch all rounds, and what they see, which tests of surveillance share."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from attacks import PRIVACY_ATTACKS
from lab import Experiment, run
from lab.attack_runs.membership.server import run_server_membership
from lab.engine.run_state import RunState
from lab.interfaces.attack_data import Candidates
from lab.interfaces.messages import TrainingPlan
from lab.interfaces.privacy_attacks import ServerMembershipAttack
from lab.interfaces.views import ServerView
from lab.models.architectures import MODELS
from lab.models.network import Network
from lab.scoring.attack_result import AttackResult

WATCHERS = [
    name for name, spy in PRIVACY_ATTACKS.items() if issubclass(spy, ServerMembershipAttack)
]

OVERFITTED = Experiment.read(
    {
        "seed": 5,
        "data": {"source": "fashion-mnist", "clients": 4, "examples": 160},
        "model": {"kind": "mlp", "hidden": 64},
        "training": {"rounds": 4, "epochs": 10, "batch_size": 10, "rate": 0.1},
    }
)


def spy_of(name: str, **settings: object) -> ServerMembershipAttack:
    few = {"shadows": 4} if name == "server-lira" else {}
    spy = PRIVACY_ATTACKS[name].read({"kind": name, **few, **settings})
    assert isinstance(spy, ServerMembershipAttack)
    return spy


@cache
def ended(now: Experiment) -> RunState:
    *_, moment = run(now)
    return moment.state


def watched(name: str, now: Experiment, client: int | None = None) -> AttackResult:
    *_, glimpse = run_server_membership(spy_of(name), ended(now), client)
    assert glimpse.result is not None
    return glimpse.result


@cache
def overfitted(name: str) -> AttackResult:
    return watched(name, OVERFITTED)


# A linear model of two classes that knows nothing: every gradient is (-1/2, 1/2) x (inputs, 1).
LINEAR = Network(MODELS["logistic"](), (2,), 2)
RECIPE = TrainingPlan(1, 0, 1, 0.1, None, True, 1.0)
ASKED = Candidates(torch.tensor([[3.0, 4.0], [3.0, 4.0], [4.0, -3.0]]), torch.tensor([0, 1, 0]))


def view_of(
    network: Network, rows: Tensor, sent: Tensor | None = None, shared: int | None = None
) -> ServerView:
    start = torch.zeros(network.size) if sent is None else sent
    senders = tuple((one,) for one in range(len(rows)))
    shared = network.size if shared is None else shared
    return ServerView(1, network, RECIPE, start, rows, torch.ones(len(rows)), senders, shared, None)
