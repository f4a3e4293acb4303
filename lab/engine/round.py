"""One round of federated learning."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import isfinite

import torch
from torch import Tensor

from lab.engine.client.cohort_trainer import crew_of, outcome, party_of
from lab.engine.differential_privacy.accountant import spent
from lab.engine.evaluation.record import Record
from lab.engine.evaluation.round_metrics import MARKS, measure
from lab.engine.exchange import CARRIED, exchange
from lab.engine.participation.cohort_sampling import asked
from lab.engine.server.aggregation import REMEMBERED
from lab.engine.server.server import CHANGE, Aggregator
from lab.experiment.experiment import Experiment
from lab.interfaces.federated_algorithm import Memory
from lab.interfaces.messages import Cohort, Transcript


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


@dataclass(frozen=True, eq=False)
class Guests:
    """Further clients of a round, who bring an update: canaries of an audit."""

    clients: tuple[int, ...]  # numbered after all others
    rows: Tensor  # (guests, shared)
    expected: float  # the cohort's expected size with such guests

    def join(self, rows: Tensor, party: Cohort) -> tuple[Tensor, Cohort]:
        """What all bring together, and who they are."""
        absent = torch.zeros(len(self.clients), dtype=torch.bool)
        return torch.cat([rows, self.rows]), replace(
            party,
            clients=(*party.clients, *self.clients),
            weights=torch.cat([party.weights, torch.ones(len(self.clients))]),
            malicious=torch.cat([party.malicious, absent]),
            lost=torch.cat([party.lost, absent]),
            expected=self.expected,
            seen=None,
        )


@torch.no_grad()
def step(state: State, guests: Guests | None = None) -> Moment:
    """The next round."""
    experiment, round, sent = state.experiment, state.round + 1, state.model
    now, clients = experiment.at(round), asked(experiment, round)
    algorithm = now.training.algorithm
    memory, known = remembered(state, now)
    party, server = party_of(experiment, round, clients), aggregator_of(state)
    insight, wire = server.insight(party), sent[: server.shared]
    crew = crew_of(experiment, round, clients, insight)
    local, report, rows = outcome(now, crew, party, sent, memory)
    if guests:
        rows, party = guests.join(rows, party)

    found = exchange(experiment, rows, party, wire, state.memory, insight)
    delivery = found.delivery
    if delivery.aborted and now.secure_aggregation.on_abort == "stop":
        raise Stopped(f"round {round}: {delivery.note}")
    answer = server.answer(delivery, found.party, local.groups)
    model, memory = sent, local.memory
    # Without anybody's update there is no step, unless privacy asks for one of noise alone.
    if not answer.complaint and (
        len(delivery.rows) or now.privacy.kind == "client" or not algorithm.talks
    ):
        report = replace(report, arrived=delivery.arrived)
        ahead, memory = algorithm(wire, answer.step, memory, report)
        model = torch.cat([ahead, sent[len(ahead) :]])
    measured, marks = measure(now, model, memory, clients, known)

    record = Record(
        round=round,
        **measured,
        epsilon=guarantee.epsilon if (guarantee := spent(experiment, round)) else None,
        bytes_up=delivery.bytes_up,
        bytes_down=delivery.bytes_down,
        duration=found.party.lasted,
        clip=found.clip,
        clients=clients,
        lost=those(party.clients, found.party.lost),
        late=those(party.clients, found.party.late),
        norms=tuple(norm if isfinite(norm) else None for norm in lengths(local.rows)),
        note="; ".join(note for note in (*found.notes, answer.complaint) if note),
        **answer.seen,
    )
    starts = {} if local.starts is None else dict(zip(clients, local.starts, strict=True))
    transcript = Transcript(round, now.architecture, now.recipe, sent, model, delivery, starts)
    kept = {**memory, **found.carried, **marks, **answer.memory}
    if now.adversary.count and now.adversary.poison.remembers:
        kept[CHANGE] = model - sent
    return Moment(record, transcript, State(round, model, experiment, kept))


def aggregator_of(state: State) -> Aggregator:
    """The server in the next round."""
    experiment, round = state.experiment, state.round + 1
    now = experiment.at(round)
    shared = now.training.algorithm.shared(now.architecture)
    return Aggregator(experiment, round, state.model, state.memory, shared)


def those(clients: tuple[int, ...], flags: Tensor | None) -> tuple[int, ...]:
    return () if flags is None else tuple(c for c, yes in zip(clients, flags, strict=True) if yes)


def lengths(rows: Tensor) -> list[float]:
    return [float(length) for length in torch.linalg.vector_norm(rows, dim=1)]


def remembered(state: State, now: Experiment) -> tuple[Memory, Tensor | None]:
    """What the algorithm remembers, and how good clients' own models were when last measured.

    Another algorithm than in the round before begins afresh.
    """
    fresh = now.training.algorithm.begin(now.data.clients, len(state.model))
    others = (*CARRIED, MARKS, CHANGE)
    kept = {
        name: value
        for name, value in state.memory.items()
        if name not in others and not name.startswith(REMEMBERED)
    }
    if fresh.keys() != kept.keys():
        return fresh, None
    return kept, state.memory.get(MARKS)
