"""Secure aggregation on its page, and every mechanism switched on in mid-run."""

from __future__ import annotations

import pytest

from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from tests.support.app_pages import TINY, button, choose, labels, opened, trained, words, work_off

MASKED = {
    "model": "mlp",
    "secure_aggregation.threshold": 1.0,  # two accomplices and the target are not enough
    "secure_aggregation.enabled": True,
    "secure_aggregation.binding": False,
}


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("single-out", "No better than the sum"),
        ("sybils", "Recovered: only rounding is left"),
        ("captured-neighbourhood", "Nothing recovered"),
        ("sum-difference", "Recovered: only rounding is left"),
        ("inconsistent-models", "Recovered: only rounding is left"),
        ("weak-masks", "Nothing recovered"),
        ("alive-and-dead", "Nothing recovered"),
    ],
)
def test_secure_aggregation_from_the_button_to_the_verdict(
    store: Store, name: str, verdict: str
) -> None:
    app = opened("aggregation", run=trained(store, TINY.changed(MASKED)))
    assert "No masked row can be told from random bytes" in words(app)
    choose(choose(app, "Client", 2), "Attack", name)
    button(app, "Attack")
    work_off(store)
    app.run()
    assert not app.exception
    assert verdict in words(app)
    metrics = {metric.label: metric.value for metric in app.metric}
    assert "Cosine of the mean" in metrics
    assert f"leaklab attack {name} --run" in words(app)


def test_few_neighbours_without_signatures_are_a_caution_on_both_pages(store: Store) -> None:
    few = {"secure_aggregation.neighbours": 2, "secure_aggregation.threshold": 0.51}
    run = trained(store, TINY.changed(MASKED | few))
    for page in ("live", "aggregation"):
        assert "a lying server needs no accomplice" in words(opened(page, run=run))


def test_secure_aggregation_that_is_off_says_how_to_switch_it_on(store: Store) -> None:
    app = opened("aggregation", run=trained(store))
    assert "Switch Secure aggregation on" in words(app)
    assert "-s secure_aggregation.enabled=true" in words(app)
    assert "Attack" not in labels(app)
    median = trained(store, TINY.changed({"aggregation.rule": "median"}))
    assert "would need other changes as well" in words(opened("aggregation", run=median))


def test_secure_aggregation_that_was_broken_off_says_so(store: Store) -> None:
    strict = {"secure_aggregation.threshold": 1.0, "network.dropout": 0.9}
    app = opened("aggregation", run=trained(store, TINY.changed(MASKED | strict)))
    assert "ecure aggregation aborted" in words(app)
    assert "Attack" not in labels(app)


def test_a_round_that_nothing_repeats_is_not_shown(store: Store) -> None:
    noise = {"privacy.kind": "client", "privacy.noise": 1.0, "privacy.secure_noise": True}
    app = opened("aggregation", run=trained(store, TINY.changed(MASKED | noise)))
    assert "cannot be replayed" in words(app)


@pytest.mark.parametrize(
    ("label", "path", "value"),
    [
        ("Adaptive clip: share left whole", "privacy.quantile", 0.5),
        pytest.param("Clip layer by layer", "privacy.per_layer", True, marks=pytest.mark.deep),
        ("Who adds the noise", "privacy.place", "central"),
        pytest.param("Sampling", "privacy.sampling", "fixed", marks=pytest.mark.deep),
        pytest.param("End the run at its budget", "privacy.stop", True, marks=pytest.mark.deep),
        ("Noise that no seed repeats", "privacy.secure_noise", True),
        pytest.param("Neighbours", "secure_aggregation.neighbours", 4, marks=pytest.mark.deep),
        ("Buckets", "secure_aggregation.buckets", 3),
        pytest.param("Longest update", "secure_aggregation.norm", 1.0, marks=pytest.mark.deep),
        ("Lost clients fall silent at", "secure_aggregation.silent", "keys"),
        pytest.param(
            "Masks bound to the model", "secure_aggregation.binding", False, marks=pytest.mark.deep
        ),
        pytest.param("Signed keys", "secure_aggregation.signatures", True, marks=pytest.mark.deep),
        pytest.param(
            "Clients check the round", "secure_aggregation.checks", False, marks=pytest.mark.deep
        ),
        ("Mask generator", "secure_aggregation.generator", "weak"),
    ],
)
def test_every_mechanism_is_switched_on_while_a_run_trains(
    store: Store, label: str, path: str, value: object
) -> None:
    private = {
        "privacy.kind": "client",
        "privacy.noise": 0.4,
        "privacy.epsilon": 100.0,
        "secure_aggregation.enabled": True,
    }
    run = RunCommands(store).create(TINY.changed(private | {"data.clients": 12}), 1)
    work_off(store)
    app = choose(opened(run=run), label, value)
    assert not app.sidebar.error
    button(app, "Resume")
    work_off(store)
    job = store.run(run)
    assert job.status == "finished", job.message
    section, name = path.split(".")
    assert getattr(getattr(job.experiment.at(2), section), name) == value
    assert store.rounds(run)[-1].record.epsilon is not None
