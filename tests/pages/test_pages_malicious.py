"""Malicious clients on their page: who moved what, fates, backdoors, grids."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.storage.store import Store
from tests.support.app_pages import TINY, button, choose, labels, opened, trained, words, work_off
from tests.support.sweeps import GRID


def test_stages_and_attackers_can_change_in_mid_run(store: Store) -> None:
    app = button(opened(), "Step one round")
    work_off(store)
    app.run()
    choose(app, "Malicious clients", 2)
    app.multiselect[0].set_value(["norm-bound", "nnm"])
    app.run()
    next(one for one in app.text_input if one.label == "Malicious are clients").set_value("3, 1")
    app.run()
    assert not app.exception
    (job,) = store.runs()
    intended = store.intended(job.id)
    assert [stage.kind for stage in intended.aggregation.pre_aggregators] == ["norm-bound", "nnm"]
    assert intended.adversary.clients == (3, 1)
    button(app, "Step one round")
    work_off(store)
    app.run()
    assert not app.exception
    assert store.rounds(job.id)[-1].record.malicious == (1, 3)
    choose(app, "What they do", "min-max")
    assert store.intended(job.id).adversary.attack.kind == "min-max"
    assert "Knows the updates of all honest clients" in words(app)


def test_settings_of_a_stage_are_kept(store: Store) -> None:
    link = {"aggregation.pre_aggregators": '[{kind = "nnm", faulty = 3}]'}
    app = button(opened(**link), "Step one round")
    (job,) = store.runs()
    assert job.experiment.aggregation.pre_aggregators[0].dump() == {"kind": "nnm", "faulty": 3}
    app.multiselect[0].set_value(["nnm", "arc"])
    app.run()
    assert [
        stage.dump()["faulty"] for stage in store.intended(job.id).aggregation.pre_aggregators
    ] == [3, 1]


@pytest.mark.parametrize("given", ["x", "3, 3", "99", "1.5"])
def test_attackers_that_cannot_be_are_told_and_the_draft_stays(given: str, store: Store) -> None:
    app = choose(opened(), "Malicious clients", 2)
    next(one for one in app.text_input if one.label == "Malicious are clients").set_value(given)
    app.run()
    assert not app.exception
    assert "adversary.clients" in app.sidebar.error[0].value
    assert next(one for one in app.button if one.label == "Start").disabled


def test_a_grid_of_runs_is_one_click_away(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "small.toml"
    file.write_text(GRID, encoding="utf-8")
    monkeypatch.setattr("lab.experiment.presets.FOLDER", tmp_path)
    app = button(opened("malicious"), "Run the grid")
    assert "Stop" in labels(app)
    assert not app.get("download_button")  # nothing is measured yet
    work_off(store)
    app.run()
    assert not app.exception
    assert not {"Run the grid", "Stop"} & labels(app)
    (everything,) = app.get("download_button")
    assert everything.proto.label == "Everything"
    assert "Accuracy in the last round" in words(app)


ATTACKED = {"adversary.count": 2, "data.clients": 6, "model": "logistic", "training.epochs": 2}


def test_malicious_clients_are_shown_with_what_they_moved(store: Store) -> None:
    app = opened("malicious", run=trained(store, TINY.changed(ATTACKED)))
    told = words(app)
    assert "Attack: sign-flip (scale 3.0, reading own)" in told
    assert "Knows its own update" in told
    assert "2 of 6 clients are malicious" in told
    assert "Mean cosine" in told
    assert "Could the server have told?" in told
    assert "From 2 malicious and 4 honest clients" in told
    assert "This rule judges no client as a whole" in told
    assert "obeyed" not in told
    assert len(app.table) == 1
    choose(app, "Round", 1)
    assert "Round 1 of Digits" in words(app)


def test_a_rule_that_judges_says_what_became_of_whom_and_where_it_fails(store: Store) -> None:
    told = words(
        opened(
            "malicious", run=trained(store, TINY.changed(ATTACKED | {"aggregation.rule": "krum"}))
        )
    )
    assert "Rule: krum (faulty 1, neighbours paper)" in told
    assert "Fails on skewed clients" in told
    assert "Left out: " in told


def test_a_backdoor_shows_whether_it_is_obeyed(store: Store) -> None:
    poison = {"adversary.attack": {"kind": "backdoor", "target": 3, "pixels": 2}}
    app = opened("malicious", run=trained(store, TINY.changed(ATTACKED | poison)))
    told = words(app)
    assert "Whether the attacker is obeyed" in told
    assert "The attacker wants these test examples read as 3" in told
    assert "backdoor (target 3, share 0.5, pixels 2, boost 1.0)" in told


def test_a_round_without_malicious_clients_is_shown_as_it_is(store: Store) -> None:
    told = words(opened("malicious", run=trained(store)))
    assert "No client of round 2 is malicious" in told
    assert "Mean cosine" in told
    assert "Could the server have told?" not in told


def test_under_masks_no_single_update_is_shown_and_yet_who_is_obeyed(store: Store) -> None:
    poison = {"adversary.attack": "backdoor", "secure_aggregation.enabled": True}
    told = words(opened("malicious", run=trained(store, TINY.changed(ATTACKED | poison))))
    assert "cannot see single updates" in told
    assert "Who moved the model" not in told
    assert "Whether the attacker is obeyed" in told


def test_clients_who_train_several_models_have_no_share_of_a_step(store: Store) -> None:
    several = ATTACKED | {"training.algorithm": "ifca"}
    told = words(opened("malicious", run=trained(store, TINY.changed(several))))
    assert "nobody has a share of it" in told
    assert "Mean cosine" in told
