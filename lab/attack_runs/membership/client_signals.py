"""Signals of a server that watches each client: scores of candidates over all rounds."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from lab.attack_runs.membership.candidates import MembershipCandidates
from lab.attack_runs.membership.shadow_federations import ShadowRound, shadow_rounds
from lab.attack_runs.shared.view_helpers import only
from lab.common.settings import SettingError
from lab.engine.run import initial_state, run
from lab.engine.run_state import RunState
from lab.experiment.experiment import Experiment
from lab.interfaces.attack_data import Candidates, ClientSignals
from lab.interfaces.messages import Transcript
from lab.interfaces.privacy_attacks import ServerMembershipAttack
from lab.interfaces.views import ServerView, server_view

SOME = 512  # candidates of all rounds and clients laid out at once


MOST = 2 << 30  # bytes of signals kept


FAR = 0.05  # of the way that the model went: farther off, it is another run


@dataclass(frozen=True, eq=False)
class Scored:
    """What the attack says of everybody."""

    scores: Tensor  # (clients, candidates)
    heard: np.ndarray  # the clients of whom anything came


def scored(
    spy: ServerMembershipAttack, state: RunState, lined: MembershipCandidates
) -> Generator[None, None, Scored]:
    """The attack's work, without the judge's.  Stops after each round."""
    experiment, rounds, asked = state.experiment, state.round, lined.candidates
    clients, log, shadowed = experiment.data.clients, Log(), spy.needs().shadows
    for moment in run(experiment):
        for view in views(moment.transcript):
            log.note(spy, view, asked)
        yield
        if moment.record.round == rounds:
            check_same(moment.state, state)
            break
    target = log.gathered(spy, clients)
    heard = np.array(sorted(log.heard))
    own, holders = target.new_zeros(0, *target.shape), torch.zeros(0, len(lined.owner)).long()
    if shadowed:
        start, logs = initial_state(experiment).model, [Log() for _ in range(shadowed)]
        for each in shadow_rounds(experiment, rounds, lined.pool, range(shadowed), start):
            for number, mine in enumerate(logs):
                mine.note(spy, shadow_view(experiment, each, number), asked)
            holders = each.holders
            yield
        own = torch.stack([mine.gathered(spy, clients) for mine in logs])
    return Scored(spy(ClientSignals(asked, target, own, holders)), heard)


def check_watched(spy: ServerMembershipAttack, experiment: Experiment, rounds: int) -> None:
    """Raises SettingError where nobody can watch those rounds, or not with that attack."""
    changed = [change.round for change in experiment.changes if change.round <= rounds]
    for round in sorted({1, *changed}):
        now = experiment.at(round)
        if not now.privacy.repeatable:
            raise SettingError(
                f"{spy.kind} repeats rounds 1 to {rounds}, and round {round} cannot be replayed: "
                "privacy.secure_noise drew noise that nothing repeats; choose a round before it, "
                "or an attack on the models, such as loss-threshold"
            )
        if not now.training.algorithm.talks:
            raise SettingError(
                f"under training.algorithm.kind {now.training.algorithm.kind} nothing is sent, so "
                "there is nothing to watch: choose a run of fedavg"
            )
        if spy.apart and now.secure_aggregation.enabled:
            fitting = [
                kind
                for kind, other in ServerMembershipAttack.table.items()
                if issubclass(other, ServerMembershipAttack) and not other.apart
            ]
            raise SettingError(
                f"{spy.kind} compares clients' updates, and from round {round} on "
                "secure_aggregation.enabled shows the server their sum only: use "
                f"{' or '.join(fitting)}, which work on sums, or switch the masks off"
            )


@dataclass(frozen=True, eq=False)
class Log:
    """What was measured, round after round: of rows that came, not of all clients."""

    signals: list[tuple[int, Tensor]] = field(default_factory=list)  # (rows, candidates) each
    senders: list[tuple[tuple[int, ...], ...]] = field(default_factory=list)

    def note(self, spy: ServerMembershipAttack, view: ServerView, asked: Candidates) -> None:
        if len(view.rows):
            self.signals.append((view.round, spy.signal(view, asked)))
            self.senders.append(view.senders)

    @property
    def heard(self) -> set[int]:
        """Clients of whom anything came, alone or in a sum."""
        return {one for rows in self.senders for row in rows for one in row}

    def gathered(self, spy: ServerMembershipAttack, clients: int) -> Tensor:
        """-> (clients, candidates, ...).  Raises SettingError where nothing came at all."""
        if not self.signals:
            raise SettingError("no update arrived in any round: there was nothing to watch")
        candidates = self.signals[0][1].shape[1]
        return torch.cat(
            [
                spy.gather(self._laid_out(slice(first, first + SOME), clients))
                for first in range(0, candidates, SOME)
            ],
            dim=1,
        )

    def _laid_out(self, some: slice, clients: int) -> Tensor:
        """-> (rounds, clients, some candidates), NaN where nothing came"""
        rounds = sorted({round for round, _ in self.signals})
        places = {round: place for place, round in enumerate(rounds)}
        width = self.signals[0][1][:, some].shape[1]
        found = torch.full((len(rounds), clients, width), float("nan"))
        for (round, signal), senders in zip(self.signals, self.senders, strict=True):
            for row, those in zip(signal[:, some], senders, strict=True):
                found[places[round], list(those)] = row
        return found


def views(transcript: Transcript) -> Iterator[ServerView]:
    """What the server got; client by client where it had sent them different models."""
    view = server_view(transcript)
    if not transcript.starts:
        yield view
        return
    for one in (one for senders in view.senders for one in senders):
        yield only(server_view(transcript, one), one)


def shadow_view(experiment: Experiment, shadow: ShadowRound, number: int) -> ServerView:
    """What the attacker sees of a round of its own federation."""
    now, clients = experiment.at(shadow.round), shadow.clients[number]
    held = [(shadow.holders[number] == one).sum() for one in clients]
    return ServerView(
        round=shadow.round,
        network=now.architecture,
        recipe=now.recipe,
        sent=shadow.sent[number],
        rows=shadow.rows[number],
        weights=torch.stack(held).float() if held else torch.zeros(0),
        senders=tuple((one,) for one in clients),
        shared=shadow.sent.shape[1],
        masked=None,
    )


def check_memory(
    spy: ServerMembershipAttack, experiment: Experiment, candidates: int, rounds: int
) -> None:
    cohort = max(experiment.at(round).cohort_size for round in (1, rounds))
    needed = 4 * candidates * rounds * cohort * (1 + spy.needs().shadows)
    if needed > MOST:
        raise SettingError(
            f"{spy.kind} would keep {needed / 2**30:.1f} GiB of what it measures, and at most "
            f"{MOST / 2**30:.0f} are kept: choose a round before {rounds * MOST // needed + 1}, or "
            "fewer shadow models or data.examples"
        )


def check_same(again: RunState, state: RunState) -> None:
    off, way = again.model - state.model, state.model - initial_state(state.experiment).model
    if torch.linalg.vector_norm(off) > FAR * torch.linalg.vector_norm(way):
        raise SettingError(
            f"rounds 1 to {state.round} cannot be repeated: they end in another model than the "
            "one that is stored; was the run made by another version of Leaklab?"
        )
