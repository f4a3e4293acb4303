"""Membership and audits on their pages, from the button to the verdict."""

from __future__ import annotations

from lab.attack_runs.shared.attack_request import AttackRequest
from lab.jobs.attack_job import carry_out_attack
from lab.storage.store import Store
from lab.storage.worker_store import WorkerStore
from tests.support.app_pages import TINY, button, choose, labels, opened, trained, words, work_off


def test_membership_from_the_button_to_the_verdict(store: Store) -> None:
    app = button(opened("membership", run=trained(store)), "Attack")
    work_off(store)
    app.run()
    metrics = {metric.label: metric.value for metric in app.metric}
    assert 0 <= float(metrics["AUC"]) <= 1
    assert metrics["TPR at 0.1% FPR"] == "too few to say"
    assert "blind guess" in words(app).lower()


def test_membership_says_who_is_leaked_most_and_compares_attacks(store: Store) -> None:
    app = opened("membership", run=trained(store))
    for whose in (None, 1):
        button(choose(app, "Members are the examples of", whose), "Attack")
        work_off(store)
        app.run()
        assert not app.exception
    told = words(app)
    assert "Who is leaked most?" in told
    assert "Labels, or membership?" in told
    assert "All attacks on this run" in told
    (table,) = [each.value for each in app.table if "attack" in each.value.columns]
    assert list(table["attack"]) == ["loss-threshold, round 2, client 1", "loss-threshold, round 2"]
    choose(app, "Members among all whom one might ask about", 0.5)


def test_membership_that_blind_guesses_tell_is_marked_invalid(store: Store) -> None:
    skewed = TINY.changed({"data.partition": {"kind": "shards", "shards": 1}, "data.clients": 5})
    app = opened("membership", run=trained(store, skewed))
    button(choose(app, "Members are the examples of", 0), "Attack")
    work_off(store)
    app.run()
    (error,) = app.error
    assert "Invalid: members can be told from others without the model" in error.value
    assert "by chance this happens in 1 sound run of 20" in error.value
    assert "do not measure membership" in error.value


def test_shadow_models_show_how_far_they_are(store: Store) -> None:
    run = trained(store)
    order = AttackRequest.read({"kind": "loss-threshold", "round": 2, "targets": 1})
    ledger = WorkerStore(store)
    glimpses = carry_out_attack(ledger, ledger.start_attack(run, order))
    next(glimpses)
    bars = [each for each in opened("membership", run=run).main if each.type == "progress"]
    assert "step 1 of" in bars[0].proto.text
    glimpses.close()


def test_membership_under_privacy_draws_its_ceiling(store: Store) -> None:
    private = TINY.changed({"privacy.kind": "example", "privacy.epsilon": 1.0})
    app = button(opened("membership", run=trained(store, private)), "Attack")
    work_off(store)
    app.run()
    assert "Ceiling, AUC" in {metric.label for metric in app.metric}
    assert "Guaranteed: epsilon" in words(app)


AUDITED = TINY.changed(
    {"training.batch_size": 200, "training.steps": 2, "privacy.kind": "example",
     "privacy.epsilon": 4.0, "privacy.delta": 1e-5}
)  # fmt: skip


def test_an_audit_from_the_button_to_the_verdict(store: Store) -> None:
    app = button(opened("audit", run=trained(store, AUDITED)), "Audit")
    work_off(store)
    app.run()
    metrics = {metric.label: metric.value for metric in app.metric}
    assert metrics["Claimed"] == "at most 4.00"
    assert metrics["Proven, if Gaussian"].startswith("at least ")
    assert metrics["Proven, no assumption"].startswith("at least ")
    told = words(app)
    assert "Nothing speaks against epsilon 4.00" in told
    assert "95% confidence" in told
    assert "sees a client's model after each of its local steps" in told
    assert "canaries were put in at random" in told
    assert "leaklab audit --kind one-run --run" in "".join(code.value for code in app.code)


def test_the_lesson_of_the_audit_is_a_broken_mechanism(store: Store) -> None:
    app = opened("audit", run=trained(store, AUDITED))
    box = next(one for one in app.selectbox if one.label.startswith("Break the mechanism"))
    box.set_value("no-clipping").run()
    button(app, "Audit")
    work_off(store)
    app.run()
    assert "Detected: the mechanism is not what is claimed" in app.error[0].value
    metrics = {metric.label: metric.value for metric in app.metric}
    assert metrics["Broken mechanism"] == "detected"
    assert "Proven, if Gaussian" not in metrics
    assert "is no lower bound on epsilon" in words(app)


def test_a_run_that_promises_nothing_is_audited_by_mislabelled_canaries(store: Store) -> None:
    app = opened("audit", run=trained(store))
    assert "more data.examples" in app.warning[0].value  # it holds too few for so many canaries
    assert "Audit" not in labels(app)
