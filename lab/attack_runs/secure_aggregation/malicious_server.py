"""A malicious server: what it can really do to a round under secure aggregation.

It runs rounds of its own from the run's own state: real training, the real masked channel with the
run's settings, real clients who are asked for their shares.  An attack gets `views.Siege`, whose
answers hold what the server and its accomplices would hold, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count

import torch
import torch.nn.functional as F
from torch import Tensor

from defenses.secure_aggregation.channel import Masked, contexts_of
from defenses.secure_aggregation.checks import Refused
from defenses.secure_aggregation.client import Client
from defenses.secure_aggregation.masks import weak_seed
from defenses.secure_aggregation.protocol import clients_of
from defenses.secure_aggregation.server import Server
from lab.common.random_streams import random_stream
from lab.common.settings import SettingError
from lab.engine.client.local_training import train_cohort
from lab.engine.differential_privacy.update_transforms import privacy_transforms
from lab.engine.exchange import channel
from lab.engine.round import Round
from lab.engine.run_state import RoundResult, RunState
from lab.experiment.experiment import Experiment
from lab.interfaces.attack_data import MaliciousServer, ShareResponses, StagedRound
from lab.interfaces.federated_algorithm import ClientUpdates, CohortTrainer, LocalTask
from lab.interfaces.messages import ReceivedUpdates, RevealedMasks, Transcript
from lab.interfaces.views import ServerView, server_view

LATER = 2**40  # beyond every round of a run: batches of such a number were never drawn


def check_masked(experiment: Experiment, round: int) -> None:
    """Raises SettingError where there are no masks to attack."""
    masks = experiment.at(round).secure_aggregation
    if masks.enabled and masks.buckets > 1:
        raise SettingError(
            f"round {round} had {masks.buckets} sums, and attacks on secure aggregation stage "
            "rounds with one: choose a run with secure_aggregation.buckets 1"
        )
    if not masks.enabled:
        raise SettingError(
            f"round {round} ran without secure aggregation, so the server got every update as it "
            "was: choose a run with secure_aggregation.enabled, or attack with first-layer or idlg"
        )


def malicious_server(before: RunState, moment: RoundResult, target: int) -> MaliciousServer:
    """before: the state that the round of the moment began with

    The target is honest: a plot that counts it among the accomplices is an error.
    """
    round = before.round + 1
    check_masked(before.experiment, round)
    host = _Host(before, before.experiment.at(round), round, moment.record.clients, target)
    plays = count(1)
    return MaliciousServer(
        view=server_view(moment.transcript),
        clients=moment.record.clients,
        play=lambda plot: host.play(plot, next(plays)),
        interview=host.interview,
    )


def true_updates(before: RunState, clients: Sequence[int]) -> Tensor:
    """What those clients send in the next round, before noise and masks.  -> (clients, params)

    Clipped, where privacy clips.  For scores and for the experimenter's eye: no attack gets it.
    """
    round = Round.begin(before, clients)
    updates = round.train().updates
    for stage in privacy_transforms(round.settings, round.clipping, "client"):
        if stage.kind == "clip":
            updates = stage(updates, round.cohort)
    if round.cohort.malicious.any():
        updates = round.settings.adversary.attack.rows(updates, round.cohort, round.insight)
    return F.pad(updates, (0, len(before.model) - updates.shape[1]))


@dataclass(frozen=True, eq=False)
class _Host:
    """Knows the whole federation, and plays it against the attacker."""

    before: RunState
    now: Experiment
    round: int
    clients: tuple[int, ...]  # who was asked
    target: int

    @torch.no_grad()
    def play(self, plot: StagedRound, number: int) -> ServerView:
        """One round as plotted.  Clients' noise is new in every one."""
        if self.target in plot.accomplices or not 0 <= plot.hint < 32:
            raise ValueError(
                f"client {self.target} tells the server nothing, and nobody whole seeds"
            )
        round = Round.begin(self.before, plot.clients)
        updates = round.train(self._trainer(round, plot, number)).updates
        shared, seed = updates.shape[1], random_stream(self.now.seed, "siege", self.round, number)
        cohort = replace(
            round.cohort,
            seed=int(seed.integers(2**53)),
            sent=self._models(plot)[:, :shared] if plot.models else None,
            accomplices=plot.clients if plot.hint else plot.accomplices,
            announced=plot.announced,
        )
        return self._view(_known(round.exchange(updates, cohort).delivery, plot))

    def interview(
        self, target: int, living: tuple[int, ...], gone: tuple[int, ...], threshold: int
    ) -> ShareResponses:
        """Real clients of the round up to their answers; `gone` are told that the target is lost.

        A client in both lists is told both at once.  threshold: what the server announces in
        place of the real one; 0 for that.
        """
        asked, clients, server = self.clients, *self._meeting()
        needed, everyone = threshold or server.terms.shares_needed, range(len(clients))
        try:
            _met(clients, server, needed)
        except Refused as refusal:
            return ShareResponses(asked, needed, 0, 0, (refusal.named(asked),))
        mark, seeds, keys, refusals = asked.index(target), 0, 0, []
        fooled = {me for me in everyone if asked[me] in gone and asked[me] not in living}
        told = {me: {*everyone} - ({mark} if me in fooled else set()) for me in everyone}
        signed = _signed(clients, told) if server.terms.signatures else {}
        for me in server.graph.holders[mark]:
            if asked[me] not in {*living, *gone}:
                continue
            beside = {*server.graph.beside[me]}
            alive, dead = told[me] & beside, {mark} if asked[me] in gone else set()
            try:
                clients[me].reveal(alive, dead, signed)
            except Refused as refusal:
                refusals.append(refusal.named(asked))
            else:
                seeds, keys = seeds + (not dead), keys + bool(dead)
        return ShareResponses(asked, needed, seeds, keys, tuple(refusals))

    def _meeting(self) -> tuple[list[Client], Server]:
        """Clients and server of the round, who have not spoken yet."""
        round, count = Round.begin(self.before, self.clients), len(self.clients)
        masked = channel(round.settings, round.clipping)
        assert isinstance(masked, Masked)
        terms = masked.terms(count)
        contexts = contexts_of(round.cohort, self.before.model, masked.binding)
        draw = random_stream(self.now.seed, "neighbours", self.round)
        return clients_of(terms, contexts, draw), Server(count, terms)

    def _trainer(self, round: Round, plot: StagedRound, number: int) -> CohortTrainer:
        """The clients at work, with the models and the draws that the plot gives them."""
        trainer, sent = round.trainer, self.before.model
        redrawn = plot.fresh or (plot.again and self.now.privacy.kind == "example")

        def learn(task: LocalTask) -> ClientUpdates:
            if plot.models and task.start is sent:
                task = replace(task, start=self._models(plot))
            if redrawn:
                return train_cohort(self.now, LATER + number, plot.clients, task)
            return trainer.learn(task)

        return replace(trainer, learn=learn)

    def _models(self, plot: StagedRound) -> Tensor:
        """(clients, params)"""
        return torch.stack([plot.models.get(one, self.before.model) for one in plot.clients])

    def _view(self, delivery: ReceivedUpdates) -> ServerView:
        sent = self.before.model
        network, recipe = self.now.architecture, self.now.recipe
        return server_view(Transcript(self.round, network, recipe, sent, sent, delivery))


def _known(delivery: ReceivedUpdates, plot: StagedRound) -> ReceivedUpdates:
    """What the server and its accomplices hold: of others' weak seeds the last bits at most."""
    if delivery.opened is None or not plot.hint:
        return delivery
    opened, there = delivery.opened, set(delivery.opened.seeds)
    mine = set(plot.accomplices)
    keys = {pair: key for pair, key in opened.keys.items() if mine & {*pair} or {*pair} - there}
    last = 2**plot.hint - 1
    hints = {pair: weak_seed(key) & last for pair, key in opened.keys.items() if pair not in keys}
    told = {one: words for one, words in opened.told.items() if one in mine}
    known: RevealedMasks = replace(opened, keys=keys, told=told, hints=hints)
    return replace(delivery, opened=known)


def _met(clients: Sequence[Client], server: Server, threshold: int) -> None:
    """All clients up to the point of masking.  Raises Refused."""
    book = {client.me: client.advertise() for client in clients}
    beside = server.introduce(book, {client.me: client.chosen for client in clients})
    letters = {
        client.me: client.share(beside[client.me].holders, threshold, beside[client.me].owners)
        for client in clients
    }
    for me, inbox in server.forward(letters).items():
        clients[me].receive(inbox, server.sharing(me))


def _signed(clients: Sequence[Client], told: Mapping[int, set[int]]) -> dict[int, bytes]:
    """Signatures under the lists that clients were told, of those who sign theirs."""
    found = {}
    for client in clients:
        with suppress(Refused):
            found[client.me] = client.affirm(told[client.me])
    return found
