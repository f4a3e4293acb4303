"""The Live page: every preset, part and button, in mid-run, too."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from lab import ROOT, Experiment
from lab.catalog import tables
from lab.experiment import presets
from lab.storage.store import Store
from tests.support.app_pages import TINY, button, choose, labels, opened, trained, words, work_off

SMALL = {"data.source": "digits", "data.clients": "4", "training.rounds": "3"}


@pytest.mark.parametrize("preset", presets.experiments())
def test_every_preset_can_be_chosen_and_started(preset: str, store: Store) -> None:
    app = choose(opened(), "Start from", preset)
    button(app, "Start")
    (job,) = store.runs()
    assert job.experiment == Experiment.from_file(ROOT / "experiments" / f"{preset}.toml")
    assert job.status == "queued"


def test_a_run_from_start_to_end(store: Store) -> None:
    app = button(opened(**SMALL), "Start")
    assert {"Pause", "Stop"} <= labels(app)
    (job,) = store.runs()
    work_off(store)
    app.run()
    assert store.job(job.id).status == "finished"
    assert "Start a new run" in labels(app)
    assert "Accuracy" in {metric.label for metric in app.metric}
    assert job.experiment.command() in words(app)


def test_baselines_are_one_click_away(store: Store) -> None:
    app = opened(run=trained(store))
    button(app, "Compare with baselines")
    assert "Compare with baselines" not in labels(app)
    work_off(store)
    app.run()
    assert not app.exception
    kinds = [job.experiment.training.algorithm.kind for job in store.runs()]
    assert sorted(kinds) == ["centralised", "fedavg", "local-only"]


def test_a_baseline_needs_no_baseline(store: Store) -> None:
    app = opened(run=trained(store, TINY.changed({"training.algorithm": "centralised"})))
    assert "Start a new run" in labels(app)
    assert "Compare with baselines" not in labels(app)


def test_pause_step_resume_and_stop(store: Store) -> None:
    app = button(opened(**SMALL), "Step one round")
    work_off(store)
    app.run()
    (job,) = store.runs()
    assert (store.job(job.id).status, store.job(job.id).round) == ("paused", 1)
    button(app, "Step one round")
    work_off(store)
    app.run()
    assert (store.job(job.id).status, store.job(job.id).round) == ("paused", 2)
    button(app, "Resume")
    assert store.job(job.id).status == "queued"
    button(app, "Pause")
    assert store.job(job.id).status == "paused"
    button(app, "Stop")
    assert store.job(job.id).status == "stopped"


def test_a_toggle_in_mid_run_changes_the_next_round(store: Store) -> None:
    app = button(opened(**SMALL), "Step one round")
    work_off(store)
    app.run()
    (job,) = store.runs()
    choose(app, "Aggregation rule", "median")
    choose(app, "Differential privacy", "example")
    changes = store.job(job.id).experiment.changes
    assert [change.round for change in changes] == [2, 2]
    assert store.intended(job.id).aggregation.rule.kind == "median"
    assert store.intended(job.id).privacy.kind == "example"


def test_a_contradiction_is_explained_and_nothing_is_started(store: Store) -> None:
    app = choose(choose(opened(), "Aggregation rule", "krum"), "Secure aggregation", True)
    assert "secure_aggregation.buckets of 5 or more" in app.sidebar.error[0].value
    assert next(one for one in app.button if one.label == "Start").disabled
    choose(app, "Secure aggregation", False)
    assert not app.sidebar.error
    assert store.runs() == []


def test_a_contradiction_in_mid_run_leaves_the_run_as_it_is(store: Store) -> None:
    app = button(opened(), "Step one round")
    work_off(store)
    app.run()
    (job,) = store.runs()
    choose(app, "Secure aggregation", True)
    choose(app, "Aggregation rule", "krum")
    assert "use aggregation.rule.kind mean" in app.sidebar.error[0].value
    assert store.intended(job.id).aggregation.rule.kind == "mean"


def test_the_address_holds_the_experiment() -> None:
    app = choose(opened(), "Aggregation rule", "median")
    assert app.query_params["aggregation.rule.kind"] == "median"
    again = opened(**app.query_params)
    assert again.query_params == app.query_params


def test_a_link_that_makes_no_sense_is_told_and_the_quick_start_offered() -> None:
    app = opened(**{"aggregation.rule.kind": "krun", "data.clients": "10"})
    assert "The link was not understood" in words(app)
    assert "Start" in labels(app)


def ready(app: AppTest) -> Experiment:
    """What Start would start."""
    assert not app.sidebar.error
    assert not next(one for one in app.button if one.label == "Start").disabled
    draft: Experiment = app.session_state["draft"]
    return draft


def test_every_split_can_be_chosen() -> None:
    app = opened()
    for kind in tables()["partitions"]:
        choose(app, "How clients differ", kind)
        if kind in ("natural", "people"):  # clothes have no real owners
            assert app.sidebar.error
        else:
            assert ready(app).data.partition.kind == kind


def test_every_poison_can_be_chosen() -> None:
    app = choose(opened(), "Malicious clients", 2)
    for kind in tables()["poisoning-attacks"]:
        assert ready(choose(app, "What they do", kind)).adversary.attack.kind == kind


def test_every_rule_can_be_chosen() -> None:
    app = opened()
    for kind in tables()["aggregation-rules"]:
        assert ready(choose(app, "Aggregation rule", kind)).aggregation.rule.kind == kind


@pytest.mark.parametrize("source", ["fashion-mnist", "chat"])
def test_every_model_can_be_chosen(source: str) -> None:
    app = choose(opened(), "Data set", source)
    for kind, model in tables()["models"].items():
        if ("text" in model.reads) == (source == "chat"):  # type: ignore[attr-defined]
            assert ready(choose(app, "Model", kind)).model.kind == kind


def test_privacy_says_before_the_run_what_it_will_guarantee() -> None:
    app = choose(choose(opened(), "Differential privacy", "client"), "Target epsilon", 2.0)
    told = words(app)
    assert "epsilon 2 at delta 0.001 for one client" in told
    assert "Noise multiplier" in told


def test_a_second_browser_sees_the_same_run(store: Store) -> None:
    app = button(opened(**SMALL), "Step one round")
    work_off(store)
    run = store.runs()[0].id
    assert app.query_params["run"] == run
    assert "Resume" in labels(opened(run=run))


def test_a_draft_without_a_guarantee_says_why(store: Store) -> None:
    """A1 of a hostile review: malicious clients who know the others' updates."""
    private = {"privacy.kind": "client", "privacy.noise": "3", "adversary.count": "5"}
    app = opened(**private, **{"adversary.attack.kind": "mimic"})
    assert any("malicious clients (mimic) know" in each.value for each in app.warning)
    assert not opened(**private, **{"adversary.attack.kind": "label-flip"}).warning
