"""Courses: rounds of a run once more, with an active attacker in them.

Clients are honest and train as the run has it, under its privacy, masks, compression and poisons.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lab.common.settings import SettingError
from lab.engine.data.federation import training_data
from lab.engine.participation.cohort_sampling import select_cohort
from lab.engine.round import Round
from lab.engine.run_state import RunState
from lab.interfaces.attack_data import ActiveSignals, Candidates
from lab.interfaces.messages import ReceivedUpdates, Transcript, empty_rows
from lab.interfaces.privacy_attacks import ActiveMembershipAttack
from lab.interfaces.views import OutsiderView, client_view
from lab.scoring.tampering_signs import TamperingSign, tampering_signs


@dataclass(frozen=True, eq=False)
class ActiveRounds:
    """Knows the whole federation, and plays its rounds with the attacker."""

    before: RunState
    rounds: int
    target: int | None = None  # whom a server isolates
    attacker: int | None = None  # a client who acts; None: the server does

    def play(self, spy: ActiveMembershipAttack, few: Candidates) -> tuple[ActiveSignals, Tensor]:
        """-> what the attacker measured, and the model in the end (params,)"""
        state, start = self.before, spy.signal(seen(self.before), few)
        sent, answered = [], []
        for _ in range(self.rounds):
            pushed, state = self._round(spy, few, state)
            sent.append(spy.signal(seen(pushed), few))
            answered.append(spy.signal(seen(state), few))
        return ActiveSignals(start, torch.stack(sent), torch.stack(answered)), state.model

    def _round(
        self, spy: ActiveMembershipAttack, few: Candidates, state: RunState
    ) -> tuple[RunState, RunState]:
        """What the clients of a round begin with, and what comes of it."""
        push = spy.provoke(seen(state), few)
        if self.attacker is not None:
            # In the last round it only watches: nobody would answer a push before it is over.
            last = state.round + 1 == self.before.round + self.rounds
            return state, next_state(state) if last else next_state(state, self.attacker, push)
        pushed = replace(state, model=state.model + push)
        if self.target is None:
            return pushed, next_state(pushed)
        own = pushed.model + client_update(pushed, self.target)
        return pushed, replace(pushed, round=state.round + 1, model=own)

    def noticed(
        self, spy: ActiveMembershipAttack, few: Candidates, earlier: Tensor | None
    ) -> tuple[TamperingSign, ...]:
        """What a client could have noticed that is sent the first pushed model.

        earlier (params,): the model of the round before
        """
        state, round = self.before, self.before.round + 1
        there = select_cohort(state.experiment, round)
        client = there[0] if self.target is None else self.target
        federation = training_data(state.experiment.at(round), round)
        pushed = replace(state, model=state.model + spy.provoke(seen(state), few))
        mine, usual = (client_view(_letter(each), federation, client) for each in (pushed, state))
        return tampering_signs(mine, usual, earlier)


def seen(state: RunState) -> OutsiderView:
    """The model of a state, as whoever holds it sees it."""
    network = state.experiment.at(state.round + 1).architecture
    return OutsiderView(state.round, network, state.model)


@torch.no_grad()
def next_state(state: RunState, client: int | None = None, push: Tensor | None = None) -> RunState:
    """The next round; nothing is measured on the way.

    client: one that adds `push` (params,) to its update, as many times as clients are asked, so
    that about the whole of it gets into their mean
    """
    round = Round.begin(state)
    training = round.train()
    updates, clients = training.updates, round.cohort.clients
    if push is not None and client in clients:
        updates = updates.clone()
        updates[clients.index(client)] += len(clients) * push
    exchanged = round.exchange(updates)
    if exchanged.delivery.aborted:
        raise SettingError(f"round {round.number} was broken off: {exchanged.delivery.note}")
    answer = round.aggregate(exchanged, training.local.groups)
    return round.advance(training, exchanged, answer)


@torch.no_grad()
def client_update(state: RunState, client: int) -> Tensor:
    """The update of one client that trains the state's model, as its server gets it.  -> (params,)

    Raises SettingError where nothing comes.
    """
    round = Round.begin(state, [client])
    delivery = round.exchange(round.train().updates).delivery
    if not len(delivery.rows):
        raise SettingError(
            f"client {client} sends nothing in round {round.number}: choose another client or round"
        )
    return delivery.rows[0]


def _letter(state: RunState) -> Transcript:
    """What a client is sent.  Nobody reads more of it."""
    round = state.round + 1
    now, none = state.experiment.at(round), torch.zeros(0)
    delivery = ReceivedUpdates(empty_rows(len(state.model)), none, (), none.bool(), 0, 0)
    return Transcript(round, now.architecture, now.recipe, state.model, state.model, delivery)
