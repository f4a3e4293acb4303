"""Pages: every one opens, every control does what it says, and the store is all they know."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from lab import ROOT, Experiment, presets
from lab.accountant import spent
from lab.accountants import Spending, calibrated
from lab.catalog import tables
from lab.jobs import attacked, measured, pull
from lab.ledger import Ledger
from lab.likeness import Likeness
from lab.store import Order, Store
from tests.sweeps import GRID
from tests.test_own_picture import photograph

PAGES = ["live", "inversion", "leaks", "membership", "malicious", "aggregation", "budget"]
TINY = Experiment.read(
    {
        "data": {"source": "digits", "clients": 4},
        "model": {"kind": "lenet"},
        "training": {"rounds": 2, "steps": 1, "batch_size": 1},
    }
)


@pytest.fixture(autouse=True)
def _no_workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tests do the workers' work themselves."""
    monkeypatch.setenv("LEAKLAB_WORKERS", "0")
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


def opened(page: str = "live", **query: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "lab" / "app.py"), default_timeout=60)
    for name, value in query.items():
        app.query_params[name.replace("__", ".")] = value
    if page != "live":
        app.run()
        app.switch_page(f"../pages/{page}.py")
    app.run()
    assert not app.exception
    return app


def trained(store: Store, experiment: Experiment = TINY) -> str:
    ledger = Ledger(store)
    job = ledger.start(experiment)
    deque(pull(ledger, job), maxlen=0)
    return job.id


def work_off(store: Store) -> None:
    """What a worker would do."""
    ledger = Ledger(store)
    todo = {"attack": attacked, "run": pull, "cell": measured}
    while (job := ledger.claim()) is not None:
        deque(todo[job.kind](ledger, job), maxlen=0)


def button(app: AppTest, label: str) -> AppTest:
    """Press it, and see that nothing broke."""
    next(one for one in app.button if one.label == label).click()
    app.run()
    assert not app.exception
    return app


def choose(app: AppTest, label: str, value: object) -> AppTest:
    widgets = [*app.selectbox, *app.select_slider, *app.slider, *app.number_input, *app.toggle]
    next(one for one in widgets if one.label == label).set_value(value)
    app.run()
    assert not app.exception
    return app


def labels(app: AppTest) -> set[str]:
    return {one.label for one in app.button}


def words(app: AppTest) -> str:
    told = [*app.markdown, *app.caption, *app.text, *app.warning, *app.error, *app.info]
    told += [*app.subheader, *app.header, *app.code]
    return "\n".join(str(one.value) for one in told)


# --- every page ---------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_an_empty_store(page: str) -> None:
    app = opened(page)
    assert app.header


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_a_run(page: str, store: Store) -> None:
    run = trained(store)
    app = opened(page, run=run)
    assert not app.error
    assert run in words(app) or page in ("live", "leaks", "budget")


def test_an_unknown_run_in_the_address_is_said_and_forgotten() -> None:
    app = opened(run="nobody")
    assert "no run 'nobody'" in words(app)
    assert "Start" in labels(app)


def test_a_broken_store_is_told_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAKLAB_DB", "nonsense")
    app = AppTest.from_file(str(ROOT / "lab" / "app.py"), default_timeout=60).run()
    assert not app.exception
    assert "set LEAKLAB_DB to another" in app.error[0].value


# --- live ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", presets.experiments())
def test_every_preset_can_be_chosen_and_started(preset: str, store: Store) -> None:
    app = choose(opened(), "Start from", preset)
    button(app, "Start")
    (job,) = store.runs()
    assert job.experiment == Experiment.from_file(ROOT / "experiments" / f"{preset}.toml")
    assert job.status == "queued"


def test_a_run_from_start_to_end(store: Store) -> None:
    app = opened(**{f"data__{k}": v for k, v in {"source": "digits", "clients": "4"}.items()})
    button(app, "Start")
    assert {"Pause", "Stop"} <= labels(app)
    (job,) = store.runs()
    work_off(store)
    app.run()
    assert store.job(job.id).status == "finished"
    assert "Start a new run" in labels(app)
    assert "Accuracy" in {metric.label for metric in app.metric}
    assert job.experiment.command() in words(app)


def test_baselines_are_one_click_away(store: Store) -> None:
    app = opened(**{f"data__{k}": v for k, v in {"source": "digits", "clients": "4"}.items()})
    button(app, "Start")
    work_off(store)
    app.run()
    button(app, "Compare with baselines")
    assert "Compare with baselines" not in labels(app)
    work_off(store)
    app.run()
    assert not app.exception
    kinds = [job.experiment.training.algorithm.kind for job in store.runs()]
    assert sorted(kinds) == ["centralised", "fedavg", "local-only"]


def test_a_baseline_needs_no_baseline(store: Store) -> None:
    app = opened(data__source="digits", training__algorithm__kind="centralised")
    button(app, "Start")
    work_off(store)
    app.run()
    assert "Compare with baselines" not in labels(app)


def test_pause_step_resume_and_stop(store: Store) -> None:
    app = button(opened(), "Step one round")
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
    app = button(opened(), "Step one round")
    work_off(store)
    app.run()
    (job,) = store.runs()
    choose(app, "Aggregation rule", "median")
    choose(app, "Differential privacy", "example")
    changes = store.job(job.id).experiment.changes
    assert [change.round for change in changes] == [2, 2]
    assert store.intended(job.id).rule.kind == "median"
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
    assert "use rule.kind mean" in app.sidebar.error[0].value
    assert store.intended(job.id).rule.kind == "mean"


def test_the_address_holds_the_experiment() -> None:
    app = choose(opened(), "Aggregation rule", "median")
    assert app.query_params["rule.kind"] == "median"
    again = opened(**{str(k).replace(".", "__"): v for k, v in app.query_params.items()})
    assert again.query_params == app.query_params


def test_a_link_that_makes_no_sense_is_told_and_the_quick_start_offered() -> None:
    app = opened(rule__kind="krun", data__clients="10")
    assert "The link was not understood" in words(app)
    assert "Start" in labels(app)


@pytest.mark.parametrize("kind", [*tables()["splits"]])
def test_every_split_can_be_chosen(kind: str) -> None:
    app = choose(opened(), "How clients differ", kind)
    assert bool(app.sidebar.error) == (kind == "natural")  # clothes have no real owners


@pytest.mark.parametrize("kind", [*tables()["poisons"]])
def test_every_poison_can_be_chosen(kind: str, store: Store) -> None:
    app = choose(choose(opened(), "Malicious clients", 2), "What they do", kind)
    button(app, "Start")
    assert store.runs()[0].experiment.adversary.poison.kind == kind


@pytest.mark.parametrize("kind", [*tables()["rules"]])
def test_every_rule_can_be_chosen(kind: str, store: Store) -> None:
    button(choose(opened(), "Aggregation rule", kind), "Start")
    assert store.runs()[0].experiment.rule.kind == kind


@pytest.mark.parametrize("kind", [*tables()["models"]])
def test_every_model_can_be_chosen(kind: str, store: Store) -> None:
    typed = "text" in tables()["models"][kind].reads  # type: ignore[attr-defined]
    app = choose(opened(), "Data set", "chat") if typed else opened()
    button(choose(app, "Model", kind), "Start")
    assert store.runs()[0].experiment.model.kind == kind


def test_privacy_says_before_the_run_what_it_will_guarantee() -> None:
    app = choose(choose(opened(), "Differential privacy", "client"), "Target epsilon", 2.0)
    told = words(app)
    assert "epsilon 2 at delta 0.001 for one client" in told
    assert "Noise multiplier" in told


def test_a_second_browser_sees_the_same_run(store: Store) -> None:
    app = button(opened(), "Step one round")
    work_off(store)
    run = store.runs()[0].id
    assert app.query_params["run"] == run
    assert "Resume" in labels(opened(run=run))


# --- attacks ------------------------------------------------------------------------------------


def test_inversion_from_the_button_to_the_verdict(store: Store) -> None:
    app = opened("inversion", run=trained(store))
    choose(choose(app, "Round", 1), "Client", 2)
    button(app, "Attack")
    work_off(store)
    app.run()
    metrics = {metric.label: metric.value for metric in app.metric}
    assert float(metrics["PSNR"].split()[0]) > 30
    assert "Best guess without the gradient" in metrics
    told = words(app)
    assert "leaklab attack idlg --run" in told
    assert "--round 1 --client 2" in told


def test_a_picture_of_ones_own_from_the_upload_to_the_verdict(store: Store) -> None:
    app = opened("inversion", run=trained(store))
    next(one for one in app.radio if one.label == "Whose picture").set_value("My own").run()
    assert "Choose a picture in the sidebar" in words(app)
    assert "Attack" not in labels(app)
    (uploader,) = app.file_uploader
    uploader.set_value(("me.png", b"<script>alert(1)</script>", "image/png")).run()
    assert "neither PNG nor JPEG" in words(app)
    assert "Attack" not in labels(app)
    (uploader,) = app.file_uploader
    uploader.set_value(("me.png", photograph(), "image/png")).run()
    choose(app, "Trained on as", 7)
    button(app, "Attack")
    work_off(store)
    app.run()
    assert float(next(one.value for one in app.metric if one.label == "PSNR").split()[0]) > 20
    told = words(app)
    assert "a picture of your own" in told
    assert "leaklab invert YOUR_PICTURE --attack idlg" in told
    assert "--label 7" in told
    again = opened("inversion", run=store.runs()[0].id)  # without the upload: it is found again
    assert "PSNR" in {metric.label for metric in again.metric}


def test_many_pictures_are_all_shown_page_by_page(store: Store) -> None:
    run, ledger = trained(store, TINY.changed({"training.batch_size": 18})), Ledger(store)
    spy = {"kind": "inverting-gradients", "iterations": 10, "most": 18}
    order = Order.read({"spy": spy, "round": 1, "client": 3})
    deque(attacked(ledger, ledger.start_attack(run, order)), maxlen=0)
    app = opened("inversion", run=run)
    pairs = [f"{match.psnr:.1f} dB" for match in shown_of(store, run).matches]
    assert len(pairs) == 18
    for page, there in ((1, pairs[:16]), (2, pairs[16:])):
        choose(app, "Page of 2", page)
        captions = [one.proto.imgs[0].caption for one in app.get("image")]
        assert [caption.split(",")[0] for caption in captions] == there
    told = words(app)
    assert "18 examples" in told
    assert "lead to their own private example first" in told


def shown_of(store: Store, run: str) -> Likeness:
    return Likeness.read(store.sights(store.attacks_on(run)[0].id)[-1].body["likeness"])


def test_a_stopped_attack_shows_its_best_guess_and_can_be_downloaded(store: Store) -> None:
    run, ledger = trained(store), Ledger(store)
    order = Order.read({"spy": {"kind": "idlg", "restarts": 20}, "round": 1, "client": 3})
    job = ledger.start_attack(run, order)
    glimpses = attacked(ledger, job)
    next(glimpses)
    store.stop(job.id)
    deque(glimpses, maxlen=0)
    app = opened("inversion", run=run)
    assert "stopped by hand" in words(app)
    assert shown_of(store, run).verdict.capitalize() in words(app)
    assert {"Pictures, PNG", "Result, JSON"} <= {one.label for one in app.get("download_button")}


def test_inversion_offers_only_attacks_that_suit_the_model(store: Store) -> None:
    app = opened("inversion", run=trained(store))
    assert "first-layer" not in next(one for one in app.selectbox if one.label == "Attack").options


def test_label_counts_are_told_beside_an_even_guess_and_without_pictures(store: Store) -> None:
    run, ledger = trained(store), Ledger(store)
    order = Order.read({"spy": "label-counts", "round": 1, "client": 3})
    deque(attacked(ledger, ledger.start_attack(run, order)), maxlen=0)
    app = opened("inversion", run=run)
    metrics = {metric.label for metric in app.metric}
    assert {"Labels right", "Evenly spread guess"} <= metrics
    assert "PSNR" not in metrics
    assert "This attack shows no picture" in words(app)
    assert not app.exception


def test_records_of_a_table_are_told_in_words_with_a_mark_at_each_cell(store: Store) -> None:
    table = TINY.changed(
        {"data.source": "adult", "model.kind": "mlp", "training.batch_size": 2, "data.examples": 80}
    )
    run, ledger = trained(store, table), Ledger(store)
    order = Order.read({"spy": "tabular", "round": 1, "client": 3})
    deque(attacked(ledger, ledger.start_attack(run, order)), maxlen=0)
    app = opened("inversion", run=run)
    assert "Exact: every record" in words(app)
    metrics = {metric.label: metric.value for metric in app.metric}
    assert metrics["Records exact"] == "2 of 2"
    assert metrics["Cells right"] == "100%"
    first = next(table.value for table in app.table if "reconstructed" in table.value)
    assert all(f"✓ {true}" == mine for true, mine in first[["private", "reconstructed"]].values)


def test_a_planted_model_is_shown_with_what_a_client_could_have_noticed(store: Store) -> None:
    run, ledger = trained(store), Ledger(store)
    order = Order.read({"spy": "imprint", "round": 2, "client": 1})
    deque(attacked(ledger, ledger.start_attack(run, order)), maxlen=0)
    app = opened("inversion", run=run)
    assert "What a careful client could have noticed" in [one.label for one in app.expander]
    assert {one.value.split(":")[0] for one in app.warning} == {"Architecture", "Copies"}
    assert "0 of" in words(app)
    assert not app.exception


def test_inversion_under_secure_aggregation_says_what_the_server_got(store: Store) -> None:
    app = opened(
        "inversion", run=trained(store, TINY.changed({"secure_aggregation.enabled": True}))
    )
    assert "the server got the sum of 4 updates" in words(app)


def test_inversion_of_a_round_in_which_nothing_arrived_says_so(store: Store) -> None:
    lost = TINY.changed(
        {"secure_aggregation.enabled": True, "secure_aggregation.threshold": 1.0,
         "network.dropout": 0.9}
    )  # fmt: skip
    app = opened("inversion", run=trained(store, lost))
    assert "Nobody's update arrived" in words(app)
    assert "Attack" not in labels(app)


def test_membership_from_the_button_to_the_verdict(store: Store) -> None:
    app = button(opened("membership", run=trained(store)), "Attack")
    work_off(store)
    app.run()
    metrics = {metric.label: metric.value for metric in app.metric}
    assert 0 <= float(metrics["AUC"]) <= 1
    assert metrics["TPR at 0.1% FPR"] == "too few to say"
    assert "blind guess" in words(app).lower()


def test_membership_under_privacy_draws_its_ceiling(store: Store) -> None:
    private = TINY.changed({"privacy.kind": "example", "privacy.epsilon": 1.0})
    app = button(opened("membership", run=trained(store, private)), "Attack")
    work_off(store)
    app.run()
    assert "Ceiling, AUC" in {metric.label for metric in app.metric}
    assert "Guaranteed: epsilon" in words(app)


MASKED = {"model": "mlp", "secure_aggregation.enabled": True, "secure_aggregation.binding": False}


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("single-out", "No better than the sum"),
        ("sybils", "Recovered: only rounding is left"),
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


def test_secure_aggregation_that_is_off_says_how_to_switch_it_on(store: Store) -> None:
    app = opened("aggregation", run=trained(store))
    assert "Switch Secure aggregation on" in words(app)
    assert "-s secure_aggregation.enabled=true" in words(app)
    assert "Attack" not in labels(app)
    median = trained(store, TINY.changed({"rule": "median"}))
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


# --- malicious clients --------------------------------------------------------------------------


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
    assert [stage.kind for stage in intended.stages] == ["norm-bound", "nnm"]
    assert intended.adversary.clients == (3, 1)
    button(app, "Step one round")
    work_off(store)
    app.run()
    assert not app.exception
    assert store.rounds(job.id)[-1].record.malicious == (1, 3)
    choose(app, "What they do", "min-max")
    assert store.intended(job.id).adversary.poison.kind == "min-max"
    assert "Knows the updates of all honest clients" in words(app)


def test_settings_of_a_stage_are_kept(store: Store) -> None:
    link = {"stages": '[{kind = "nnm", faulty = 3}]'}
    app = button(opened(**link), "Step one round")
    (job,) = store.runs()
    assert job.experiment.stages[0].dump() == {"kind": "nnm", "faulty": 3}
    app.multiselect[0].set_value(["nnm", "arc"])
    app.run()
    assert [stage.dump()["faulty"] for stage in store.intended(job.id).stages] == [3, 1]


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
    monkeypatch.setattr("lab.presets.FOLDER", tmp_path)
    app = button(opened("malicious"), "Run the grid")
    assert "Stop" in labels(app)
    work_off(store)
    app.run()
    assert not app.exception
    assert not {"Run the grid", "Stop"} & labels(app)
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
    assert "Round 1 of run" in words(app)


def test_a_rule_that_judges_says_what_became_of_whom_and_where_it_fails(store: Store) -> None:
    told = words(opened("malicious", run=trained(store, TINY.changed(ATTACKED | {"rule": "krum"}))))
    assert "Rule: krum (faulty 1, neighbours paper)" in told
    assert "Fails on skewed clients" in told
    assert "Left out: " in told


def test_a_backdoor_shows_whether_it_is_obeyed(store: Store) -> None:
    poison = {"adversary.poison": {"kind": "backdoor", "target": 3, "pixels": 2}}
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
    poison = {"adversary.poison": "backdoor", "secure_aggregation.enabled": True}
    told = words(opened("malicious", run=trained(store, TINY.changed(ATTACKED | poison))))
    assert "cannot see single updates" in told
    assert "Who moved the model" not in told
    assert "Whether the attacker is obeyed" in told


def test_clients_who_train_several_models_have_no_share_of_a_step(store: Store) -> None:
    several = ATTACKED | {"training.algorithm": "ifca"}
    told = words(opened("malicious", run=trained(store, TINY.changed(several))))
    assert "nobody has a share of it" in told
    assert "Mean cosine" in told


def test_a_page_finds_the_last_attack_again(store: Store) -> None:
    run = trained(store)
    ledger = Ledger(store)
    order = Order.read({"spy": {"kind": "idlg", "restarts": 1}, "round": 1, "client": 3})
    deque(attacked(ledger, ledger.start_attack(run, order)), maxlen=0)
    app = opened("inversion", run=run)
    assert "PSNR" in {metric.label for metric in app.metric}


def test_the_budget_counts_what_a_run_spends_and_will_spend(store: Store) -> None:
    private = TINY.changed({"privacy.kind": "client", "privacy.noise": 2.0})
    run = trained(store, private)
    app = opened("budget", run=run)
    metrics = {metric.label: metric.value for metric in app.metric}
    guarantee = spent(private, 2)
    assert guarantee is not None
    assert metrics["Spent after round 2"] == f"{guarantee.epsilon:.3g}"
    assert metrics["Protects one"] == "client"
    assert "leaklab account --rate 1 --noise 2 --steps 2 --delta 0.001" in words(app)
    app = choose(app, "Target epsilon", 1.0)
    noise = next(one.value for one in app.metric[::-1] if one.label == "Noise multiplier")
    wanted = calibrated(Spending(1.0, 1.0, 2), 1.0, 1e-3)
    assert float(noise) == pytest.approx(wanted, rel=1e-3)


def test_budgets_that_mean_different_things_are_not_drawn_together(store: Store) -> None:
    runs = [
        trained(store, TINY.changed({"privacy.kind": kind, "privacy.delta": delta}))
        for kind, delta in (("client", 1e-3), ("example", 1e-3), ("client", 1e-3), ("client", 1e-4))
    ]
    app = opened("budget", run=runs[0])
    for other, told in zip(runs[1:], ("unit and", None, "in delta"), strict=True):
        app = choose(app, "Compare with", other)
        if told:
            assert "Not drawn" in words(app)
            assert told in words(app)
        else:
            assert "Not drawn" not in words(app)


def test_a_budget_without_a_guarantee_says_why(store: Store) -> None:
    assert "Nothing here has differential privacy" in words(opened("budget"))
    mixed = TINY.changed({"privacy.kind": "client"}).changed_from(2, {"privacy.kind": "none"})
    assert "No guarantee: some rounds ran without noise" in words(
        opened("budget", run=trained(store, mixed))
    )


@pytest.mark.parametrize(
    ("label", "path", "value"),
    [
        ("Adaptive clip: share left whole", "privacy.quantile", 0.5),
        ("Clip layer by layer", "privacy.per_layer", True),
        ("Who adds the noise", "privacy.place", "central"),
        ("Sampling", "privacy.sampling", "fixed"),
        ("End the run at its budget", "privacy.stop", True),
        ("Noise that no seed repeats", "privacy.secure_noise", True),
        ("Neighbours", "secure_aggregation.neighbours", 4),
        ("Buckets", "secure_aggregation.buckets", 3),
        ("Longest update", "secure_aggregation.norm", 1.0),
        ("Lost clients fall silent at", "secure_aggregation.silent", "keys"),
        ("Masks bound to the model", "secure_aggregation.binding", False),
        ("Signed keys", "secure_aggregation.signatures", True),
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
    wide = {"data.clients": 12, "training.rounds": 3}
    run = store.create(TINY.changed(private | wide), 1)
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
