"""Eight broken mechanisms: each is caught, and the sound one never is."""

from __future__ import annotations

import pytest

from lab.audited import Audited, Reading
from lab.auditing import Judge, audit
from lab.audits.audit import Past
from lab.audits.client_canary import PLAYED, ClientCanary
from lab.audits.faults import FAULTS, WORDS, Fault
from lab.audits.one_run import OneRun
from lab.engine import begin
from lab.experiment import Experiment
from lab.settings import SettingError

SMALL = Experiment.read(
    {
        "data": {"source": "digits", "clients": 2, "examples": 400},
        "model": {"kind": "mlp", "hidden": 40},
        "training": {"rounds": 6, "batch_size": 40, "rate": 0.5},
        "privacy": {"kind": "example", "epsilon": 4.0, "delta": 1e-5},
    }
)
COHORTS = SMALL.changed(
    {"data.clients": 20, "data.examples": 200, "training.rounds": 4, "privacy.kind": "client",
     "training.clients_per_round": 10, "privacy.epsilon": 4.0}
)  # fmt: skip


def audited(seed: int, spy: OneRun | ClientCanary, experiment: Experiment = SMALL) -> Audited:
    now = experiment.changed({"seed": seed})
    past = Past(now, now.training.rounds, lambda _: begin(now).model)
    *_, last = audit(spy, past)
    assert last.result is not None
    assert last.result.audited is not None
    return last.result.audited


def read(seed: int) -> Reading:
    """After the last round only."""
    now, spy = SMALL.changed({"seed": seed}), OneRun(beside=40)
    past = Past(now, now.training.rounds, lambda _: begin(now).model)
    *_, last = spy(past)
    return Judge(spy, past).read(last)[0]


@pytest.mark.parametrize("fault", FAULTS)
def test_every_broken_mechanism_is_caught(fault: Fault) -> None:
    found = audited(0, OneRun(beside=40, fault=fault))
    assert found.last.claimed == pytest.approx(4.0, rel=1e-3)
    assert found.broken
    assert found.verdict.startswith("the mechanism is broken")


def test_the_sound_mechanism_is_never_accused() -> None:
    found = [read(seed) for seed in range(20)]
    assert not [one for one in found if one.certain > 4]
    assert sum(one.proven for one in found) / 20 > 2  # of 4: an audit that looks


@pytest.mark.parametrize("fault", PLAYED[1:])
def test_broken_cohorts_are_caught(fault: Fault) -> None:
    assert audited(0, ClientCanary(fault=fault, canaries=2000), COHORTS).broken


def test_sound_cohorts_are_not_accused() -> None:
    found = [audited(seed, ClientCanary(canaries=800), COHORTS) for seed in range(5)]
    assert not [one for one in found if one.broken]
    assert sum(one.last.proven for one in found) / 5 > 1


def test_every_fault_is_told_in_words() -> None:
    assert set(WORDS) == {"none", *FAULTS}
    assert len(FAULTS) == 8


@pytest.mark.parametrize(
    ("changes", "fault", "words"),
    [
        ({"training.batch_size": 200}, "always-sampled", "every batch holds everybody"),
        ({"training.rounds": 1}, "reseeded-each-round", "one round only"),
        ({"model": "logistic"}, "noise-on-one-layer", "logistic has but one"),
    ],
)
def test_a_fault_that_breaks_nothing_is_refused(
    changes: dict[str, object], fault: Fault, words: str
) -> None:
    with pytest.raises(SettingError, match=words):
        audited(0, OneRun(fault=fault, canaries=200), SMALL.changed(changes))


def test_a_fault_that_nobody_plays_is_refused() -> None:
    with pytest.raises(SettingError, match="does not play"):
        audited(0, ClientCanary(fault="noise-reused"), COHORTS)
