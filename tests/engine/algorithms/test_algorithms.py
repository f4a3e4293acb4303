"""Algorithms: on quadratics, where the optimum is known, and against what they must reduce to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from lab import Experiment, run
from lab.common.settings import SettingError
from lab.engine.algorithms import ALGORITHMS
from lab.engine.algorithms.afl import onto_the_simplex
from lab.engine.run import initial_state
from lab.interfaces.federated_algorithm import Algorithm, CohortReport
from lab.jobs.run_job import carry_out_run
from lab.storage.replay import StoredRun
from lab.storage.store import Store
from lab.storage.worker_store import WorkerStore
from tests.support.depth import few
from tests.support.quadratics import EQUAL, UNEQUAL, made, quadratics, report_of
from tests.support.reference_training import all_of, slope

DIGITS = Experiment.read(
    {
        "data": {
            "source": "digits",
            "clients": 6,
            "partition": {"kind": "dirichlet", "alpha": 0.3},
        },
        "training": {"rounds": 3, "batch_size": 16, "rate": 0.2},
    }
)


# Those that are fedavg at some setting.
REDUCED: list[tuple[str, dict[str, Any]]] = [
    ("fedavgm", {"momentum": 0.0}),
    ("fedprox", {"pull": 0.0}),
    ("qffl", {"fairness": 0.0}),
    ("afl", {"ascent": 0.0}),
    ("fednova", {}),  # with equal steps
]


# --- limits on quadratics -----------------------------------------------------------------------


def test_one_full_step_a_round_is_gradient_descent() -> None:
    world, model = quadratics(1, 1, 1, 1), torch.zeros(5, dtype=torch.float64)
    for _ in range(7):
        model = model - 0.1 * (world.curves[:, None] * (model - world.centres)).mean(dim=0)
    assert torch.allclose(world.rounds(made("fedavg"), 7)[0], model, atol=1e-12)


def test_fedavg_ends_beside_the_optimum_and_unequal_steps_take_it_further() -> None:
    assert 0.01 < EQUAL.gap(made("fedavg")) < UNEQUAL.gap(made("fedavg"))


def test_fednova_makes_up_for_unequal_steps() -> None:
    """Of alike curvature, so that nothing but the number of steps pulls the limit aside."""
    alike = replace(UNEQUAL, curves=torch.ones(4).double(), rate=0.01)
    assert alike.gap(made("fednova")) < 0.1 * alike.gap(made("fedavg"))


@pytest.mark.parametrize("kind", ["scaffold", "feddyn"])
def test_scaffold_and_feddyn_reach_the_optimum(kind: str) -> None:
    assert EQUAL.gap(made(kind)) < 1e-10


def test_scaffold_reaches_it_with_unequal_steps_too() -> None:
    assert UNEQUAL.gap(made("scaffold")) < 1e-10


def test_feddyn_needs_its_local_problems_solved() -> None:
    """Acar et al. prove their limit for exact minimisers; more steps come closer."""
    long = quadratics(60, 60, 60, 60)
    assert long.gap(made("feddyn", pull=1.0), 400) < 1e-10


def test_a_strong_spring_leaves_no_drift() -> None:
    """mu towards 1 / rate: the update shrinks to a single step of gradient descent."""
    assert EQUAL.gap(made("fedprox", pull=9.0)) < EQUAL.gap(made("fedprox", pull=0.5))
    assert EQUAL.gap(made("fedprox", pull=0.5)) < EQUAL.gap(made("fedavg"))


def test_a_larger_q_evens_the_losses_out() -> None:
    spread = [
        float(EQUAL.losses(EQUAL.rounds(made("qffl", fairness=q), 500)[0]).std())
        for q in (0.0, 1.0, 4.0)
    ]
    assert spread[0] > spread[1] > spread[2]


def test_afl_lifts_the_worst_client() -> None:
    def worst(algorithm: Algorithm) -> float:
        return float(EQUAL.losses(EQUAL.rounds(algorithm, 500)[0]).max())

    assert worst(made("afl", ascent=0.01)) < 0.9 * worst(made("fedavg"))


@pytest.mark.parametrize("kind", ["fedavgm", "fedadagrad", "fedadam", "fedyogi"])
def test_server_optimisers_come_close_to_fedavgs_limit(kind: str) -> None:
    """They change the way, and not where it stands still."""
    limit, _ = EQUAL.rounds(made("fedavg"), 500)
    model, _ = EQUAL.rounds(made(kind), 500)
    assert float((model - limit).norm()) < 0.05


# --- what each one says by itself ---------------------------------------------------------------


@pytest.mark.parametrize(("kind", "settings"), REDUCED, ids=[kind for kind, _ in REDUCED])
def test_a_setting_at_which_it_is_fedavg(kind: str, settings: dict[str, Any]) -> None:
    plain, _ = EQUAL.rounds(made("fedavg"), 20)
    assert torch.allclose(EQUAL.rounds(made(kind, **settings), 20)[0], plain, atol=1e-6)


@pytest.mark.parametrize("kind", ["scaffold", "fedavgm", "fedprox"])
def test_the_first_round_of_equals_is_fedavgs(kind: str) -> None:
    settings = {"pull": 0.0} if kind == "fedprox" else {}
    plain, _ = EQUAL.rounds(made("fedavg"), 1)
    assert torch.allclose(EQUAL.rounds(made(kind, **settings), 1)[0], plain, atol=1e-12)


@pytest.mark.parametrize("asked", [None, (0, 2), (3,)])
def test_the_mean_of_all_control_variates_is_the_servers(asked: tuple[int, ...] | None) -> None:
    _, memory = UNEQUAL.rounds(made("scaffold"), 9, asked)
    assert torch.allclose(memory["c_i"].mean(dim=0), memory["c"], atol=1e-12)


@pytest.mark.parametrize("asked", [None, (0, 2), (3,)])
def test_the_clients_duals_sum_to_the_servers(asked: tuple[int, ...] | None) -> None:
    """sum_i g_i = N h (Acar et al. 2021, algorithm 1, from zero)."""
    _, memory = UNEQUAL.rounds(made("feddyn"), 9, asked)
    assert torch.allclose(memory["g_i"].sum(dim=0), 4 * memory["h"], atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "settings", "moves"),
    [
        # D = 1 twice, tau = 0.5, eta = 0.1; worked out with v_-1 = tau^2 = 0.25.
        ("fedadagrad", {}, [0.1 / (1.25**0.5 + 0.5), 0.1 / (2.25**0.5 + 0.5)]),
        # beta_1 = 0.5, beta_2 = 0.75: m = 0.5, 0.75; v = 0.4375, 0.578125
        ("fedadam", {}, [0.05 / (0.4375**0.5 + 0.5), 0.075 / (0.578125**0.5 + 0.5)]),
        # v < D^2, so it grows by 0.25 each time: 0.5, 0.75
        ("fedyogi", {}, [0.05 / (0.5**0.5 + 0.5), 0.075 / (0.75**0.5 + 0.5)]),
        # m / (1 - 0.5^t) = 1, v / (1 - 0.75^t) = 1: the usual Adam of a constant step
        ("fedadam", {"bias_correction": True}, [0.1 / 1.5, 0.1 / 1.5]),
    ],
)
def test_two_steps_by_hand(kind: str, settings: dict[str, Any], moves: list[float]) -> None:
    usual: dict[str, Any] = {"rate": 0.1, "floor": 0.5}
    if kind != "fedadagrad":
        usual |= {"momentum": 0.5, "decay": 0.75}
    algorithm, model = made(kind, **usual, **settings), torch.zeros(1)
    memory, step = algorithm.begin(2, 1), torch.ones(1)
    for move in moves:
        after, memory = algorithm(model, step, memory, report_of(torch.ones(2, 1)))
        assert float(after - model) == pytest.approx(move, rel=1e-5)
        model = after


def test_fednova_by_hand() -> None:
    """Steps 1 and 3, equal weights: tau_eff = 2, so the updates count 2 and 2/3 times."""
    report = report_of(torch.ones(2, 1))
    given = CohortReport(**{**vars(report), "steps": torch.tensor([1, 3])})
    factors = made("fednova").factors(given, {})
    assert factors is not None
    assert factors.tolist() == pytest.approx([2, 2 / 3])


@pytest.mark.parametrize(
    ("point", "nearest"),
    [
        ([0.2, 0.8], [0.2, 0.8]),
        ([1.0, 1.0], [0.5, 0.5]),
        ([5.0, 0.0, 0.0], [1.0, 0.0, 0.0]),
        ([0.6, 0.6, -1.0], [0.5, 0.5, 0.0]),
    ],
)
def test_the_nearest_mixture(point: list[float], nearest: list[float]) -> None:
    assert onto_the_simplex(torch.tensor(point)).tolist() == pytest.approx(nearest)


# --- promises of all, in the engine -------------------------------------------------------------


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_an_algorithm_trains_repeats_itself_and_resumes(kind: str) -> None:
    experiment = DIGITS.changed({"training.algorithm": kind, "training.clients_per_round": 4})
    moments = list(run(experiment))
    assert [moment.record for moment in run(experiment)] == [moment.record for moment in moments]
    resumed = list(run(experiment, moments[0].state))
    assert [moment.record for moment in resumed] == [moment.record for moment in moments[1:]]
    assert all(moment.state.model.isfinite().all() for moment in moments)
    assert moments[-1].record.loss is not None


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_an_algorithm_leaves_what_it_is_given_alone(kind: str) -> None:
    algorithm, rows = ALGORITHMS[kind](), torch.rand(3, 4)
    memory = algorithm.begin(3, 4)
    report = CohortReport(**{**vars(report_of(rows)), "losses": torch.ones(3)})
    given = [*memory.values(), rows.clone()]
    before = [value.clone() for value in given]
    algorithm(torch.zeros(4), rows.mean(dim=0), memory, report)
    algorithm.factors(report, memory)
    algorithm.drift(memory, (0, 2))
    assert all(torch.equal(one, other) for one, other in zip(given, before, strict=True))
    assert torch.equal(rows, given[-1])


@pytest.mark.parametrize(
    "kind", few(ALGORITHMS, "fedavg", "scaffold", "feddyn", "fedadam", "fedbuff", "fedrep", "ditto")
)
def test_a_stored_run_goes_on_from_any_round(kind: str, store: Store) -> None:
    """Older memories are thinned out, and come back by training on from one that was kept."""
    long = {"training.algorithm": kind, "training.rounds": 12, "data.examples": 300}
    experiment = DIGITS.changed(long)
    ledger = WorkerStore(store)
    job = ledger.start(experiment)
    rounds = [each.record for each in carry_out_run(ledger, job)]
    for past in (12, 10, 7, 0):
        state = StoredRun(store, job.id).state(past)
        assert state.round == past
        assert [moment.record for moment in run(experiment, state)] == rounds[past:]
    first = initial_state(
        experiment
    )  # from where the last of them went, so the run is as if never stored
    assert torch.equal(state.model, first.model)
    assert state.carried.algorithm.keys() == first.carried.algorithm.keys()
    assert all(
        torch.equal(state.carried.algorithm[name], value)
        for name, value in first.carried.algorithm.items()
    )


def test_memories_do_not_fill_the_disk(store: Store) -> None:
    ledger = WorkerStore(store)
    job = ledger.start(DIGITS.changed({"training.algorithm": "scaffold", "training.rounds": 23}))
    list(carry_out_run(ledger, job))
    kept = [
        StoredRun(store, job.id)._checkpoint(store.run(job.id), past) is not None
        for past in range(1, 24)
    ]
    assert [past for past, there in enumerate(kept, start=1) if there] == [10, 20, 23]
    assert len(list(store.arrays.folder.rglob("*.safetensors"))) == 23 + 3


@pytest.mark.parametrize("kind", [kind for kind, one in ALGORITHMS.items() if one.talks])
def test_a_round_that_reaches_nobody_changes_nothing(kind: str) -> None:
    lonely = DIGITS.changed({"training.algorithm": kind, "training.rounds": 8})
    cut = lonely.changed_from(3, {"network.dropout": 0.95, "training.clients_per_round": 1})
    moments = list(run(cut))
    empty = [place for place in range(2, 8) if not moments[place].record.arrived]
    assert empty
    for place in empty:
        assert torch.equal(moments[place].state.model, moments[place - 1].state.model)
        assert (
            moments[place].state.carried.algorithm.keys()
            == moments[place - 1].state.carried.algorithm.keys()
        )


def test_another_algorithm_in_mid_run_begins_afresh() -> None:
    first = next(run(DIGITS.changed({"training.algorithm": "scaffold"})))
    assert set(first.state.carried.algorithm) == {"c", "c_i"}
    changed = first.state.experiment.changed_from(2, {"training.algorithm": "fedadam"})
    second = next(run(changed, first.state))
    assert set(second.state.carried.algorithm) == {"first", "second", "rounds"}


def test_scaffold_moves_two_vectors_each_way() -> None:
    one = next(run(DIGITS)).record
    two = next(run(DIGITS.changed({"training.algorithm": "scaffold"}))).record
    assert (two.bytes_up, two.bytes_down) == (2 * one.bytes_up, 2 * one.bytes_down)


def test_a_lost_client_keeps_its_control_variate() -> None:
    lossy = DIGITS.changed({"training.algorithm": "scaffold", "network.dropout": 0.5})
    moment = next(run(lossy))
    assert 0 < len(moment.record.lost) < 6
    moved = moment.state.carried.algorithm["c_i"].abs().sum(dim=1) > 0
    assert [bool(each) for each in moved] == [c not in moment.record.lost for c in range(6)]


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        ("scaffold", {"secure_aggregation.enabled": True}),
        ("scaffold", {"privacy.kind": "client"}),
        ("qffl", {"privacy.kind": "example"}),
        ("afl", {"secure_aggregation.enabled": True}),
        ("fednova", {"privacy.kind": "client"}),
    ],
)
def test_what_would_break_a_promise_is_refused(kind: str, other: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=f"training.algorithm.kind {kind}"):
        DIGITS.changed({"training.algorithm": kind, **other})


def test_scaffold_takes_whole_gradients_if_asked_to() -> None:
    """Option I: after its round, c_i is the gradient of the model that was sent."""
    now = DIGITS.changed({"training.algorithm.kind": "scaffold", "training.algorithm.option": "I"})
    sent, moment = initial_state(now).model, next(run(now))
    for client in range(6):
        expected = slope(now, sent.double(), all_of(now, client))
        found = moment.state.carried.algorithm["c_i"][client].double()
        assert torch.allclose(found, expected, atol=1e-6)
    assert torch.allclose(
        moment.state.carried.algorithm["c"], moment.state.carried.algorithm["c_i"].mean(dim=0)
    )
    with pytest.raises(SettingError, match="send a whole gradient, without noise"):
        now.changed({"privacy.kind": "example"})


@pytest.mark.parametrize("kind", ["scaffold", "feddyn", "ditto"])
def test_what_would_not_fit_into_memory_is_refused(kind: str) -> None:
    large = {"data.source": "fashion-mnist-full", "data.clients": 10_000, "model.kind": "mlp"}
    with pytest.raises(SettingError, match=r"keep a model for each of 10000 clients, 2\.0 gigab"):
        DIGITS.changed({"training.algorithm": kind, **large, "data.partition": "iid"})
