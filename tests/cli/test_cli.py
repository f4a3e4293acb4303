"""The command line: the same numbers as everywhere, and errors that say what would work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab import ROOT, Experiment, run
from lab.cli import main
from lab.jobs.worker import work
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store

TINY = """
[data]
source = "digits"
clients = 4
[model]
kind = "lenet"
[training]
rounds = 3
steps = 1
batch_size = 1
"""
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return str(path)


def leaklab(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the command in this process.  -> its exit code"""
    monkeypatch.setattr(sys, "argv", ["leaklab", *words])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, file: str, capsys: Captured) -> str:
    """The id of a finished run."""
    assert leaklab(monkeypatch, "run", file, "--json") == 0
    return str(json.loads(capsys.readouterr().out.splitlines()[-1])["run"])


# --- run ----------------------------------------------------------------------------------------


def test_json_is_one_object_a_round_and_a_last_line_that_names_the_run(
    monkeypatch: pytest.MonkeyPatch, file: str, capsys: Captured
) -> None:
    assert leaklab(monkeypatch, "run", file, "--json") == 0
    *rounds, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["round"] for each in rounds] == [1, 2, 3]
    wanted = {"round", "accuracy", "loss", "epsilon", "bytes_up", "bytes_down", "seconds"}
    assert all(wanted <= set(each) for each in rounds)
    assert last["status"] == "finished"
    assert [each.line() for each in Store().rounds(last["run"])] == rounds


def test_without_json_the_last_line_names_the_run(
    monkeypatch: pytest.MonkeyPatch, file: str, capsys: Captured
) -> None:
    assert leaklab(monkeypatch, "run", file) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"run {Store().runs()[0].id}"
    assert lines[-2].startswith("No differential privacy")
    assert lines[-3].startswith("round 3: accuracy")


def test_page_and_command_line_give_identical_records(
    monkeypatch: pytest.MonkeyPatch, file: str, capsys: Captured
) -> None:
    """A page queues the run and a worker pulls it; the command line pulls it itself."""
    sets = [
        "-s",
        "privacy.kind=client",
        "-s",
        "network.dropout=0.2",
        "-s",
        "data.partition=dirichlet",
    ]
    assert leaklab(monkeypatch, "run", file, "--json", *sets) == 0
    *headless, _ = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    store = Store()
    experiment = store.runs()[0].experiment
    queued = RunCommands(store).create(Experiment.from_url(experiment.to_url()))
    environment = os.environ | {"LEAKLAB_DB": store.url}
    worker = subprocess.Popen(
        [sys.executable, "-c", "from lab.jobs.worker import work\n"
         "from lab.storage.store import Store\n"
         "work(Store(), 'page', idle=0.5)"],
        cwd=ROOT, env=environment,
    )  # fmt: skip
    assert worker.wait(120) == 0
    paged = [each.record.model_dump(mode="json") for each in store.rounds(queued)]
    assert paged == [{k: v for k, v in each.items() if k != "seconds"} for each in headless]
    assert paged == [moment.record.model_dump(mode="json") for moment in run(experiment)]


def test_settings_replace_those_of_the_file(
    monkeypatch: pytest.MonkeyPatch, file: str, capsys: Captured
) -> None:
    sets = [
        "-s",
        "training.rounds=1",
        "-s",
        "aggregation.rule.kind=krum",
        "-s",
        "aggregation.rule.faulty=0",
    ]
    assert leaklab(monkeypatch, "run", file, *sets) == 0
    experiment = Store().runs()[0].experiment
    assert (experiment.training.rounds, experiment.aggregation.rule.dump()) == (
        1,
        {"kind": "krum", "faulty": 0, "neighbours": "paper"},
    )


def test_out_holds_the_experiment_the_records_and_the_model(
    monkeypatch: pytest.MonkeyPatch, file: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert leaklab(monkeypatch, "run", file, "--out", str(out)) == 0
    assert Experiment.from_file(out / "experiment.toml") == Experiment.from_toml(TINY)
    assert len((out / "records.jsonl").read_text().splitlines()) == 3
    assert (out / "model.safetensors").stat().st_size > 1000


def test_ctrl_c_leaves_a_run_that_can_be_resumed(tmp_path: Path, store_url: str) -> None:
    path = tmp_path / "long.toml"
    path.write_text(TINY.replace("rounds = 3", "rounds = 400"))
    command = [sys.executable, "-m", "lab.cli", "run", str(path), "--json"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"LEAKLAB_DB": store_url},
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    (job,) = Store().runs()
    assert f"leaklab resume {job.id}" in complaint
    assert "Traceback" not in complaint
    assert job.status == "paused"
    RunCommands(Store()).change(job.id, {"training.rounds": job.round + 2})
    resumed = subprocess.run(
        [sys.executable, "-m", "lab.cli", "resume", job.id], cwd=ROOT, timeout=60,
        env=os.environ | {"LEAKLAB_DB": store_url}, check=False,
    )  # fmt: skip
    assert resumed.returncode == 0
    assert Store().job(job.id).status == "finished"


# --- attack, show, report, list -----------------------------------------------------------------


def test_an_attack_tells_its_result_and_its_baseline(
    monkeypatch: pytest.MonkeyPatch, trained: str, capsys: Captured, tmp_path: Path
) -> None:
    words = ["attack", "idlg", "--run", trained, "--round", "1", "--client", "2"]
    assert leaklab(monkeypatch, *words, "-s", "restarts=1", "--out", str(tmp_path / "out")) == 0
    told = capsys.readouterr().out
    for part in ("PSNR", "guesses without the gradient", "mean image", "attacker:", "labels"):
        assert part in told
    assert (tmp_path / "out" / "guess_0.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "out" / "result.json").read_text())["client"] == 2


def test_an_attack_on_nobody_in_particular_takes_the_first_sender(
    monkeypatch: pytest.MonkeyPatch, trained: str, capsys: Captured
) -> None:
    """And the order says who that was, so that the page shows the attack."""
    words = ["attack", "idlg", "--run", trained, "--round", "1", "-s", "restarts=1", "--json"]
    assert leaklab(monkeypatch, *words) == 0
    told = json.loads(capsys.readouterr().out)
    first = Store().rounds(trained)[0].record.arrived[0]
    assert told["client"] == Store().job(told["id"]).order.client == first


def test_an_attack_as_json_is_its_stored_result(
    monkeypatch: pytest.MonkeyPatch, trained: str, capsys: Captured
) -> None:
    assert leaklab(monkeypatch, "attack", "loss-threshold", "--run", trained, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    (attack,) = Store().attacks_on(trained)
    assert told["id"] == attack.id
    assert attack.result is not None
    assert told["score"]["auc"] == attack.result["score"]["auc"]
    assert {"auc_low", "auc_high", "blind", "members", "others"} <= set(told["score"])


def test_the_same_attack_twice_gives_the_same_numbers(
    monkeypatch: pytest.MonkeyPatch, trained: str, capsys: Captured
) -> None:
    told = []
    for _ in range(2):
        assert leaklab(monkeypatch, "attack", "idlg", "--run", trained, "--json") == 0
        result = json.loads(capsys.readouterr().out)
        told.append({k: v for k, v in result.items() if k not in ("id", "seconds")})
    assert told[0] == told[1]


MASKED = (
    *("-s", "model.kind=mlp", "-s", "data.clients=6"),
    *("-s", "secure_aggregation.enabled=true"),
)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("single-out", "takes part in no sum of 2: 3 clients are the fewest"),
        ("sybils", "recovered: only rounding is left"),
        ("captured-neighbourhood", "was told of a neighbourhood of 3, and"),
        ("sum-difference", "recovered: only rounding is left"),
        ("inconsistent-models", "the masks did not cancel"),
        ("weak-masks", "none of 1,048,576 seeds fits"),
        ("alive-and-dead", "does not share its secrets with threshold"),
    ],
)
def test_secure_aggregation_is_attacked_without_a_browser(
    monkeypatch: pytest.MonkeyPatch, file: str, capsys: Captured, name: str, told: str
) -> None:
    assert leaklab(monkeypatch, "run", file, *MASKED, "--json") == 0
    id = str(json.loads(capsys.readouterr().out.splitlines()[-1])["run"])
    assert leaklab(monkeypatch, "attack", name, "--run", id, "--round", "2", "--client", "1") == 0
    lines = capsys.readouterr().out
    assert told in lines
    assert "the mean of all that the sum gives anyway" in lines
    assert leaklab(monkeypatch, "show", id) == 0
    assert f"{name}, finished" in capsys.readouterr().out


def test_few_neighbours_are_a_caution_after_a_run(
    monkeypatch: pytest.MonkeyPatch, file: str, capsys: Captured
) -> None:
    few = ("-s", "secure_aggregation.neighbours=2", "-s", "secure_aggregation.signatures=true")
    many = ("-s", "data.clients=21")
    assert leaklab(monkeypatch, "run", file, *MASKED, *few, *many) == 0
    told = capsys.readouterr().out
    assert "opens a client's update with 2 accomplices among the 2 neighbours" in told
    assert "If 2 of the 20 others are its accomplices, the chance is 0.53% a client" in told


def test_secure_aggregation_that_is_off_is_refused_before_anything_is_stored(
    monkeypatch: pytest.MonkeyPatch, trained: str, capsys: Captured
) -> None:
    assert leaklab(monkeypatch, "attack", "sybils", "--run", trained) == 2
    assert "round 3 ran without secure aggregation" in capsys.readouterr().err
    assert Store().attacks_on(trained) == []


def test_runs_show_and_report_know_the_run(
    monkeypatch: pytest.MonkeyPatch, trained: str, capsys: Captured, tmp_path: Path
) -> None:
    assert leaklab(monkeypatch, "runs") == 0
    assert trained in capsys.readouterr().out
    assert leaklab(monkeypatch, "runs", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["run"] == trained
    assert leaklab(monkeypatch, "show", trained) == 0
    assert 'source = "digits"' in capsys.readouterr().out
    assert leaklab(monkeypatch, "show", trained, "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["rounds"]) == 3
    page = tmp_path / "report.html"
    assert leaklab(monkeypatch, "report", trained, "-o", str(page)) == 0
    assert "plotly" in page.read_text()


@pytest.mark.parametrize(
    "table", ["", "aggregation-rules", "data-sources", "privacy-attacks", "algorithms"]
)
def test_the_catalogue_is_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, table: str
) -> None:
    assert leaklab(monkeypatch, "list", *([table] if table else [])) == 0
    assert capsys.readouterr().out
    assert leaklab(monkeypatch, "list", *([table] if table else []), "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    entries = listed if table else listed["aggregation-rules"]
    assert all({"name", "about", "source", "settings"} <= set(entry) for entry in entries)


def test_krums_entry_holds_its_bounds(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    leaklab(monkeypatch, "list", "aggregation-rules", "--json")
    krum = next(e for e in json.loads(capsys.readouterr().out) if e["name"] == "krum")
    assert krum["settings"]["faulty"]["minimum"] == 0


def test_the_schema_is_exported(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    assert leaklab(monkeypatch, "schema") == 0
    assert "training" in json.loads(capsys.readouterr().out)["properties"]


def test_an_epsilon_comes_with_all_that_it_means(
    monkeypatch: pytest.MonkeyPatch, file: str, capsys: Captured
) -> None:
    private = ["-s", "privacy.kind=client", "-s", "privacy.noise=1.0"]
    assert leaklab(monkeypatch, "run", file, *private) == 0
    told = capsys.readouterr().out
    for part in ("Guaranteed: epsilon", "delta 0.001", "added or removed", "PLD"):
        assert part in told
    assert leaklab(monkeypatch, "run", file, *private, "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1]["guarantee"]["epsilon"] == lines[-2]["epsilon"]
    assert lines[-1]["guarantee"]["unit"] == "client"
    assert leaklab(monkeypatch, "run", file, "--json") == 0
    assert "guarantee" not in json.loads(capsys.readouterr().out.splitlines()[-1])


ACCOUNT = ("account", "--rate", "0.05", "--steps", "400", "--delta", "1e-4")


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--noise", "1"], "epsilon", 5.73503),
        (["--noise", "1", "--accountant", "rdp"], "epsilon", 6.46525),
        (["--noise", "1", "--accountant", "prv"], "epsilon", 5.74547),
        (["--epsilon", "8"], "noise", 0.8521),
    ],
)
def test_the_accountant_answers_either_way(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, words: list[str], name: str, value: float
) -> None:
    assert leaklab(monkeypatch, *ACCOUNT, *words, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {name: pytest.approx(value, rel=1e-3)}
    assert leaklab(monkeypatch, *ACCOUNT, *words) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"{name} {value:.3g}"[:-1])
    assert "Poisson" in told


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "nofile.toml"], "nofile.toml cannot be read"),
        (
            ["run", "FILE", "-s", "aggregation.rule.kind=krun"],
            "aggregation.rule.kind is 'krun'.*did you mean krum",
        ),
        (
            ["run", "FILE", "-s", "training.rate=20"],
            "training.rate is 20.*less than or equal to 10",
        ),
        (["run", "FILE", "-s", "training.epoch=2"], "training.epoch is not a setting.*epochs"),
        (["run", "FILE", "-s", "foo"], "'foo' is not a setting: write section.key=value"),
        (
            [
                "run",
                "FILE",
                "-s",
                "aggregation.rule.kind=krum",
                "-s",
                "secure_aggregation.enabled=true",
            ],
            "aggregation.rule.kind krum.*secure_aggregation.enabled.*aggregation.rule.kind mean",
        ),
        (["attack", "idlg", "--run", "zzz"], "no run 'zzz'"),
        (["show", "zzz"], "no run 'zzz'"),
        (["report", "zzz", "-o", "x.html"], "no run 'zzz'"),
        (["resume", "zzz"], "no run 'zzz'"),
        (["list", "rulez"], "no table 'rulez'.*rules"),
        (["dance"], "No such command"),
        (["app", "--port", "0"], "port"),
        ([*ACCOUNT], "give either noise.*or epsilon"),
        ([*ACCOUNT, "--noise", "1", "--epsilon", "1"], "give either noise.*or epsilon"),
        ([*ACCOUNT, "--noise", "0"], "noise is 0.*0.05"),
        ([*ACCOUNT, "--noise", "1", "--accountant", "gdp"], "accountant is 'gdp'.*pld"),
        (["account", "--rate", "2", "--steps", "1", "--delta", "0.1", "--noise", "1"], "rate is 2"),
    ],
)
def test_bad_input_ends_with_exit_code_2_and_a_remedy(
    monkeypatch: pytest.MonkeyPatch, file: str, capsys: Captured, words: list[str], told: str
) -> None:
    import re

    assert leaklab(monkeypatch, *[file if word == "FILE" else word for word in words]) == 2
    complaint = capsys.readouterr().err
    assert re.search(told, complaint, re.DOTALL), complaint
    assert "Traceback" not in complaint
    assert len(complaint.strip().splitlines()) <= 4
    assert Store().runs() == []


def test_a_broken_file_says_where(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Captured
) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("[data\nclients = 3")
    assert leaklab(monkeypatch, "run", str(path)) == 2
    assert "broken.toml: not a TOML file" in capsys.readouterr().err


def test_bad_attacks_are_refused_before_anything_is_stored(
    monkeypatch: pytest.MonkeyPatch, trained: str, capsys: Captured
) -> None:
    for words, told in (
        (["idgl"], "did you mean idlg"),
        (["idlg", "--round", "9"], "round is 9"),
        (["idlg", "--round", "0"], "round is 0"),
        (["idlg", "--client", "9"], "client is 9: give 0 to 3"),
        (["idlg", "-s", "iterations=1"], "iterations is 1"),
        (["first-layer"], "use idlg"),
    ):
        assert leaklab(monkeypatch, "attack", *words, "--run", trained) == 2
        assert told in capsys.readouterr().err
    assert Store().attacks_on(trained) == []


def test_an_unreadable_store_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Captured
) -> None:
    path = tmp_path / "garbage.db"
    path.write_bytes(b"garbage" * 1000)
    monkeypatch.setenv("LEAKLAB_DB", f"sqlite:///{path}")
    assert leaklab(monkeypatch, "runs") == 2
    assert "set LEAKLAB_DB to another" in capsys.readouterr().err


def test_a_finished_run_is_not_resumed(
    monkeypatch: pytest.MonkeyPatch, trained: str, capsys: Captured
) -> None:
    assert leaklab(monkeypatch, "resume", trained) == 2
    assert "is finished" in capsys.readouterr().err


def test_a_worker_without_work_goes_home(store: Store) -> None:
    work(store, "tired", idle=0.05)
    assert store.runs() == []
