"""The Live page's first minute: what the server reads, back in time, a branch, a pinned run."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from plotly.graph_objects import Figure
from streamlit.testing.v1 import AppTest

from lab import ROOT
from lab.attack_runs.reconstruction.quick_look import cheapest, quick_look
from lab.common.settings import SettingError
from lab.engine.round import run_round
from lab.engine.run import initial_state
from lab.experiment.experiment import Experiment
from lab.experiment.presets import experiments
from lab.models.architectures import MODELS
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from lab.web.session import EACH, cached_figure, pace
from tests.support.app_pages import button, opened, work_off

LEAKY = Experiment.read(
    {
        "data": {"source": "digits", "clients": 4, "examples": 80},
        "training": {"rounds": 4, "steps": 1, "batch_size": 1},
    }
)


# --- what the server reads ------------------------------------------------------------------------


def test_a_glance_reads_a_bare_update_exactly_and_nothing_through_noise() -> None:
    seen = quick_look(run_round(initial_state(LEAKY)))
    assert seen is not None
    assert seen.score is not None
    assert seen.score.psnr > 46
    noisy = LEAKY.changed({"privacy.kind": "client", "privacy.noise": 1.0})
    hidden = quick_look(run_round(initial_state(noisy)))
    assert hidden is not None
    assert hidden.score is not None
    assert hidden.score.psnr < hidden.score.floor + 3


def test_another_client_is_looked_at_in_every_round() -> None:
    state, seen = initial_state(LEAKY), []
    for _ in range(4):
        moment = run_round(state)
        found, state = quick_look(moment), moment.state
        assert found is not None
        assert found.result is not None
        seen.append(found.result.client)
    assert len(set(seen)) == 4


@pytest.mark.parametrize("kind", MODELS)
def test_for_every_model_there_is_a_cheap_attack_or_none_at_all(kind: str) -> None:
    source = "chat" if "text" in MODELS[kind].reads else "digits"
    spy = cheapest(Experiment().changed({"data.source": source, "model.kind": kind}).architecture)
    if spy is not None:
        spy.suits(Experiment().changed({"data.source": source, "model.kind": kind}).architecture)


def test_a_watched_run_stores_a_glance_of_every_round(store: Store) -> None:
    run = RunCommands(store).create(LEAKY)
    RunCommands(store).watch(run)
    assert store.watched(run)
    work_off(store)
    assert [sight.number for sight in store.sights(run)] == [1, 2, 3, 4]
    plain = RunCommands(store).create(LEAKY)
    RunCommands(store).watch(plain)
    RunCommands(store).watch(plain, on=False)
    work_off(store)
    assert not store.sights(plain)
    records = [[each.record for each in store.rounds(id)] for id in (run, plain)]
    assert records[0] == records[1]  # looking changes nothing


def test_one_button_shows_a_leak(store: Store) -> None:
    app = button(opened(), "Show me")
    (job,) = store.runs()
    assert job.experiment == Experiment.from_file(experiments()["first-minute"])
    assert store.watched(job.id)
    RunCommands(store).resume(job.id, 2)
    work_off(store)
    app = opened(run=job.id)
    assert any("Round 2: Exact" in one.value for one in app.markdown)
    assert next(one for one in app.toggle if one.label == "What the server can read").value


def curves(app: AppTest) -> dict[str, Any]:
    """The lines of the first chart that has any of accuracy, by name."""
    charts = (
        json.loads(json.loads(each.proto.json)["figure"])["data"]
        for each in app.get("bidi_component")
    )
    return {
        line["name"]: line for line in next(c for c in charts if c[0].get("name") == "accuracy")
    }


def test_what_was_read_is_a_curve_and_of_words_too(store: Store) -> None:
    chat = {"data.source": "chat", "model": "keyboard"}
    for experiment, best in ((LEAKY, 46.0), (LEAKY.changed(chat), 0.5)):
        run = RunCommands(store).create(experiment)
        RunCommands(store).watch(run)
        work_off(store)
        lines = curves(opened(run=run))
        read, guess = lines["read by the server"]["y"], lines["guess without the update"]["y"]
        assert len(read) == len(guess) == 4
        assert min(read) > best > max(guess)


# --- redraws --------------------------------------------------------------------------------------


def test_a_figure_is_drawn_once_for_all_who_look_at_the_same() -> None:
    asked = []

    def draw() -> Figure:
        asked.append(None)
        return Figure()

    first = cached_figure("curves", ("run", 3), draw)
    assert cached_figure("curves", ("run", 3), draw) is first
    assert len(asked) == 1
    assert cached_figure("curves", ("run", 4), draw) is not first
    assert cached_figure("traffic", ("run", 3), draw) is not first


class Shared(list[str]):
    """What other sessions import from meanwhile: one entry may come or go, and no more."""

    def __setitem__(self, place: Any, entries: Any) -> None:
        raise AssertionError("sys.path was built anew")


def test_no_session_builds_the_path_anew_that_all_sessions_import_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Entries were lost for good when thirty browsers opened the lab in one instant."""
    shared = Shared([str(ROOT / "lab" / "web"), *sys.path])
    monkeypatch.setattr(sys, "path", shared)
    opened()
    assert str(ROOT / "lab" / "web") not in shared
    assert len(shared) >= 3


def test_pages_are_redrawn_less_often_the_more_visitors_there_are(store: Store) -> None:
    assert pace(0.5) == 0.5
    for number in range(40):
        RunCommands(store).seen(f"visitor {number}")
    assert pace(0.5) == 40 * EACH
    assert pace(5.0) == 5.0


# --- back in time ---------------------------------------------------------------------------------


def test_a_branch_has_the_same_past_and_a_future_of_its_own(store: Store) -> None:
    run = RunCommands(store).create(LEAKY)
    work_off(store)
    new = RunCommands(store).branch(run, 2)
    assert (store.run(new).status, store.run(new).round) == ("paused", 2)
    past = [each.record for each in store.rounds(run)]
    assert [each.record for each in store.rounds(new)] == past[:2]
    RunCommands(store).resume(new)
    work_off(store)
    assert [each.record for each in store.rounds(new)] == past  # nothing was changed
    other = RunCommands(store).branch(run, 2)
    RunCommands(store).change(other, {"aggregation.rule": "median"})
    RunCommands(store).resume(other)
    work_off(store)
    assert [each.record for each in store.rounds(other)][:2] == past[:2]
    assert store.run(other).experiment.at(3).aggregation.rule.kind == "median"
    assert store.rounds(other)[-1].record != past[-1]
    assert store.run(run).experiment == LEAKY


@pytest.mark.parametrize("round", [0, 5])
def test_a_branch_begins_at_a_finished_round(store: Store, round: int) -> None:
    run = RunCommands(store).create(LEAKY)
    work_off(store)
    with pytest.raises(SettingError, match=f"round is {round}: run {run} has finished 1 to 4"):
        RunCommands(store).branch(run, round)


def test_later_changes_stay_behind(store: Store) -> None:
    run = RunCommands(store).create(LEAKY.changed_from(4, {"aggregation.rule": "median"}))
    work_off(store)
    (change,) = store.run(RunCommands(store).branch(run, 2)).experiment.changes
    assert (change.round, list(change.set)) == (3, ["nonce"])


def test_the_slider_goes_back_and_the_button_branches(store: Store) -> None:
    run = RunCommands(store).create(LEAKY)
    work_off(store)
    app = opened(run=run)
    app.slider[0].set_value(2).run()
    button(app, "Branch from round 2")
    newest = store.runs()[0]
    assert (newest.round, newest.status) == (2, "paused")
    assert app.query_params["run"] in (newest.id, [newest.id])


# --- a pinned run, and the address ----------------------------------------------------------------


def test_a_pinned_run_stays_in_sight(store: Store) -> None:
    one, other = (
        RunCommands(store).create(LEAKY),
        RunCommands(store).create(LEAKY.changed({"aggregation.rule": "median"})),
    )
    work_off(store)
    app = button(opened(run=one), "Pin")
    app.query_params.clear()
    app.query_params["run"] = other
    app.session_state["run"] = other
    app.run()
    assert not app.exception
    assert "Beside the pinned run" in [each.value for each in app.subheader]
    assert any("mean" in each.value and "median" in each.value for each in app.caption)


def test_a_link_holds_the_experiment_wherever_it_is_opened(store: Store) -> None:
    changed = LEAKY.changed({"seed": 7})
    run = RunCommands(store).create(changed)
    work_off(store)
    pairs = opened(run=run).query_params
    assert pairs["seed"] == "7"
    for id in (run, "0123456789abcdef"):  # no store has the second
        assert opened(**pairs | {"run": id}).session_state["draft"] == changed


def test_type_grows_for_a_projector_and_stays_so_on_other_pages() -> None:
    app = opened()
    assert "html { font-size" not in markup(app)
    next(one for one in app.toggle if one.label.startswith("Large type")).set_value(True).run()
    assert "html { font-size: 21.6px" in markup(app)
    app.switch_page("../../pages/glossary.py").run()
    assert "html { font-size: 21.6px" in markup(app)


def markup(app: AppTest) -> str:
    """All that is written in HTML."""
    return "".join(one.proto.body for one in app.get("html"))
