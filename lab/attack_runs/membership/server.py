"""Surveillance: a server that watches a whole run and says which client holds which example.

The run is repeated from its first round, so that every message is there once more.  Shadow
federations, where the attack has them, begin with the model that the server itself had sent.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from lab.attack_runs.membership.candidate_pairs import against_clients, against_outsiders, judged
from lab.attack_runs.membership.candidates import Lineup, lineup
from lab.attack_runs.membership.shadow_federations import Shadows, shadows
from lab.attack_runs.reconstruction.model_manipulation import only
from lab.attack_runs.reconstruction.reconstruction import (
    Glimpse,
    Result,
    ceiling_of,
    protection,
    settings_of_spy,
)
from lab.common.random_streams import stream
from lab.common.settings import SettingError
from lab.engine.data.public_examples import tested
from lab.engine.differential_privacy.accountant import detailed
from lab.engine.run import State, begin, run
from lab.experiment.experiment import Experiment
from lab.interfaces.messages import Transcript
from lab.interfaces.privacy_attacks import Surveillance
from lab.interfaces.views import Candidates, ServerView, Watched, server_view
from lab.models.metrics import evaluate
from lab.scoring.membership.source_score import Attribution, attribute

FEWEST = 1000  # non-members that are asked about anyway: enough for a rate at 1 %
SOME = 512  # candidates of all rounds and clients laid out at once
MOST = 2 << 30  # bytes of signals kept
FAR = 0.05  # of the way that the model went: farther off, it is another run


def surveil(spy: Surveillance, state: State, client: int | None = None) -> Iterator[Glimpse]:
    """Watch all rounds up to the state's.

    Members are the examples of all honest clients, or of `client`.  One glimpse for each round that
    is repeated, one for each of the shadow federations' rounds, and one with the result.

    Raises SettingError where the rounds cannot be repeated, or leave the attack nothing to work on.
    """
    check_watched(spy, state.experiment, state.round)
    lined = _fewer(lineup(state.experiment.at(state.round), spy.needs(), client))
    _check_memory(spy, state.experiment, len(lined.owner), state.round)
    steps = state.round * (2 if spy.needs().shadows else 1) + 1
    watching, step = scored(spy, state, lined), 0
    while True:
        try:
            next(watching)
        except StopIteration as end:
            found: Scored = end.value
            break
        step += 1
        yield Glimpse(step, steps, None, {}, None)
    if client is not None and client not in found.heard:
        there = ", ".join(map(str, found.heard))
        raise SettingError(f"client {client} sent nothing in {state.round} rounds: give {there}")
    yield _judged(spy, state, lined, found, client, steps)


@dataclass(frozen=True, eq=False)
class Scored:
    """What the attack says of everybody."""

    scores: Tensor  # (clients, candidates)
    heard: np.ndarray  # the clients of whom anything came


def scored(spy: Surveillance, state: State, lined: Lineup) -> Generator[None, None, Scored]:
    """The attack's work, without the judge's.  Stops after each round."""
    experiment, rounds, asked = state.experiment, state.round, lined.candidates
    clients, log, shadowed = experiment.data.clients, Log(), spy.needs().shadows
    for moment in run(experiment):
        for view in _views(moment.transcript):
            log.note(spy, view, asked)
        yield
        if moment.record.round == rounds:
            _check_same(moment.state, state)
            break
    target = log.gathered(spy, clients)
    heard = np.array(sorted(log.heard))
    own, holders = target.new_zeros(0, *target.shape), torch.zeros(0, len(lined.owner)).long()
    if shadowed:
        start, logs = begin(experiment).model, [Log() for _ in range(shadowed)]
        for each in shadows(experiment, rounds, lined.pool, range(shadowed), start):
            for number, mine in enumerate(logs):
                mine.note(spy, _shadow_view(experiment, each, number), asked)
            holders = each.holders
            yield
        own = torch.stack([mine.gathered(spy, clients) for mine in logs])
    return Scored(spy(Watched(asked, target, own, holders)), heard)


def check_watched(spy: Surveillance, experiment: Experiment, rounds: int) -> None:
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
                for kind, other in Surveillance.table.items()
                if issubclass(other, Surveillance) and not other.apart
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

    def note(self, spy: Surveillance, view: ServerView, asked: Candidates) -> None:
        if len(view.rows):
            self.signals.append((view.round, spy.signal(view, asked)))
            self.senders.append(view.senders)

    @property
    def heard(self) -> set[int]:
        """Clients of whom anything came, alone or in a sum."""
        return {one for rows in self.senders for row in rows for one in row}

    def gathered(self, spy: Surveillance, clients: int) -> Tensor:
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


def _views(transcript: Transcript) -> Iterator[ServerView]:
    """What the server got; client by client where it had sent them different models."""
    view = server_view(transcript)
    if not transcript.starts:
        yield view
        return
    for one in (one for senders in view.senders for one in senders):
        yield only(server_view(transcript, one), one)


def _shadow_view(experiment: Experiment, shadow: Shadows, number: int) -> ServerView:
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


def _fewer(lined: Lineup) -> Lineup:
    """With no more others than members: each is measured on every update of every round."""
    kept = int(lined.member.sum()) + max(FEWEST, int(lined.member.sum()))
    if kept >= len(lined.owner):
        return lined
    pool = Candidates(lined.pool.inputs[:kept], lined.pool.labels[:kept])
    others = f"{kept - int(lined.member.sum()):,} of {lined.others}"
    return replace(
        lined, pool=pool, owner=lined.owner[:kept], counted=lined.counted[:kept], others=others
    )


def _check_memory(spy: Surveillance, experiment: Experiment, candidates: int, rounds: int) -> None:
    cohort = max(experiment.at(round).cohort_size for round in (1, rounds))
    needed = 4 * candidates * rounds * cohort * (1 + spy.needs().shadows)
    if needed > MOST:
        raise SettingError(
            f"{spy.kind} would keep {needed / 2**30:.1f} GiB of what it measures, and at most "
            f"{MOST / 2**30:.0f} are kept: choose a round before {rounds * MOST // needed + 1}, or "
            "fewer shadow models or data.examples"
        )


def _check_same(again: State, state: State) -> None:
    off, way = again.model - state.model, state.model - begin(state.experiment).model
    if torch.linalg.vector_norm(off) > FAR * torch.linalg.vector_norm(way):
        raise SettingError(
            f"rounds 1 to {state.round} cannot be repeated: they end in another model than the "
            "one that is stored; was the run made by another version of Leaklab?"
        )


def _judged(
    spy: Surveillance,
    state: State,
    lined: Lineup,
    found: Scored,
    client: int | None,
    steps: int,
) -> Glimpse:
    experiment, asked = state.experiment, lined.candidates
    scores, heard = found.scores, found.heard
    guarantee = detailed(experiment, state.round, "server")
    drawn = stream(experiment.seed, "pairs")
    pairs = against_outsiders(lined, heard, client, drawn)
    several = len(heard) > 1
    rivals = against_clients(lined, heard, client, drawn) if several else None
    exposure = judged(scores, pairs, asked, ceiling_of(guarantee))
    result = Result(
        attack=spy.kind,
        settings=settings_of_spy(spy),
        round=state.round,
        client=client,
        declared=_declared(spy, state, lined, heard, client),
        guarantee=guarantee,
        exposure=exposure,
        rivals=judged(scores, rivals, asked, inputs=client is not None) if rivals else None,
        attribution=_attributed(scores, lined, heard, experiment) if several else None,
    )
    pictures = {
        name: asked.inputs[pairs.candidate[list(those)]]
        for name, those in (("most", exposure.most), ("least", exposure.least))
    }
    return Glimpse(steps, steps, None, pictures, None, result)


def _attributed(
    scores: Tensor, lined: Lineup, heard: np.ndarray, experiment: Experiment
) -> Attribution:
    members = np.flatnonzero(lined.counted & np.isin(lined.owner, heard))
    federation = tested(experiment.at(1))
    counts = federation.label_counts(len(experiment.data.source.classes)).numpy()
    return attribute(
        scores.double().numpy()[heard][:, members],
        np.searchsorted(heard, lined.owner[members]),
        lined.candidates.labels.numpy()[members],
        counts[heard],
    )


def _declared(
    spy: Surveillance, state: State, lined: Lineup, heard: np.ndarray, client: int | None
) -> dict[str, str]:
    now = state.experiment.at(state.round)
    federation, asked = tested(now), lined.candidates
    mine = torch.from_numpy(lined.counted & lined.member)
    own = evaluate(now.architecture, state.model, asked.inputs[mine], asked.labels[mine])
    test = evaluate(now.architecture, state.model, federation.test_inputs, federation.test_labels)
    masked = now.secure_aggregation.enabled
    whose = "all honest clients" if client is None else f"client {client}"
    return {
        "attacker": spy.attacker,
        "knows": spy.knows,
        "sees": "the sum over the cohort only" if masked else "single updates",
        "rounds watched": f"1 to {state.round}",
        "clients heard": f"{len(heard)} of {now.data.clients}",
        "model": now.model.kind,
        "accuracy on members": f"{own[0]:.3f}",
        "accuracy on test examples": f"{test[0]:.3f}",
        "members": f"{int(mine.sum()):,} examples of {whose}, each with its own client",
        "non-members": f"{lined.others}, each with "
        + ("a client drawn at random" if client is None else f"client {client}"),
        "other clients' members": "examples that one client holds, asked of another",
        "the same label": "compared within one client",
        "privacy": protection(now.privacy),
    }
