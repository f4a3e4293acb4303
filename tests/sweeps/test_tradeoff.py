"""Trade-offs: the front by hand, cells that are shared, refused places, and a study end to end."""

from __future__ import annotations

import csv
import json
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

import pytest

from lab import Experiment, figures, run
from lab.attack_runs.shared.attack_request import AttackSpec
from lab.cli import main
from lab.common.settings import SettingError
from lab.engine.run_state import RoundResult
from lab.experiment import presets
from lab.figures.image_files import CHROMIUM, NEEDED
from lab.jobs.local_sweep import run_sweep_locally
from lab.reports.bundle import MISSING, studied
from lab.storage.store import Store
from lab.storage.sweep_runs import SweepRuns
from lab.sweeps.attacked_run import EARLY, attacked_at_end, attacked_on_the_way
from lab.sweeps.cell_result import AttackSummary
from lab.sweeps.sweep import Sweep, key_of
from lab.sweeps.tradeoff import Spread, front, pareto, points, sentences
from lab.sweeps.tradeoff_study import Study
from tests.support.app_pages import button, labels, opened, work_off
from tests.support.figure_inputs import trace
from tests.support.html_pages import parsed
from tests.support.studies import QUICK, ended, quick
from tests.support.sweeps import sweep

# --- the front by hand ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pairs", "kept"),
    [
        ([], []),
        ([(0.5, 0.5)], [0]),
        ([(0.9, 0.7), (0.6, 0.5)], [1, 0]),  # neither beats the other
        ([(0.9, 0.5), (0.8, 0.6)], [0]),  # worse in both
        ([(0.9, 0.5), (0.9, 0.6)], [0]),  # as accurate, leaks more
        ([(0.9, 0.5), (0.8, 0.5)], [0]),  # leaks as much, less accurate
        ([(0.9, 0.5), (0.9, 0.5)], [0, 1]),  # equals both stay
        ([(0.9, 0.9), (0.8, 0.6), (0.7, 0.7), (0.6, 0.5)], [3, 1, 0]),
    ],
)
def test_the_front_holds_whatever_no_other_beats(
    pairs: list[tuple[float, float]], kept: list[int]
) -> None:
    assert pareto(pairs) == kept


def test_less_than_a_guess_is_no_gain() -> None:
    spread = Spread.of({0: 0.4, 1: 0.5, 2: 0.7}).above(0.5)
    assert (spread.low, spread.high) == (0.5, 0.7)
    assert spread.mean == pytest.approx(1.6 / 3)
    assert Spread.of({0: 0.4, 1: 0.5}).above(0.5).mean == 0.5


def test_points_have_means_over_seeds_and_wait_until_all_are_there() -> None:
    found = points(quick(), ended(quick()))
    assert [point.word for point in found] == ["", "", "", "waiting"]
    assert [point.label for point in found[:2]] == ["no privacy, no masks", "no privacy, masks"]
    accuracy = found[0].accuracy
    assert accuracy is not None
    assert (accuracy.mean, accuracy.low, accuracy.high) == (pytest.approx(0.85), 0.8, 0.9)
    assert {name: each.mean for name, each in found[0].leaks.items()} == {
        "auc": pytest.approx(0.7),
        "gain": 80.0,
        "identified": 1.0,
    }
    assert [mark.point.number for mark in front(found, "auc")] == [3, 2, 1]
    assert [mark.point.number for mark in front(found, "gain")] == [1]


def test_a_score_that_calls_itself_meaningless_is_left_out_and_told() -> None:
    study = quick(epsilons=[0], masks=[False])
    found = ended(study, [((0.8, 0.9), (0.7, 0.6))])
    first, key = next(iter(found.values())), study.sweep.cells[0].key
    picture, asked = first.probes
    assert asked is not None
    wrong = replace(asked, verdict="invalid: members can be told without the model")
    (point,) = points(study, found | {key: replace(first, probes=(picture, wrong))})
    assert point.leaks["auc"].seeds == {1: 0.6}
    assert point.leaks["gain"].seeds == {0: 80.0, 1: 80.0}
    assert (point.word, point.reason) == ("in part", f"seed 0: {wrong.verdict}")


def test_the_front_in_words() -> None:
    study = quick()
    told = list(sentences(study, points(study, ended(study)), "auc"))
    assert told == [
        "3 of 3 combinations measured so far are on the front: no other is as accurate and leaks "
        "as little",
        "from 2 (no privacy, masks) to 3 (epsilon 8, no masks): membership: AUC 0.600 to 0.500, "
        "accuracy 60.0% to 50.0%",
        "from 1 (no privacy, no masks) to 2 (no privacy, masks): membership: AUC 0.700 to 0.600, "
        "accuracy 85.0% to 60.0%",
    ]


def test_what_seeds_leave_open_is_told() -> None:
    study = quick()
    near = (((0.8, 0.9), (0.7, 0.7)), ((0.6, 0.85), (0.6, 0.8)), ((0.5, 0.7), (0.71, 0.8)), None)
    told = list(sentences(study, points(study, ended(study, near)), "auc"))
    assert told[0].startswith("1 of 3 combinations measured so far is on the front")
    assert told[1:] == ["beaten by no other under every seed, and so perhaps on the front, too: 2"]
    alike = (((0.8, 0.8), (0.7, 0.7)), ((0.8, 0.80001), (0.7, 0.7)), ((0.5, 0.5), (0.5, 0.5)), None)
    told = list(sentences(study, points(study, ended(study, alike)), "auc"))
    assert told[1].startswith("from 1 (no privacy, no masks) or 2 (no privacy, masks) to 3 (")
    step = (((0.8, 0.9), (0.6, 0.8)), ((0.85, 0.8), (0.65, 0.7)), None, None)
    told = list(sentences(study, points(study, ended(study, step)), "auc"))
    assert told[1].endswith("(what it saves and what it costs: not under every seed)")
    one = quick(seeds=[0])
    told = list(sentences(one, points(one, ended(one, [((0.8,), (0.7,))])), "auc"))
    assert told[-1] == "one seed: nothing here says how much is luck"


def test_the_figure_draws_every_point_and_its_range() -> None:
    found = points(quick(), ended(quick()))
    figure = figures.frontier(found, "auc", "masks")
    masked, bare = trace(figure, "masks"), trace(figure, "no masks")
    assert masked["customdata"] == [2]
    assert bare["customdata"] == [1, 3]
    assert bare["x"] == pytest.approx([0.7, 0.5])  # 0.45 is no better than a guess
    assert bare["error_y"]["array"] == pytest.approx([0.05, 0.0])
    assert "0.450 (0.400 to 0.500)" in bare["hovertext"][1]
    assert masked["marker"]["color"] != bare["marker"]["color"]
    assert masked["marker"]["symbol"] != bare["marker"]["symbol"]
    line = trace(figure, "front")
    assert line["x"] == pytest.approx([0.5, 0.6, 0.7])
    assert line["y"] == pytest.approx([0.5, 0.6, 0.85])


# --- studies and their runs -----------------------------------------------------------------------


def test_a_study_is_all_combinations_under_every_seed() -> None:
    study = quick(alphas=[0, 0.5], malicious=[0, 0.2])
    places = [place for place in study.places for _ in study.seeds]
    assert len(study.places) == 16
    for place, cell in zip(places, study.sweep.cells, strict=True):
        now = cell.experiment
        assert now is not None
        assert now.seed == cell.seed
        assert (now.privacy.kind == "example") == (place.epsilon > 0)
        assert now.secure_aggregation.enabled == place.masks
        assert now.data.partition.kind == ("dirichlet" if place.alpha else "iid")
        assert now.adversary.count == (1 if place.malicious else 0)
    assert study.label(study.places[-1]) == "epsilon 8, alpha 0.5, masks, 20 % malicious"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"epsilons": []}, "epsilons is"),
        ({"epsilons": [8, 8]}, r"epsilons is \[8.0, 8.0\]: give each once"),
        ({"malicious": [0, 0.05]}, "nobody of 5 clients: give 0, or 0.2 at least"),
        ({"inversion": "loss-threshold"}, "inversion is loss-threshold: use first-layer"),
        ({"membership": "first-layer"}, "membership is first-layer: use loss-threshold"),
        ({"round": 3}, "every run is refused"),
        ({"rows": []}, "rows is not a setting"),
    ],
)
def test_a_study_that_cannot_be_is_refused(changed: dict[str, object], told: str) -> None:
    with pytest.raises(SettingError, match=told):
        quick(**changed)


def test_what_contradicts_itself_is_refused_in_its_place_only() -> None:
    krum = quick().experiment.changed({"aggregation.rule": {"kind": "krum", "faulty": 1}}).dump()
    found = points(quick(experiment=krum), {})
    assert [point.word for point in found] == ["waiting", "refused", "waiting", "refused"]
    assert "krum" in found[1].reason
    assert found[1].experiment is None


def test_settings_of_the_study_and_of_its_experiment_are_replaced() -> None:
    study = quick().changed({"epsilons": [1, 2], "training.rounds": 3})
    assert study.epsilons == (1.0, 2.0)
    assert study.sweep.probes[1].round == study.experiment.training.rounds == 3


def test_probes_make_other_runs_and_the_rest_keep_their_keys() -> None:
    experiment, aims = quick().experiment, quick().sweep.probes
    assert len({key_of(experiment, None, aims[:many]) for many in range(3)}) == 3
    assert key_of(experiment, None, ()) == key_of(experiment)
    both = {"measure": "leak", "attack": aims[0].dump(), "probes": [aims[1].dump()]}
    with pytest.raises(SettingError, match="probes want it whole"):
        Sweep.read(sweep().dump() | both)


def test_a_probe_finds_what_a_raid_finds_and_the_run_goes_on() -> None:
    experiment = quick().experiment
    aims = [AttackSpec.read({"kind": "first-layer", "round": 1}), *quick().sweep.probes]
    found, rounds = {}, []
    for moment, told in attacked_on_the_way(experiment, run(experiment), aims):
        rounds.append(moment.record.round)
        found |= told
    assert rounds == [1, 2]
    for number, aim in enumerate(aims):
        *_, last = attacked_at_end(experiment, aim)
        assert last is not None
        assert last.result is not None
        assert found[number] == {"leak": asdict(AttackSummary.of(last.result))}


def test_four_combinations_end_to_end_and_none_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = quick(seeds=[0])
    grid = SweepRuns(store, study.sweep)
    deque(run_sweep_locally(grid, 1), maxlen=0)
    found = points(study, grid.outcomes())
    assert [point.word for point in found] == [""] * 4
    bare, masked = found[0], found[1]
    assert bare.leaks["gain"].mean > 20
    assert bare.leaks["identified"].mean == 1.0
    assert masked.leaks["gain"].mean < 1
    assert 0.3 < bare.leaks["auc"].mean < 0.7
    monkeypatch.setattr("lab.jobs.sweep_job.run", lambda _: pytest.fail("it ran again"))
    other = SweepRuns(store, quick(seeds=[0], epsilons=[0], title="Fewer").sweep)
    assert other.progress().finished == other.progress().total == 2
    deque(run_sweep_locally(other, 1), maxlen=0)


def test_a_run_that_ends_early_says_what_was_not_attacked(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(experiment: Experiment) -> Iterator[RoundResult]:
        return islice(run(experiment), 1)

    monkeypatch.setattr("lab.jobs.sweep_job.run", short)
    study = quick(seeds=[0], epsilons=[0], masks=[False], round=2)
    grid = SweepRuns(store, study.sweep)
    grid.start()
    work_off(store)
    (point,) = points(study, grid.outcomes())
    assert point.accuracy is not None
    assert point.leaks == {}
    assert point.word == "in part"
    assert point.reason == "; ".join([f"seed 0: {EARLY['refused']}"] * 2)


@pytest.mark.parametrize("file", presets.tradeoffs().values(), ids=lambda file: file.stem)
def test_every_preset_is_a_study(file: Path) -> None:
    study = Study.from_file(file)
    assert study.title
    assert len(study.seeds) > 1
    assert 4 <= len(study.places) <= 16
    assert Study.from_toml(study.to_toml()) == study


# --- command line and page ------------------------------------------------------------------------


def test_the_command_line_writes_numbers_and_a_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file, out = tmp_path / "quick.toml", tmp_path / "out"
    file.write_text(QUICK, encoding="utf-8")
    monkeypatch.setenv(CHROMIUM, "/nowhere")
    words = ["leaklab", "tradeoff", str(file), "-s", "seeds=[0]", "-s", "epsilons=[0]"]
    monkeypatch.setattr(sys, "argv", [*words, "--out", str(out)])
    with pytest.raises(SystemExit) as over:
        main()
    assert over.value.code in (None, 0)
    told = capsys.readouterr().out
    assert "inversion: dB over the best guess" in told
    assert "one seed: nothing here says how much is luck" in told
    found = json.loads((out / "results.json").read_text())
    assert [point["number"] for point in found["points"]] == [1, 2]
    assert 2 in found["fronts"]["gain"]  # masked: least leaks
    with (out / "runs.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert float(rows[0]["first-layer of round 1: median"]) > 30
    assert 0 < float(rows[1]["loss-threshold of round 2: auc"]) < 1
    page = parsed((out / "tradeoff.html").read_text())
    assert "membership: AUC" in page.texts["h2"]
    assert NEEDED in (out / MISSING).read_text()


@pytest.mark.browser
def test_every_front_is_written_for_print_and_slides() -> None:
    study = quick()
    files = studied(study, ended(study))
    drawn = {name for name in files if name.startswith("figures/")}
    fronts = ("frontier-auc", "frontier-gain", "frontier-identified")
    assert drawn == {f"figures/{name}.{kind}" for name in fronts for kind in ("svg", "png")}
    assert b">no masks</text>" in files["figures/frontier-auc.svg"] or (
        b">no privacy</text>" in files["figures/frontier-auc.svg"]
    )
    assert files.keys() - drawn == {"study.toml", "results.json", "runs.csv", "tradeoff.html"}


def test_the_page_starts_a_study_draws_it_and_opens_a_run(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tradeoffs").mkdir()
    (tmp_path / "tradeoffs" / "quick.toml").write_text(QUICK, encoding="utf-8")
    monkeypatch.setattr("lab.experiment.presets.FOLDER", tmp_path)
    app = opened("tradeoff")
    next(one for one in app.slider if one.label == "Seeds").set_value(1)
    epsilons = next(one for one in app.multiselect if one.label == "Epsilon")
    epsilons.set_value([])
    app.run()
    assert app.warning[0].value == "Choose at least one value: Epsilon."
    next(one for one in app.multiselect if one.label == "Epsilon").set_value([0.0])
    app.run()
    assert "2 short runs in the background: 2 combinations" in app.caption[0].value
    assert any("-s 'epsilons=[0.0]'" in one.value for one in app.code)
    button(app, "Start")
    assert labels(app) == {"Stop"}
    work_off(store)
    app.run()
    assert not app.exception
    assert any("combinations measured" in one.value for one in app.markdown)
    leaks = next(one for one in app.selectbox if one.label == "What leaks")
    assert leaks.options[0] == "Membership: AUC"
    (everything,) = app.get("download_button")
    assert everything.proto.label == "Everything"
    next(one for one in app.selectbox if one.label == "Look closer at").set_value(2)
    app.run()
    button(app, "Open its run on the Live page")
    (made,) = store.runs()
    assert made.experiment.secure_aggregation.enabled
    assert made.experiment.training.rounds == 2
