"""Subversion: a round once more, in which a malicious server sends a model of its own making.

Clients train what they are sent, on the same batches, and the run's own privacy, masks, compression
and poisons stand between them and the server.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from lab.attack_runs.reconstruction.reconstruction import run_reconstruction
from lab.attack_runs.shared.attack_request import AttackRequest, target_of
from lab.attack_runs.shared.auxiliary_info import auxiliary_info
from lab.attack_runs.shared.run_history import RunHistory
from lab.attack_runs.shared.view_helpers import check_memory, only
from lab.common.settings import SettingError
from lab.engine.carried_state import CarriedState
from lab.engine.data.federation import training_data
from lab.engine.differential_privacy.accountant import noise_multiplier
from lab.engine.round import run_round
from lab.engine.run_state import RoundResult, RunState, RunStopped
from lab.interfaces.attack_data import ManipulatedModel
from lab.interfaces.privacy_attacks import ActiveReconstructionAttack
from lab.interfaces.views import client_view, server_view
from lab.scoring.attack_result import AttackProgress
from lab.scoring.tampering_signs import TamperingSigns, tampering_signs


def check(order: AttackRequest, history: RunHistory) -> None:
    """Raise SettingError where the run gives nothing to attack."""
    history.check_replay(order.round)


def start(
    order: AttackRequest, history: RunHistory, apart: float = 0.0
) -> Iterator[AttackProgress]:
    """Attack, as the request says."""
    assert isinstance(order.attack, ActiveReconstructionAttack)  # so says the table of families
    moment = history.replay(order.round)
    before = history.state(order.round - 1)
    earlier = history.state(order.round - 2).model if order.round > 1 else None
    return run_active_reconstruction(
        order.attack, before, moment, target_of(order, history), earlier, apart
    )


def run_active_reconstruction(
    spy: ActiveReconstructionAttack,
    before: RunState,
    moment: RoundResult,
    target: int,
    earlier: Tensor | None = None,
    apart: float = 0.0,
) -> Iterator[AttackProgress]:
    """Attack `target` in the round of that moment, played again with the planted model.

    before: the state that the round began with; earlier: the model of the round before that one;
    apart: seconds between two glimpses at least.  Raises SettingError where there is nothing to
    attack.
    """
    played = replayed(spy, before, moment, target)
    federation = training_data(before.experiment.at(moment.record.round), moment.record.round)
    noticed = tampering_signs(
        client_view(played.transcript, federation, target),
        client_view(moment.transcript, federation, target),
        earlier,
    )
    sizes = [each.transcript.network.size for each in (played, moment)]
    planted = {"planted": "a model of {:,} parameters in place of {:,}".format(*sizes)}
    for glimpse in run_reconstruction(spy, played, target, apart):
        if result := glimpse.result:
            told = {
                "extras": (*result.extras, TamperingSigns(signs=noticed)),
                "declared": result.declared | planted,
            }
            glimpse = replace(glimpse, result=result.model_copy(update=told))
        yield glimpse


def replayed(
    spy: ActiveReconstructionAttack,
    before: RunState,
    moment: RoundResult,
    target: int | None = None,
) -> RoundResult:
    """The moment as it was, but for its messages: those of the round with the planted model.

    target: whose row the server is after; None: all of them
    """
    experiment, round = before.experiment, moment.record.round
    check_memory(spy, experiment.at(round))
    view = server_view(moment.transcript)
    spy.suits(view.network)
    view = view if target is None else only(view, target)
    planted = spy.plant(view, auxiliary_info(experiment, round))
    try:
        played = run_round(staged(before, planted))
    except RunStopped as stopped:
        raise SettingError(f"the round with the planted model was broken off: {stopped}") from None
    return replace(moment, transcript=played.transcript)


def staged(before: RunState, planted: ManipulatedModel) -> RunState:
    """The state before the round, as if the planted model were the one that was agreed on."""
    experiment, round = before.experiment, before.round + 1
    now, model = experiment.at(round), planted.network.model
    if now.privacy.kind != "none":  # noise was calibrated to the whole run, not to this round
        noise = noise_multiplier(experiment, round)
        now = now.model_copy(update={"privacy": now.privacy.model_copy(update={"noise": noise})})
    carried = before.carried
    if model != now.model:  # what was remembered is of the size of the other model
        carried = CarriedState(clip=carried.clip)
    return RunState(before.round, planted.sent, now.model_copy(update={"model": model}), carried)
