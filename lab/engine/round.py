"""One round of federated learning, and its steps: begin, train, exchange, aggregate, advance.

`run_round` takes the steps in turn.  An audit, a malicious server, an active attacker and a shadow
federation take the same steps and replace one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite

import torch
from torch import Tensor

from lab.engine.carried_state import CarriedState
from lab.engine.client.cohort_trainer import Training, cohort_of, cohort_trainer, train_clients
from lab.engine.differential_privacy.accountant import noise_multiplier, spent
from lab.engine.differential_privacy.update_clipping import UpdateClipping, begins_afresh, clipping
from lab.engine.evaluation.record import RoundRecord
from lab.engine.evaluation.round_metrics import measure
from lab.engine.exchange import ExchangeResult, Wire, exchange
from lab.engine.injected_clients import InjectedClients
from lab.engine.participation.cohort_sampling import select_cohort
from lab.engine.run_state import RoundResult, RunState, RunStopped
from lab.engine.server.server import Server, ServerStep
from lab.experiment.experiment import Experiment
from lab.interfaces.federated_algorithm import CohortTrainer
from lab.interfaces.messages import Cohort, Transcript
from lab.interfaces.poisoning import AdversaryKnowledge


@dataclass(frozen=True, eq=False)
class Round:
    """What is fixed for one round, and its steps.

    The experiment is for the accountant and for what clients do; all else goes by the settings.
    """

    experiment: Experiment
    number: int
    settings: Experiment  # in force in the round
    cohort: Cohort  # who is selected, and who of them is malicious or drops out
    sent: Tensor  # (params,) the model that clients are sent
    carried: CarriedState  # of the round before, as far as it still counts

    @classmethod
    def begin(cls, state: RunState, clients: Sequence[int] | None = None) -> Round:
        """Begin the round after `state`.

        clients: who is selected; None: as the experiment draws them
        """
        experiment, number = state.experiment, state.round + 1
        selected = select_cohort(experiment, number) if clients is None else tuple(clients)
        return cls(
            experiment,
            number,
            experiment.at(number),
            cohort_of(experiment, number, selected),
            state.model,
            _still_counts(state, number),
        )

    @cached_property
    def shared(self) -> int:
        """How many parameters travel: the first so many."""
        return self.settings.training.algorithm.shared(self.settings.architecture)

    @cached_property
    def clipping(self) -> UpdateClipping | None:
        """Of client-level privacy."""
        if self.settings.privacy.kind != "client":
            return None
        noise = noise_multiplier(self.experiment, self.number)
        return clipping(self.settings, noise, self.carried.clip)

    @cached_property
    def server(self) -> Server:
        return Server(
            self.settings, self.number, self.sent, self.carried, self.shared, self.clipping
        )

    @cached_property
    def insight(self) -> AdversaryKnowledge:
        """What malicious clients know."""
        return self.server.insight(self.cohort)

    @cached_property
    def trainer(self) -> CohortTrainer:
        """By which the algorithm trains the selected clients."""
        return cohort_trainer(self.experiment, self.number, self.cohort.clients, self.insight)

    def train(self, trainer: CohortTrainer | None = None) -> Training:
        """Train all clients.  trainer: in place of the round's own"""
        trainer = trainer or self.trainer
        memory = self.carried.algorithm
        return train_clients(self.settings, trainer, self.cohort, self.sent, memory)

    def exchange(self, updates: Tensor, cohort: Cohort | None = None) -> ExchangeResult:
        """Send the updates (clients, shared).  cohort: whose they are, if not the round's own"""
        wire = Wire(
            settings=self.settings,
            sent=self.sent[: self.shared],
            clipping=self.clipping,
            residuals=self.carried.residuals,
            insight=self.insight,
        )
        return exchange(wire, updates, self.cohort if cohort is None else cohort)

    def aggregate(self, exchanged: ExchangeResult, groups: Tensor | None = None) -> ServerStep:
        """Let the server aggregate.  groups (clients,): which of several models each trained"""
        return self.server.answer(exchanged.delivery, exchanged.cohort, groups)

    def advance(
        self, training: Training, exchanged: ExchangeResult, answer: ServerStep
    ) -> RunState:
        """Take the step.  -> the state after the round, without what is measured"""
        settings, delivery = self.settings, exchanged.delivery
        algorithm = settings.training.algorithm
        model, memory = self.sent, training.local.memory
        # Without anybody's update there is no step, unless privacy asks for one of noise alone.
        steps = len(delivery.rows) or settings.privacy.kind == "client" or not algorithm.talks
        if steps and not answer.complaint:
            report = replace(training.report, arrived=delivery.arrived)
            wire = self.sent[: self.shared]
            ahead, memory = algorithm(wire, answer.step, memory, report)
            model = torch.cat([ahead, self.sent[len(ahead) :]])
        remembers = settings.adversary.count and settings.adversary.attack.remembers
        carried = CarriedState(
            algorithm=memory,
            residuals=exchanged.residuals,
            clip=exchanged.next_clip,
            pre_aggregation=answer.memory,
            last_change=model - self.sent if remembers else None,
        )
        return RunState(self.number, model, self.experiment, carried)


@torch.no_grad()
def run_round(state: RunState, guests: InjectedClients | None = None) -> RoundResult:
    """Run the next round.  Raises Stopped where a round is aborted and the settings say so."""
    round = Round.begin(state)
    training = round.train()
    updates, cohort = training.updates, round.cohort
    if guests:
        updates, cohort = guests.join(updates, cohort)
    exchanged = round.exchange(updates, cohort)
    delivery, settings = exchanged.delivery, round.settings
    if delivery.aborted and settings.secure_aggregation.on_abort == "stop":
        raise RunStopped(f"round {round.number}: {delivery.note}")
    answer = round.aggregate(exchanged, training.local.groups)
    after = round.advance(training, exchanged, answer)

    clients, known = round.cohort.clients, round.carried.own_metrics
    memory = after.carried.algorithm
    measured, own_metrics = measure(settings, after.model, memory, clients, known)
    after = replace(after, carried=replace(after.carried, own_metrics=own_metrics))
    guarantee = spent(state.experiment, round.number)
    record = RoundRecord(
        round=round.number,
        **measured,
        epsilon=guarantee.epsilon if guarantee else None,
        bytes_up=delivery.bytes_up,
        bytes_down=delivery.bytes_down,
        duration=exchanged.cohort.lasted,
        clip=exchanged.clip,
        clients=clients,
        lost=_those(cohort.clients, exchanged.cohort.lost),
        late=_those(cohort.clients, exchanged.cohort.late),
        norms=_norms(training.local.rows),
        note="; ".join(note for note in (*exchanged.notes, answer.complaint) if note),
        **answer.seen,
    )
    starts = training.local.starts
    transcript = Transcript(
        round.number,
        settings.architecture,
        settings.recipe,
        round.sent,
        after.model,
        delivery,
        {} if starts is None else dict(zip(clients, starts, strict=True)),
    )
    return RoundResult(record, transcript, after)


def _still_counts(state: RunState, number: int) -> CarriedState:
    """Drop what a change of the settings has made meaningless."""
    carried, settings = state.carried, state.experiment.at(number)
    if carried.clip is not None and begins_afresh(settings, state.experiment.at(number - 1)):
        carried = replace(carried, clip=None)
    # Another algorithm than in the round before begins afresh.
    fresh = settings.training.algorithm.begin(settings.data.clients, len(state.model))
    if fresh.keys() != carried.algorithm.keys():
        carried = carried.with_algorithm(fresh)
    return carried


def _those(clients: tuple[int, ...], flags: Tensor | None) -> tuple[int, ...]:
    return () if flags is None else tuple(c for c, yes in zip(clients, flags, strict=True) if yes)


def _norms(rows: Tensor) -> tuple[float | None, ...]:
    norms = torch.linalg.vector_norm(rows, dim=1).tolist()
    return tuple(norm if isfinite(norm) else None for norm in norms)
