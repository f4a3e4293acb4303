"""The guard from end to end: audits of random runs never prove more epsilon than is stated.

Canary clients take part in runs with whatever the audit accepts, poisons and changes in mid-run
among it.  Each audit is right with probability 0.9999, so that all of them are with 0.997.
"""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Any

import pytest

from attacks import POISONING_ATTACKS
from lab.audits.audit import AuditedRun
from lab.audits.client_canary import ClientCanary
from lab.audits.run_audit import run_audit
from lab.common.settings import SettingError
from lab.engine.run import initial_state
from lab.experiment.experiment import Experiment
from lab.scoring.audit_score import AuditReading
from tests.support.guarantee_strategies import BASE, poison

AUDITS = 30
SPY = ClientCanary(canaries=200, confidence=0.9999)


def experiment_of(chance: Random) -> Experiment:
    """Raises SettingError."""
    clients, rounds = chance.randint(4, 12), chance.randint(1, 3)
    settings: dict[str, Any] = {
        "seed": chance.randrange(10**6),
        "data.clients": clients,
        "data.examples": 20 * clients,
        "model": chance.choice(("logistic", {"kind": "mlp", "hidden": 10})),
        "training.rounds": rounds,
        "training.clients_per_round": chance.choice((0, 0, clients // 2 + 1)),
        "training.algorithm": {"kind": "fedavg", "rate": chance.choice((0.5, 1.0))},
        "privacy.kind": "client",
        "privacy.place": chance.choice(("distributed", "central")),
        "privacy.sampling": chance.choice(("poisson", "fixed")),
        "privacy.clip": chance.choice((0.1, 1.0)),
        "privacy.noise": chance.choice((0.0, 0.5, 1.0)),
        "privacy.per_layer": chance.random() < 0.3,
        "network.dropout": chance.choice((0.0, 0.0, 0.3)),
        "adversary.count": chance.choice((0, clients // 2)),
        "adversary.attack": poison(chance.choice(sorted(POISONING_ATTACKS))),
    }
    experiment = Experiment().changed(BASE | settings)
    if rounds > 1 and chance.random() < 0.5:
        change = chance.choice(({"privacy.noise": 0.7}, {"privacy.clip": 0.2}))
        experiment = experiment.changed_from(2, change)
    SPY.refuse(past_of(experiment))
    return experiment


def past_of(experiment: Experiment) -> AuditedRun:
    return AuditedRun(
        experiment, experiment.training.rounds, lambda _: initial_state(experiment).model
    )


@cache
def read(number: int) -> tuple[Experiment, AuditReading]:
    """What an audit of that random run says after its last round."""
    chance = Random(number)
    while True:
        try:
            experiment = experiment_of(chance)
            break
        except SettingError:
            continue  # the lab refuses such a run, or such an audit of it
    *_, last = run_audit(SPY, past_of(experiment))
    assert last.score is not None
    return experiment, last.score.last


@pytest.mark.parametrize("number", range(AUDITS))
def test_no_more_is_proven_than_is_stated(number: int) -> None:
    experiment, found = read(number)
    if found.claimed is None:
        return
    settings = experiment.overrides_as_text()
    assert found.proven <= found.claimed, f"{settings}: {found.proven} of {found.claimed}"


def test_audits_prove_something() -> None:
    found = [read(number)[1] for number in range(AUDITS)]
    shares = [one.proven / one.claimed for one in found if one.claimed]
    assert len(shares) >= AUDITS // 3
    assert sum(shares) / len(shares) > 0.05
