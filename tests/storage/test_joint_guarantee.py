"""What runs on the same data come to together: B1 of a hostile review, and what links give away."""

from __future__ import annotations

import json

import pytest
from dp_accounting import gaussian_mechanism  # type: ignore[import-untyped]
from typer.testing import CliRunner

from lab import Experiment
from lab.cli import app
from lab.engine.differential_privacy.accountant import gives_away, spent
from lab.storage.joint_guarantee import joint, together
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from lab.storage.worker_store import WorkerStore
from tests.support.app_pages import work_off

TINY = {"data.source": "digits", "data.examples": 100, "model": "logistic", "data.clients": 5}
TINY |= {"privacy.kind": "client", "privacy.noise": 10.0, "training.rounds": 4}
TINY |= {"training.steps": 1}


def made(**changes: object) -> Experiment:
    named = {path.replace("__", "."): value for path, value in changes.items()}
    return Experiment().changed(TINY | named)


def exact(releases: int) -> float:
    return float(gaussian_mechanism.get_epsilon_gaussian(10.0 / releases**0.5, 1e-3))


def test_two_runs_with_noise_of_their_own_compose() -> None:
    """Without sampling that is one Gaussian mechanism, known exactly."""
    found = joint((made(), 4), [(made(nonce=3), 4), (made(nonce=4, training__rate=0.5), 2)])
    assert found.others == 2
    assert found.epsilon == pytest.approx(exact(10))
    assert "2 other runs and branches on the same data" in found.sentence
    assert f"All of them together: epsilon {exact(10):.3g}" in found.sentence


def test_a_branch_adds_its_own_rounds_only() -> None:
    run = made()
    branch = run.changed_from(3, {"nonce": 9, "privacy.clip": 0.5})
    second = branch.changed_from(4, {"nonce": 10})
    assert joint((run, 4), [(branch, 4)]).epsilon == pytest.approx(exact(6))
    assert joint((branch, 4), [(run, 4)]).epsilon == pytest.approx(exact(6))
    assert joint((run, 4), [(branch, 4), (second, 4)]).epsilon == pytest.approx(exact(7))
    assert joint((run, 4), [(branch, 2)]).epsilon == pytest.approx(exact(4))  # nothing of its own
    assert joint((run, 4), [(run, 4)]).epsilon == pytest.approx(exact(4))  # the same once more


def test_runs_that_draw_the_same_noise_guarantee_nothing_together() -> None:
    louder = made(privacy__noise=20.0)
    found = joint((made(), 4), [(louder, 4)])
    assert found.epsilon is None
    assert "draw the same noise" in found.sentence
    secret = {"privacy__secure_noise": True}
    pair = made(**secret), made(privacy__noise=20.0, **secret)
    assert joint((pair[0], 4), [(pair[1], 4)]).epsilon is not None


def test_a_run_without_a_guarantee_leaves_none_to_all_of_them() -> None:
    found = joint((made(), 4), [(made(nonce=2), 4), (made(privacy__kind="none"), 4)])
    assert found.epsilon is None
    assert "1 of them had no such guarantee" in found.sentence


def test_other_data_do_not_count() -> None:
    others = [
        (made(seed=1), 4),
        (made(data__clients=4), 4),
        (made(privacy__kind="none", seed=1), 4),
    ]
    found = joint((made(), 4), others)
    assert (found.others, found.sentence) == (0, "")
    assert found.epsilon == pytest.approx(exact(4))
    example = made(privacy__kind="example")
    shared = joint((example, 4), [(made(privacy__kind="example", data__clients=4, seed=1), 4)])
    assert shared.others == 1  # the same examples, divided otherwise
    alone = spent(example, 4)
    assert alone is not None
    assert shared.epsilon is not None
    assert shared.epsilon > alone.epsilon


def test_more_different_runs_than_are_composed_tightly_are_never_counted_for_less() -> None:
    many = [(made(nonce=k, privacy__noise=10.0 + k / 100), 4) for k in range(1, 60)]
    found = joint((made(), 4), many)
    squares = 4 / 10.0**2 + sum(4 / (10.0 + k / 100) ** 2 for k in range(1, 60))
    tight = gaussian_mechanism.get_epsilon_gaussian(squares**-0.5, 1e-3)
    assert found.epsilon is not None
    assert tight <= found.epsilon < 1.1 * tight


def test_the_command_line_tells_of_other_runs_and_of_the_seed(
    monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    run = RunCommands(store).create(made())
    work_off(store)
    branch = RunCommands(store).branch(run, 2)
    RunCommands(store).resume(branch)
    work_off(store)
    monkeypatch.setattr("lab.cli.stored_runs.Store", lambda: store)
    shown = CliRunner().invoke(app, ["show", run])
    assert "1 other run or branch on the same data" in shown.output
    told = json.loads(CliRunner().invoke(app, ["show", run, "--json"]).output)["together"]
    assert told == {"others": 1, "epsilon": pytest.approx(exact(6))}
    assert together(WorkerStore(store).store, store.run(run)).others == 1


def test_what_a_link_gives_away_is_said() -> None:
    assert "hold its seed" in gives_away(made())
    secret = gives_away(made(privacy__secure_noise=True))
    assert "seed" not in secret
    assert "records" in secret
    assert gives_away(made(privacy__kind="none")) == ""
