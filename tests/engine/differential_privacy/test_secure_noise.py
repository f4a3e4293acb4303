"""Noise from the operating system: normal, never the same twice, and never claimed to be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from lab import Experiment, run
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.common.random_streams import gaussian_noise, random_stream
from lab.common.settings import SettingError
from lab.jobs.run_job import carry_out_run
from lab.storage.replay import StoredRun
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from lab.storage.worker_store import WorkerStore
from tests.engine.differential_privacy.test_dp_sgd import EXAMPLE
from tests.support.private_runs import CLIENTS

SECURE = CLIENTS.changed({"privacy.secure_noise": True, "training.clients_per_round": 0})


def test_it_is_normal_and_finite_and_another_one_each_time() -> None:
    drawn = gaussian_noise(random_stream(0, "x"), 2, 100_000, secure=True)
    assert drawn.shape == (2, 100_000)
    assert drawn.dtype == torch.float32
    assert bool(drawn.isfinite().all())
    # Draws without a seed: one test in ten million fails.
    assert kstest(drawn.flatten().numpy(), "norm").pvalue > 1e-7
    assert not torch.equal(drawn, gaussian_noise(random_stream(0, "x"), 2, 100_000, secure=True))
    assert gaussian_noise(random_stream(0, "x"), 0, secure=True).shape == (0,)


@pytest.mark.parametrize("byte", [0, 255])
def test_the_ends_of_the_generator_are_numbers(byte: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.urandom", lambda size: bytes([byte]) * size)
    drawn = gaussian_noise(random_stream(0, "x"), 3, secure=True)
    assert np.allclose(drawn.abs().numpy(), 8.2, atol=0.1)


def test_unsecured_noise_is_that_of_its_name() -> None:
    assert torch.equal(
        gaussian_noise(random_stream(0, "x"), 5), gaussian_noise(random_stream(0, "x"), 5)
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"privacy.place": "distributed"},
        {"privacy.place": "central"},
        {"privacy.place": "local"},
        {"privacy.quantile": 0.5},
    ],
)
def test_no_two_runs_share_their_noise(settings: dict[str, object]) -> None:
    now = SECURE.changed(settings | {"training.rounds": 1})
    one, other = (next(run(now)).state.model for _ in range(2))
    difference = (one - other) * 12
    # Each has noise of its own, in every coordinate.
    assert bool((difference != 0).float().mean() > 0.99)
    assert float(difference.std()) > 0.2


def test_noise_on_steps_is_not_shared_either() -> None:
    now = EXAMPLE.changed({"privacy.secure_noise": True, "training.rounds": 1})
    one, other = (next(run(now)).state.model for _ in range(2))
    assert bool((one != other).float().mean() > 0.99)


def test_sampling_is_that_of_the_seed() -> None:
    some = SECURE.changed({"training.clients_per_round": 4})
    one, other = ([moment.record.clients for moment in run(some)] for _ in range(2))
    assert one == other


# --- where the lab claims that a run repeats itself -----------------------------------------------


def test_its_command_says_that_numbers_will_differ() -> None:
    caveat = "  # other numbers each time: privacy.secure_noise"
    assert SECURE.command().endswith(caveat)
    assert CLIENTS.changed_from(3, {"privacy.secure_noise": True}).command().endswith(caveat)
    unused = Experiment().changed({"privacy.secure_noise": True})
    assert "#" not in unused.command()


def test_a_round_of_it_is_not_replayed_and_nobody_attacks_fiction(store: Store) -> None:
    later = CLIENTS.changed_from(3, {"privacy.secure_noise": True})
    ledger = WorkerStore(store)
    job = ledger.start(later)
    list(carry_out_run(ledger, job))
    assert StoredRun(store, job.id).replay(2).record == store.rounds(job.id)[1].record
    with pytest.raises(SettingError, match=r"cannot be replayed: privacy\.secure_noise"):
        StoredRun(store, job.id).replay(3)
    with pytest.raises(SettingError, match=r"cannot be replayed: privacy\.secure_noise"):
        RunCommands(store).attack(job.id, AttackRequest.read({"kind": "idlg", "round": 3}))
    RunCommands(store).attack(job.id, AttackRequest.read({"kind": "loss-threshold", "round": 3}))


def test_every_state_of_it_is_kept(store: Store) -> None:
    """Others may be trained on from an earlier one; these would come out otherwise."""
    ledger = WorkerStore(store)
    now = SECURE.changed({"training.algorithm.kind": "fedadam"})
    job = ledger.start(now)
    list(carry_out_run(ledger, job))
    states = [StoredRun(store, job.id).state(round) for round in range(1, 9)]
    again = [StoredRun(store, job.id).state(round) for round in range(1, 9)]
    for one, other in zip(states, again, strict=True):
        assert torch.equal(one.model, other.model)
        mine, yours = one.carried.algorithm, other.carried.algorithm
        assert mine
        assert all(torch.equal(mine[name], yours[name]) for name in mine)
