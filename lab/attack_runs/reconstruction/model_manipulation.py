"""Subversion: a round once more, in which a malicious server sends a model of its own making.

Clients train what they are sent, on the same batches, and the run's own privacy, masks, compression
and poisons stand between them and the server.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from lab.attack_runs.reconstruction.reconstruction import Glimpse, reconstruct
from lab.attack_runs.shared.auxiliary_info import known_of
from lab.common.settings import SettingError
from lab.engine.data.federation import poisoned
from lab.engine.differential_privacy.accountant import noise_multiplier
from lab.engine.differential_privacy.update_clipping import CLIP
from lab.engine.run import Moment, State, Stopped, step
from lab.experiment.experiment import Experiment
from lab.interfaces.privacy_attacks import Spy, Subversion
from lab.interfaces.views import Planted, ServerView, client_view, server_view
from lab.scoring.tampering_signs import signs


def subvert(
    spy: Subversion,
    before: State,
    moment: Moment,
    target: int,
    earlier: Tensor | None = None,
    apart: float = 0.0,
) -> Iterator[Glimpse]:
    """Attack `target` in the round of that moment, played again with the planted model.

    before: the state that the round began with; earlier: the model of the round before that one;
    apart: seconds between two glimpses at least.  Raises SettingError where there is nothing to
    attack.
    """
    played = replayed(spy, before, moment, target)
    federation = poisoned(before.experiment.at(moment.record.round), moment.record.round)
    noticed = signs(
        client_view(played.transcript, federation, target),
        client_view(moment.transcript, federation, target),
        earlier,
    )
    sizes = [each.transcript.network.size for each in (played, moment)]
    planted = {"planted": "a model of {:,} parameters in place of {:,}".format(*sizes)}
    for glimpse in reconstruct(spy, played, target, apart):
        if result := glimpse.result:
            told = {"noticed": noticed, "declared": result.declared | planted}
            glimpse = replace(glimpse, result=result.model_copy(update=told))
        yield glimpse


def replayed(spy: Subversion, before: State, moment: Moment, target: int | None = None) -> Moment:
    """The moment as it was, but for its messages: those of the round with the planted model.

    target: whose row the server is after; None: all of them
    """
    experiment, round = before.experiment, moment.record.round
    check_memory(spy, experiment.at(round))
    view = server_view(moment.transcript)
    spy.suits(view.network)
    view = view if target is None else only(view, target)
    planted = spy.plant(view, known_of(experiment, round))
    try:
        played = step(staged(before, planted))
    except Stopped as stopped:
        raise SettingError(f"the round with the planted model was broken off: {stopped}") from None
    return replace(moment, transcript=played.transcript)


def only(view: ServerView, target: int) -> ServerView:
    """The view with a single row, if that client sent something; as it is otherwise."""
    try:
        row = view.row_of(target)
    except LookupError:  # which the trial says in words
        return view
    those = slice(row, row + 1)
    return replace(
        view, rows=view.rows[those], weights=view.weights[those], senders=view.senders[those]
    )


def staged(before: State, planted: Planted) -> State:
    """The state before the round, as if the planted model were the one that was agreed on."""
    experiment, round = before.experiment, before.round + 1
    now, model = experiment.at(round), planted.network.model
    if now.privacy.kind != "none":  # noise was calibrated to the whole run, not to this round
        noise = noise_multiplier(experiment, round)
        now = now.model_copy(update={"privacy": now.privacy.model_copy(update={"noise": noise})})
    kept = before.memory
    if model != now.model:  # what was remembered is of the size of the other model
        kept = {name: value for name, value in kept.items() if name == CLIP}
    return State(before.round, planted.sent, now.model_copy(update={"model": model}), kept)


def check_memory(spy: Spy, now: Experiment) -> None:
    """Raises SettingError where clients train anything but the model that they are sent."""
    algorithm = now.training.algorithm
    usual = not algorithm.asynchronous and algorithm.talks and algorithm.models == 1
    if (
        usual
        and not algorithm.begin(1, 1)
        and algorithm.shared(now.architecture) == (now.architecture.size)
    ):
        return
    raise SettingError(
        f"{spy.kind} plants a model, and under training.algorithm.kind {algorithm.kind} clients "
        "remember models of their own or of rounds before: choose a run of fedavg or fedprox"
    )
