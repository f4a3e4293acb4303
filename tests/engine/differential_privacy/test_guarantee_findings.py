"""Guarantees that a hostile review found false, one test or more for each, by the review's number.

A1: malicious clients.  A2: who is asked changes in mid-run.  A3: FedDyn.  A6: clients of unequal
size.  A7: rounding in the ring.  B1: branches.  B2: the seed.  B3: neighbours.  B5: a target after
a change.  A8, rounds that are broken off, has a file of its own.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from math import ceil, log

import numpy as np
import pytest
import torch
from torch import Tensor

from attacks import POISONING_ATTACKS
from defenses.secure_aggregation.channel import Masked
from lab import Experiment, run
from lab.common.settings import SettingError
from lab.engine.carried_state import CarriedState
from lab.engine.client.batches import batches
from lab.engine.client.cohort_trainer import cohort_of
from lab.engine.data.federation import federated_dataset
from lab.engine.differential_privacy.accountant import (
    cautions,
    noise_multiplier,
    promise,
    segments,
    spent,
)
from lab.engine.exchange import channel
from lab.engine.participation.cohort_sampling import select_cohort
from lab.engine.round import Round, run_round
from lab.engine.run import initial_state
from lab.interfaces.federated_algorithm import ClientUpdates
from lab.interfaces.poisoning import AdversaryKnowledge
from lab.privacy.accounting.accountants import GaussianReleases, compose_epsilon
from lab.privacy.sampling_bounds import epoch_at_least
from tests.support.guaranteed_runs import CLIENT, epsilon, made

# --- A1: malicious clients ------------------------------------------------------------------------


NOISY = {**CLIENT, "data.clients": 50, "training.rounds": 1, "adversary.count": 25}


def test_free_riders_take_their_share_of_the_noise_with_them() -> None:
    """A1a: what is counted is what is measured in the released step."""
    now = made({**NOISY, "adversary.attack.kind": "free-rider", "privacy.clip": 1e-6})
    (moment,) = run(now)
    step = (moment.state.model - moment.transcript.sent).double()
    found = spent(now, 1)
    assert found is not None
    assert found.noise[0] == pytest.approx(3.0 * 0.5**0.5)
    measured = float((step - step.median()).abs().quantile(0.6827)) / (1e-6 / 50)
    assert measured == pytest.approx(found.noise[0], rel=0.1)
    assert found.epsilon == pytest.approx(1.26, abs=0.005)  # 0.834 without malicious clients


def released(now: Experiment, length: float) -> Tensor:
    """The step of a round in which one honest client sends an update of that length."""
    clients = tuple(range(now.data.clients))
    party, params = cohort_of(now, 1, clients), now.architecture.size
    rows = torch.zeros(len(clients), params)
    rows[next(client for client in clients if not party.malicious[client]), 0] = length
    round = Round(now, 1, now, party, torch.zeros(params), CarriedState())
    return round.aggregate(round.exchange(rows)).step


def test_who_sends_on_what_others_sent_leaves_no_guarantee() -> None:
    """A1b: one client's update counts 26 times, and no noise was meant for that."""
    central = {**NOISY, "privacy.place": "central", "adversary.attack.kind": "mimic"}
    now = made(central)
    moved = float((released(now, 1.0) - released(now, 0.0)).norm()) * 50
    assert moved == pytest.approx(26.0, rel=1e-4)
    assert spent(now, 1) is None
    assert promise(now, 1).startswith("No guarantee: malicious clients (mimic) know the updates")
    (moment,) = run(now)
    assert moment.record.epsilon is None
    assert spent(made({**central, "privacy.place": "local"}), 1) is not None  # noise comes first
    later = now.changed({"adversary.start": 5, "training.rounds": 9})
    assert (spent(later, 4) is None, spent(later, 5) is None) == (False, True)


@pytest.mark.parametrize("kind", POISONING_ATTACKS)
def test_poisons_say_what_of_the_others_enters_their_lies(kind: str) -> None:
    """A1: the accountant relies on it."""
    settings = {"adversary.attack.kind": kind}
    settings |= {"adversary.attack.reading": "own"} if kind == "sign-flip" else {}
    now = made(
        {"data.clients": 6, "data.source": "fashion-mnist", "adversary.count": 2, **settings}
    )
    poison, rows = now.adversary.attack, torch.randn(6, 40, generator=torch.manual_seed(0))
    bad = torch.tensor([True, True, False, False, False, False])
    party = replace(cohort_of(now, 1, tuple(range(6))), malicious=bad, weights=torch.ones(6))
    change = torch.linspace(-1, 1, 40)
    insight = AdversaryKnowledge(change, change, change, lambda some: some.mean(dim=0))

    def lies(rows: Tensor, those: list[int]) -> Tensor:
        return poison.rows(rows[those], party.part(those), insight)[:2]

    everybody, fewer, other = list(range(6)), list(range(5)), rows.clone()
    other[2:] = torch.randn(4, 40, generator=torch.manual_seed(1))
    alike = torch.cat([rows[:2], rows[2:3].expand(4, -1)])  # a client more changes no honest mean
    reads = not torch.equal(lies(rows, everybody), lies(other, everybody))
    counts = not torch.equal(lies(alike, everybody), lies(alike, fewer))
    assert reads == (poison.sees == "updates")
    assert counts == (poison.sees == "cohort") or reads


def test_where_malicious_clients_add_no_noise_its_scale_shows_who_took_part() -> None:
    """A1: so a Poisson cohort is no secret, and only the turns that a client took count."""
    settings = {**CLIENT, "data.clients": 40, "training.clients_per_round": 10}
    settings |= {"training.rounds": 8, "adversary.count": 4, "adversary.attack.kind": "free-rider"}
    now = made(settings)
    found = spent(now, 8)
    assert found is not None
    cohorts = [select_cohort(now, round) for round in range(1, 9)]
    gang = set(cohort_of(now, 1, tuple(range(40))).malicious.nonzero().flatten().tolist())
    most = max(len(gang & set(there)) / len(there) for there in cohorts)
    turns = max(Counter(client for there in cohorts for client in there).values())
    noise = 3.0 * (1 - most) ** 0.5
    assert found.noise == (pytest.approx(noise),)
    assert found.epsilon == pytest.approx(
        compose_epsilon((GaussianReleases(1.0, noise, turns),), 1e-3)
    )
    assert found.relation == "one client replaced by nothing; who takes part is public"
    assert "Drawing clients at random adds nothing" in cautions(now, 8)[-1]
    assert "It covers the 36 clients who follow the protocol." in promise(now, 8)
    central = made({**settings, "privacy.place": "central"})  # the server adds all of the noise
    assert epsilon(central, 8) == epsilon(made({**settings, "adversary.count": 0}), 8)
    boosted = {"adversary.attack.kind": "model-replacement", "data.source": "fashion-mnist"}
    counting = central.changed(boosted)  # what it sends grows with the cohort
    assert epsilon(counting, 8) > epsilon(central, 8)
    assert epsilon(counting.changed({"adversary.attack.boost": 5.0}), 8) == epsilon(central, 8)


def test_a_target_is_met_with_the_noise_that_honest_clients_add() -> None:
    now = made({**NOISY, "privacy.noise": 0.0, "privacy.epsilon": 2.0, "training.rounds": 5})
    now = now.changed({"adversary.attack.kind": "gaussian"})
    assert epsilon(now, 5) == pytest.approx(2.0, rel=1e-3)
    alone = now.changed({"adversary.count": 0})
    assert noise_multiplier(now, 1) == pytest.approx(noise_multiplier(alone, 1) * 2**0.5)


# --- A2: who is asked changes ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"network.spare": 4.0},
        {"network.availability": 0.3},
        {"training.algorithm": "fedbuff", "training.algorithm.buffer": 5},
    ],
)
def test_turns_are_counted_as_they_came_after_a_change(change: dict[str, object]) -> None:
    settings = {"privacy.kind": "example", "privacy.noise": 1.0, "privacy.delta": 1e-5}
    settings |= {"data.clients": 100, "data.examples": 1000, "training.clients_per_round": 5}
    now = made({**settings, "training.rounds": 40, "network.devices": "phones"})
    changed = now.changed_from(2, change)
    assert len(segments(changed)) == 2
    cohorts = (select_cohort(changed, round) for round in range(1, 41))
    turns = max(Counter(client for there in cohorts for client in there).values())
    rate = now.recipe.poisson
    assert rate is not None
    for adversary in ("server", "public"):
        found = spent(changed, 40, adversary)  # type: ignore[arg-type]
        assert found is not None
        steps = now.recipe.local_steps(1)
        assert found.epsilon >= compose_epsilon(
            (GaussianReleases(rate, 1.0, turns, steps),), 1e-5
        ) or (adversary == "public")
    server, public = spent(changed, 40), spent(changed, 40, "public")
    assert server is not None
    assert public is not None
    # Nobody's chance is that of everybody any more: nothing is gained from not knowing who came.
    assert public.epsilon > 0.9 * compose_epsilon(
        (GaussianReleases(rate, 1.0, turns, steps),), 1e-5
    )


# --- A3: FedDyn -----------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["fedavg", "feddyn"])
def test_the_model_is_scaled_by_no_secret_number(
    algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A3: nobody sends anything, and the noise is the same: so is the model, whoever was there."""
    now = made({**CLIENT, "data.clients": 8, "training.clients_per_round": 4, "training.rounds": 3})
    now = now.changed({"training.algorithm": algorithm, "privacy.place": "central"})
    models = []
    for there in ((0, 1), (0, 1, 2, 3, 4, 5)):
        monkeypatch.setattr(
            "lab.engine.round.select_cohort", lambda experiment, round, there=there: there
        )
        monkeypatch.setattr(
            "lab.engine.client.cohort_trainer.train_cohort",
            lambda experiment, round, clients, task, restraint: _nothing(clients, task.start),
        )
        state = initial_state(now)
        for _ in range(3):
            state = run_round(state).state
        models.append(state.model)
    assert torch.allclose(*models, atol=1e-6)


def _nothing(clients: tuple[int, ...], start: Tensor) -> ClientUpdates:
    return ClientUpdates(torch.zeros(len(clients), len(start)), torch.ones(len(clients)))


# --- A6: clients of unequal size ------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "split"), [(1, "quantity"), (4, "quantity"), (0, "dirichlet")])
def test_the_lower_end_is_that_of_one_client_whichever_it_is(seed: int, split: str) -> None:
    settings = {"seed": seed, "data.clients": 100, "training.clients_per_round": 3}
    settings |= {"training.rounds": 20, "privacy.kind": "example", "privacy.sampling": "fixed"}
    settings |= {"privacy.noise": 1.0, "privacy.delta": 1e-5, "data.partition": split}
    settings |= {"training.batch_size": 10, "data.source": "fashion-mnist", "training.steps": 0}
    now = made({**settings, "data.examples": 6000})
    found = spent(now, 20)
    assert found is not None
    sizes = federated_dataset(now).sizes.tolist()
    turns = Counter(client for round in range(1, 21) for client in select_cohort(now, round))
    each = {(ceil(sizes[one] / 10), times) for one, times in turns.items() if sizes[one]}
    best = max(epoch_at_least(batches, 1.0, times, 1e-5) for batches, times in each)
    assert (found.at_least or found.epsilon) == pytest.approx(best, rel=1e-3)


# --- A7: rounding in the ring ---------------------------------------------------------------------


@pytest.mark.parametrize("bound", [8.0, 10_000.0])
def test_rounding_makes_no_update_longer_than_what_is_counted(bound: float) -> None:
    """A7: many coordinates just above half a step, each of which is rounded up to a whole one."""
    settings = {**CLIENT, "data.clients": 1000, "data.source": "fashion-mnist", "model": "mlp"}
    settings |= {"privacy.place": "central", "data.examples": 1000}
    now = made({**settings, "secure_aggregation.enabled": True, "secure_aggregation.bound": bound})
    found, masked = spent(now, 1), channel(now, Round.begin(initial_state(now)).clipping)
    assert found is not None
    assert isinstance(masked, Masked)
    ring, params = masked.ring(1000), now.architecture.size
    places = min(params, int((1.0 / (0.501 * ring.step)) ** 2))
    row = np.zeros((1, params), np.float32)
    row[0, :places] = 0.501 * ring.step
    words = ring.encode(row, np.ones(1))
    arrived = np.linalg.norm(words[0, :-1].view(np.int32) * ring.step)
    rest = max(0.0, 1.0 - float((row.astype(float) ** 2).sum())) ** 0.5  # in one more coordinate
    assert np.hypot(arrived, rest) <= 3.0 / found.noise[0]
    assert 2.999 < found.noise[0] < 3.0  # a coarse bound of the settings makes no coarse ring


# --- B1: branches ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["client", "example"])
def test_the_noise_of_a_run_and_of_its_branch_never_cancels(kind: str) -> None:
    settings = {"privacy.kind": kind, "privacy.noise": 1.0, "data.clients": 10}
    now = made({**settings, "training.rounds": 3, "training.batch_size": 20})
    first, second, third = run(now)
    assert first.record.round == 1
    louder = {"privacy.noise": 2.0}
    (again,) = run(now.changed_from(3, louder), second.state)
    (branch,) = run(now.changed_from(3, {**louder, "nonce": 7}), second.state)
    (true,) = run(now.changed_from(3, {"privacy.noise": 1e-6}), second.state)

    def noiseless(other: Tensor) -> float:
        """How well twice the one less the other shows the update without noise."""
        update = true.state.model - second.state.model
        guess = 2 * third.state.model - other - second.state.model
        return float((guess - update).norm() / update.norm())

    assert noiseless(again.state.model) < 1e-3
    assert noiseless(branch.state.model) > 1.0
    assert first.state.model.equal(next(run(now.changed_from(3, {"nonce": 7}))).state.model)


# --- B2: the seed ---------------------------------------------------------------------------------


def test_secure_noise_draws_cohorts_and_batches_that_the_seed_does_not_tell() -> None:
    client = made({**CLIENT, "data.clients": 40, "training.clients_per_round": 20})
    secret = client.changed({"privacy.secure_noise": True})
    assert [select_cohort(client, r) for r in (1, 2)] != [select_cohort(secret, r) for r in (1, 2)]
    assert select_cohort(secret, 1) == select_cohort(
        secret, 1
    )  # within a process a round stays what it was
    found = spent(secret, 3)
    assert found is not None
    assert found.condition == "the records stay secret"
    assert found.epsilon == epsilon(client, 3)
    assert "as long as the seed and the records stay secret" in promise(client, 3)


def test_other_processes_draw_other_secrets() -> None:
    code = (
        "from lab.common.random_streams import secret_stream\n"
        "print(secret_stream(0, 'cohort', 1).integers(2**60))"
    )
    drawn = [subprocess.check_output([sys.executable, "-c", code]) for _ in range(2)]
    assert drawn[0] != drawn[1]


def test_example_level_batches_are_secret_and_who_is_asked_is_not() -> None:
    settings = {"privacy.kind": "example", "privacy.noise": 1.0, "data.clients": 20}
    settings |= {"training.clients_per_round": 5, "training.rounds": 8, "training.batch_size": 2}
    now = made(settings)
    secret = now.changed({"privacy.secure_noise": True})
    assert select_cohort(now, 1) == select_cohort(secret, 1)
    known, hidden = (np.concatenate(batches(one, 1, 0, 500)) for one in (now, secret))
    assert not np.array_equal(known, hidden)
    server, public = spent(secret, 8), spent(secret, 8, "public")
    assert server is not None
    assert public is not None
    assert public.epsilon == server.epsilon  # the seed tells who is asked


# --- B3: neighbours -------------------------------------------------------------------------------


def test_sizes_and_participants_that_are_seen_are_no_secret_of_the_guarantee() -> None:
    example = made({"privacy.kind": "example", "privacy.noise": 1.0, "data.clients": 4})
    masked = made({**CLIENT, "data.clients": 50, "training.clients_per_round": 20})
    masked = masked.changed({"secure_aggregation.enabled": True})
    sizes = "one example replaced by nothing; how many examples each client holds is public"
    for adversary in ("server", "public"):
        found = spent(example, 2, adversary)  # type: ignore[arg-type]
        assert found is not None
        assert found.relation == sizes
    server, public = spent(masked, 2, "server"), spent(masked, 2, "public")
    assert server is not None
    assert public is not None
    assert server.relation == "one client replaced by nothing; who takes part is public"
    assert public.relation == "one client added or removed"


# --- B5: a target after a change ------------------------------------------------------------------


TARGET = {"privacy.kind": "client", "privacy.epsilon": 2.0, "data.clients": 100}
TARGET |= {"training.clients_per_round": 10, "training.rounds": 20, "data.examples": 1000}


@pytest.mark.parametrize(
    "change",
    [
        {"training.clients_per_round": 20},
        {"privacy.delta": 5e-4},
        {"privacy.epsilon": 3.0},
        {"training.rounds": 30},
    ],
)
def test_the_target_is_met_at_the_end_whatever_changed(change: dict[str, object]) -> None:
    changed = made(TARGET).changed_from(11, change)
    last = changed.at(20)
    reached = epsilon(changed, last.training.rounds)
    assert reached == pytest.approx(last.privacy.epsilon, rel=1e-3)
    assert reached <= last.privacy.epsilon
    assert noise_multiplier(changed, 10) == noise_multiplier(made(TARGET), 10)


def test_what_costs_nothing_cuts_no_segment() -> None:
    now = made(TARGET)
    for change in (
        {"training.batch_size": 16},
        {"privacy.clip": 0.5},
        {"privacy.place": "central"},
    ):
        changed = now.changed_from(11, change)
        assert len(segments(changed)) == 1
        assert epsilon(changed, 20) == epsilon(now, 20)
    moved = now
    for round in range(2, 21):
        moved = moved.changed_from(round, {"privacy.clip": 1 - 0.01 * round})
    assert epsilon(moved, 20) == epsilon(now, 20)


def test_a_target_that_is_spent_already_is_said_to_be_out_of_reach() -> None:
    changed = made(TARGET).changed_from(16, {"privacy.epsilon": 0.5})
    gone = epsilon(changed, 15)
    assert gone > 0.5
    assert cautions(changed, 20)[-1] == (
        "The target epsilon 0.5 is out of reach: the rounds before the last change have spent "
        f"{gone:.3g}."
    )


def test_more_changes_than_are_counted_are_refused_in_words() -> None:
    moved = made(TARGET)
    for round in range(2, 23):
        moved = moved.changed_from(round, {"privacy.noise": 1.0 + log(round)})
    with pytest.raises(SettingError, match="what privacy costs changes 21 times"):
        spent(moved, 20)
