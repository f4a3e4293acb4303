"""Clients whose update is lost: no algorithm counts them in what it divides by.

C8 of the review: FedNova and q-FedAvg summed over those who arrived, and took means over those who
were asked; AFL did so too, and raised the mixture of clients whose loss nobody had heard.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from lab import Experiment, run
from lab.engine.algorithms import ALGORITHMS
from lab.engine.data.federation import federated_dataset
from lab.engine.run import initial_state
from lab.interfaces.federated_algorithm import Algorithm, CohortReport, LocalResult, Memory
from tests.support.quadratics import UNEQUAL, made, report_of
from tests.support.reference_training import all_of, batches_of, slope

LOSSY = Experiment.read(
    {
        "data": {"source": "digits", "clients": 6, "examples": 300,
                 "partition": {"kind": "dirichlet", "alpha": 0.3}},
        "training": {"rounds": 1, "batch_size": 16, "rate": 0.2},
        "network": {"dropout": 0.5},
    }
)  # fmt: skip


def lossy(rows: Tensor, arrived: list[bool], **others: Any) -> CohortReport:
    return replace(report_of(rows), arrived=torch.tensor(arrived), **others)


def played(algorithm: Algorithm, report: CohortReport, memory: Memory) -> tuple[Tensor, Memory]:
    """The next model from 0, by the mean of the rows that arrived, weighted as reported."""
    factors = algorithm.factors(report, memory)
    rows = report.rows if factors is None else report.rows * factors.unsqueeze(1)
    weights = report.weights * report.arrived
    step = weights @ rows / weights.sum()
    if algorithm.models > 1:
        step = step.expand(algorithm.models, -1)
    return algorithm(torch.zeros(rows.shape[1], dtype=rows.dtype), step, memory, report)


# --- by hand ------------------------------------------------------------------------------------


def test_fednova_averages_the_steps_of_those_who_arrived() -> None:
    """Steps 1 and 3 arrive, 100 are lost: tau_eff = 2, w = 2 (3 / 1 + 3 / 3) / 2 = 4."""
    report = lossy(torch.full((3, 1), 3.0), [True, True, False], steps=torch.tensor([1, 3, 100]))
    assert played(made("fednova"), report, {})[0].item() == pytest.approx(4)


def test_fednova_weighs_the_steps_of_those_who_arrived_by_their_examples() -> None:
    """Shares 1/4 and 3/4: tau_eff = 1/4 + 9/4 = 2.5, w = 2.5 (3 / 4 + 3 / 4) = 3.75."""
    report = lossy(
        torch.full((3, 1), 3.0),
        [True, True, False],
        steps=torch.tensor([1, 3, 100]),
        weights=torch.tensor([10.0, 30.0, 500.0]),
    )
    assert played(made("fednova"), report, {})[0].item() == pytest.approx(3.75)


def test_q_fedavg_divides_by_the_heights_of_those_who_arrived() -> None:
    """L = 10, q = 1.  F 2 and 1, D 10 and 20: h = 100 + 20 and 400 + 10, w = (20 + 20) / 530.

    The third client's h would be 10^6 + 50.
    """
    rows = torch.tensor([[1.0], [2.0], [100.0]])
    report = lossy(rows, [True, True, False], losses=torch.tensor([2.0, 1.0, 5.0]))
    assert played(made("qffl"), report, {})[0].item() == pytest.approx(40 / 530)


def test_afl_mixes_those_who_arrived_and_raises_nobody_else() -> None:
    """Mixture 0.1, 0.3, 0.6: w = (0.1 * 1 + 0.3 * 2) / 0.4 = 1.75.

    Losses 1 and 3, ascent 0.1: 0.2, 0.6, 0.6, and the nearest mixture is 2/15 less each.
    """
    rows = torch.tensor([[1.0], [2.0], [100.0]])
    report = lossy(rows, [True, True, False], losses=torch.tensor([1.0, 3.0, 50.0]))
    memory = {"mixture": torch.tensor([0.1, 0.3, 0.6])}
    model, after = played(made("afl", ascent=0.1), report, memory)
    assert model.item() == pytest.approx(1.75)
    expected = [0.2 - 2 / 15, 0.6 - 2 / 15, 0.6 - 2 / 15]
    assert after["mixture"].tolist() == pytest.approx(expected)


def test_where_afl_listens_to_nobody_who_arrived_the_model_stays() -> None:
    report = lossy(torch.ones(2, 1), [True, False], losses=torch.ones(2))
    model, _ = played(made("afl"), report, {"mixture": torch.tensor([0.0, 1.0])})
    assert model.item() == 0


def test_the_model_that_stands_for_all_is_chosen_by_those_who_arrived() -> None:
    groups = torch.tensor([0, 1, 1])
    report = lossy(torch.ones(3, 1), [True, False, False], local=LocalResult(torch.ones(3, 1), {}))
    report = replace(report, local=replace(report.local, groups=groups))
    memory = {"models": torch.tensor([[10.0], [20.0]])}
    assert played(made("ifca"), report, memory)[0].item() == 11


# --- promises -----------------------------------------------------------------------------------

WAITING = [kind for kind, one in ALGORITHMS.items() if one.talks and not one.asynchronous]


@pytest.mark.parametrize("kind", WAITING)
def test_a_lost_update_counts_as_if_its_client_had_not_been_asked(kind: str) -> None:
    algorithm, generator = ALGORITHMS[kind](), torch.Generator().manual_seed(1)
    rows = torch.randn(4, 5, generator=generator).double()
    memory = {name: value.double() for name, value in algorithm.begin(4, 5).items()}
    all_asked = replace(
        report_of(rows),
        arrived=torch.tensor([True, False, True, False]),
        weights=torch.tensor([5.0, 70.0, 20.0, 900.0]).double(),
        steps=torch.tensor(UNEQUAL.steps),
        losses=torch.tensor([0.4, 3.0, 1.3, 7.0]).double(),
    )
    if algorithm.uniform:
        all_asked = replace(all_asked, weights=torch.ones(4).double())
    there = [0, 2]
    fewer = replace(
        all_asked,
        clients=(0, 2),
        arrived=torch.tensor([True, True]),
        weights=all_asked.weights[there],
        steps=all_asked.steps[there],
        rows=rows[there],
        losses=all_asked.losses[there] if all_asked.losses is not None else None,
        local=LocalResult(rows[there], {}, groups=torch.zeros(2, dtype=torch.int64)),
    )
    one, other = played(algorithm, all_asked, memory), played(algorithm, fewer, memory)
    torch.testing.assert_close(one[0], other[0], rtol=1e-12, atol=0)
    for name, value in one[1].items():
        torch.testing.assert_close(value, other[1][name], rtol=1e-12, atol=1e-15)


# --- in the engine, against the pseudocode ------------------------------------------------------


def updates(now: Experiment, clients: list[int], sent: Tensor) -> tuple[list[Tensor], list[int]]:
    """y_i - w and tau_i of those clients, by local SGD one step after the other."""
    moves, steps = [], []
    for client in clients:
        y, taken = sent, 0
        for batch in batches_of(now, 1, client):
            y = y - now.training.rate * slope(now, y, batch)
            taken += 1
        moves.append(y - sent)
        steps.append(taken)
    return moves, steps


def fednova(now: Experiment, clients: list[int], sent: Tensor) -> Tensor:
    """Wang et al. 2020, equation 6 with a_i = (1, ..., 1)."""
    moves, steps = updates(now, clients, sent)
    sizes = federated_dataset(now).sizes[clients].double()
    shares = sizes / sizes.sum()
    effective = sum(float(p) * tau for p, tau in zip(shares, steps, strict=True))
    directions = [p * move / tau for p, move, tau in zip(shares, moves, steps, strict=True)]
    return sent + effective * torch.stack(directions).sum(dim=0)


def q_fedavg(now: Experiment, clients: list[int], sent: Tensor) -> Tensor:
    """Li et al. 2020, algorithm 2, for q = 1."""
    steepness, above, below = 1 / now.training.rate, torch.zeros(()), torch.zeros(())
    for client, move in zip(clients, updates(now, clients, sent)[0], strict=True):
        inputs, labels = all_of(now, client)
        loss = torch.nn.functional.cross_entropy(now.architecture(sent, inputs), labels)
        gap = -steepness * move  # L (w - y_i)
        above = above + loss * gap
        below = below + gap.square().sum() + steepness * loss
    return sent - above / below


@pytest.mark.parametrize(("kind", "pseudocode"), [("fednova", fednova), ("qffl", q_fedavg)])
def test_a_round_with_lost_updates_is_that_of_the_pseudocode(kind: str, pseudocode: Any) -> None:
    now = LOSSY.changed({"training.algorithm": kind})
    moment = next(run(now))
    arrived = [client for client in range(6) if client not in moment.record.lost]
    assert 0 < len(arrived) < 6
    sent = initial_state(now).model.double()
    expected = pseudocode(now, arrived, sent)
    assert float((expected - sent).norm()) > 0.01
    torch.testing.assert_close(moment.state.model.double(), expected, rtol=0, atol=1e-5)


def test_clients_that_come_too_late_are_not_counted_either() -> None:
    """Who is late shows only after the training: a correction by the server, not by clients."""
    now = LOSSY.changed(
        {"training.algorithm": "fednova", "training.clients_per_round": 3, "network.dropout": 0.0,
         "network.devices": "phones", "network.spare": 1.0}
    )  # fmt: skip
    moment = next(run(now))
    assert moment.record.late
    arrived = [c for c in moment.record.clients if c not in moment.record.lost]
    sent = initial_state(now).model.double()
    expected = fednova(now, arrived, sent)
    torch.testing.assert_close(moment.state.model.double(), expected, rtol=0, atol=1e-5)
