"""The engine: one loop that is handed parts.  An experiment goes in, a stream of moments comes out.

Pause: do not pull.  Step: pull one.  Rewind or branch: `run(experiment, state=old)`.  Toggle a
defence in mid-run: `run(changed, state=last)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from lab.accountant import spent
from lab.assembly import assemble, malicious, poisoned
from lab.cohorts import asked, lost
from lab.evaluate import evaluate, marks, summary
from lab.exchange import RESIDUALS, channel, only_numbers, packed, stages
from lab.experiment import Experiment
from lab.fairness import by_client
from lab.federation import as_floats
from lab.local import Updates, cohort
from lab.records import Record
from lab.rng import stream
from lab.wire import Cohort, Delivery, Memory, Report, Transcript


@dataclass(frozen=True, eq=False)
class State:
    """All that the next round needs."""

    round: int
    model: Tensor  # (params,)
    experiment: Experiment  # the whole past, with every change
    memory: Memory = field(default_factory=dict)  # what algorithm and error feedback keep


@dataclass(frozen=True, eq=False)
class Moment:
    """One finished round: numbers for the experimenter, messages for the attacks, a checkpoint."""

    record: Record
    transcript: Transcript
    state: State


class Stopped(Exception):
    """The run ended early, as its settings ask; the message says why."""


def begin(experiment: Experiment) -> State:
    return State(0, experiment.architecture.initial(stream(experiment.seed, "model")), experiment)


def run(experiment: Experiment, state: State | None = None) -> Iterator[Moment]:
    """Rounds until `training.rounds`, from the start or from where `state` left off.

    An experiment that differs from the state's holds from the next round on, and what was spent
    before stays spent.  Raises SettingError for a change that a run cannot make, Stopped when a
    round is aborted and the experiment says so.
    """
    # An operation on one thread sums in one order, so records do not depend on the machine's cores.
    torch.set_num_threads(1)
    state = begin(experiment) if state is None else state
    whole = state.experiment.continued_by(experiment, after=state.round)
    while state.round < whole.at(state.round + 1).training.rounds:
        moment = step(replace(state, experiment=whole))
        yield moment
        state = moment.state


@torch.no_grad()
def step(state: State) -> Moment:
    """The next round."""
    experiment, round, sent = state.experiment, state.round + 1, state.model
    now = experiment.at(round)
    clients, algorithm = asked(now, round), now.training.algorithm
    memory = _memory(state, now)
    updates = cohort(experiment, round, clients, sent, algorithm.drift(memory, clients))
    party = _party(now, round, clients, updates.sizes)
    report = _report(now, party, updates, sent)
    factors = algorithm.factors(report, memory)
    rows = updates.rows if factors is None else updates.rows * factors.unsqueeze(1)
    for stage in stages(experiment, round, "client"):
        rows = stage(rows, party)
    if party.malicious.any():
        rows = now.adversary.poison.rows(rows, party)
    rows, party, residuals = packed(now, rows, party, state.memory.get(RESIDUALS), sent)
    rows, party, notes = only_numbers(rows, party)

    delivery = channel(experiment, round)(rows, party, sent)
    if delivery.aborted and now.secure_aggregation.on_abort == "stop":
        raise Stopped(f"round {round}: {delivery.note}")
    party = replace(party, lost=~delivery.arrived)
    folded, complaint = _fold(experiment, round, delivery, party)
    model = sent
    # Without anybody's update there is no step, unless privacy asks for one of noise alone.
    if not complaint and (len(delivery.rows) or now.privacy.kind == "client"):
        report = replace(report, arrived=delivery.arrived)
        model, memory = algorithm(sent, folded, memory, report)

    record = Record(
        round=round,
        **_measured(now, model),
        epsilon=guarantee.epsilon if (guarantee := spent(experiment, round)) else None,
        bytes_up=delivery.bytes_up + (algorithm.vectors - 1) * sent.nbytes * party.present,
        bytes_down=delivery.bytes_down + (algorithm.vectors - 1) * sent.nbytes * len(clients),
        duration=party.lasted,
        clients=clients,
        lost=_those(clients, party.lost),
        late=_those(clients, party.late),
        norms=tuple(norm if isfinite(norm) else None for norm in _lengths(updates.rows)),
        note="; ".join(note for note in (*notes, delivery.note, complaint) if note),
    )
    transcript = Transcript(round, now.architecture, now.recipe, sent, model, delivery)
    return Moment(record, transcript, State(round, model, experiment, {**memory, **residuals}))


def _those(clients: tuple[int, ...], flags: Tensor | None) -> tuple[int, ...]:
    return () if flags is None else tuple(c for c, yes in zip(clients, flags, strict=True) if yes)


def _lengths(rows: Tensor) -> list[float]:
    return [float(length) for length in torch.linalg.vector_norm(rows, dim=1)]


def _memory(state: State, now: Experiment) -> Memory:
    """What the algorithm remembers; another algorithm than in the round before begins afresh."""
    fresh = now.training.algorithm.begin(now.data.clients, len(state.model))
    kept = {name: value for name, value in state.memory.items() if name != RESIDUALS}
    return kept if fresh.keys() == kept.keys() else fresh


def _report(now: Experiment, party: Cohort, updates: Updates, sent: Tensor) -> Report:
    federation, losses = poisoned(now), None
    if now.training.algorithm.needs_losses:
        held = [federation.examples(federation.held(client)) for client in party.clients]
        found = [evaluate(now.architecture, sent, *examples)[1] for examples in held]
        losses = torch.tensor([torch.inf if loss is None else loss for loss in found])
    steps = [now.recipe.local_steps(size) for size in updates.sizes.tolist()]
    return Report(
        everyone=now.data.clients,
        clients=party.clients,
        arrived=~party.lost,
        weights=party.weights,
        steps=torch.tensor(steps),
        rows=updates.rows,
        rate=now.training.rate,
        losses=losses,
    )


def _party(now: Experiment, round: int, clients: tuple[int, ...], sizes: Tensor) -> Cohort:
    bad, gone = set(malicious(now)), set(lost(now, round))
    return Cohort(
        seed=now.seed,
        round=round,
        clients=clients,
        weights=sizes.float() if now.recipe.weighted else torch.ones(len(clients)),
        malicious=torch.tensor([client in bad for client in clients], dtype=torch.bool),
        lost=torch.tensor([client in gone for client in clients], dtype=torch.bool),
        expected=float(now.cohort_size),
        seen=torch.tensor([now.recipe.seen(size) for size in sizes.tolist()]),
    )


def _fold(
    experiment: Experiment, round: int, delivery: Delivery, party: Cohort
) -> tuple[Tensor, str]:
    """The step (params,), and why it is nothing if it is."""
    rule, rows, weights = experiment.at(round).rule, delivery.rows, delivery.weights
    if len(rows) < rule.fewest() and rule.needs_rows:
        complaint = f"{len(rows)} updates arrived and {rule.kind} needs {rule.fewest()}: no step"
        return torch.zeros(rows.shape[1]), complaint
    if not len(rows):  # where privacy asks for noise, the sum of nobody's updates carries it too
        rows, weights = torch.zeros(1, rows.shape[1]), torch.ones(1)
    for stage in stages(experiment, round, "server"):
        rows = stage(rows, party)
    return rule(rows, weights), ""


def _measured(now: Experiment, model: Tensor) -> dict[str, Any]:
    """Accuracy and loss on the test examples, for each client, and how far a backdoor got."""
    federation, poison = assemble(now), now.adversary.poison
    tested = federation.test_inputs, federation.test_labels
    right, losses = marks(now.architecture, model, *tested)
    accuracy, loss = summary(right, losses)
    goal = None
    if now.adversary.count:
        goal = poison.goal(as_floats(tested[0]), tested[1])
    return {
        "accuracy": accuracy,
        "loss": loss,
        "fairness": by_client(now, model, right),
        "backdoor": evaluate(now.architecture, model, *goal)[0] if goal else None,
    }
