"""Own picture: what a server would see of any picture, were it the only example of a client.

The client takes one honest local step on it, from the model that the run sent in that round, by the
same code that trains clients.  Privacy, compression and masks of the run are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from lab.attack_runs.reconstruction.reconstruction import Trial
from lab.attack_runs.shared.assumptions import accuracy_of, model_attacked
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.attack_runs.shared.auxiliary_info import auxiliary_info
from lab.attack_runs.shared.run_history import RunHistory
from lab.common.settings import SettingError
from lab.engine.data.federation import federated_dataset
from lab.engine.run_state import RunState
from lab.experiment.experiment import Experiment
from lab.interfaces.messages import ReceivedUpdates, Transcript
from lab.interfaces.privacy_attacks import (
    ActiveReconstructionAttack,
    ReconstructionAttack,
    attack_settings,
)
from lab.interfaces.views import ClientMechanism, ServerView, server_view
from lab.models.inputs import as_floats
from lab.models.network import Network
from lab.models.stacked_gradients import backward, flattened, gradient_step, stacked
from lab.scoring.attack_result import AttackProgress, AttackResult
from lab.scoring.reconstruction.image_scorer import ReconstructionScorer

OWNER = 0  # the number of the client whose picture it is


def check(order: AttackRequest, history: RunHistory) -> None:
    """Raise SettingError where the run gives nothing to attack."""
    # A picture of the user's own needs a model only, and not that anybody has trained it.
    if order.round > history.last_round + 1:
        raise SettingError(
            f"round is {order.round}: the run has models for rounds 1 to {history.last_round + 1}"
        )
    if not isinstance(order.attack, ReconstructionAttack):
        raise SettingError(
            f"{order.attack.kind} reconstructs nothing: choose idlg or first-layer for a picture"
        )
    classes = history.experiment.data.source.classes
    if order.label >= len(classes):
        raise SettingError(f"label is {order.label}: give 0 to {len(classes) - 1}")
    order.attack.suits(history.experiment.architecture)
    history.picture(str(order.picture))


def start(
    order: AttackRequest, history: RunHistory, apart: float = 0.0
) -> Iterator[AttackProgress]:
    """Attack, as the request says."""
    assert isinstance(order.attack, ReconstructionAttack)  # so says `check`
    picture = history.picture(str(order.picture))
    return run_own_example(
        order.attack, history.state(order.round - 1), picture, order.label, apart
    )


def run_own_example(
    spy: ReconstructionAttack, before: RunState, picture: Tensor, label: int, apart: float = 0.0
) -> Iterator[AttackProgress]:
    """Attack a picture (1, *shape) uint8, that its owner labels so.

    before: the state that the round begins with
    apart: seconds between two glimpses at least
    """
    round, now = before.round + 1, before.experiment.at(before.round + 1)
    inputs, labels = as_floats(picture), torch.tensor([label])
    view = view_of(now, round, now.architecture, before.model, inputs, labels)
    known = replace(auxiliary_info(before.experiment, round), mechanism=ClientMechanism())
    if isinstance(spy, ActiveReconstructionAttack):
        planted = spy.plant(view, known)
        view = view_of(now, round, planted.network, planted.sent, inputs, labels)
    federation = federated_dataset(now)
    judge = ReconstructionScorer(
        inputs=inputs,
        labels=labels,
        others=as_floats(federation.inputs),
        public=as_floats(federation.test_inputs),
        public_labels=federation.test_labels,
    )
    blank = AttackResult(
        attack=spy.kind,
        settings=attack_settings(spy),
        round=round,
        own=True,
        declared=_declared(spy, now, view, before.model, label),
    )
    yield from Trial(spy, view, OWNER, known, judge, now.data.source, blank).glimpses(apart)


@torch.no_grad()
def view_of(
    now: Experiment, round: int, network: Network, sent: Tensor, inputs: Tensor, labels: Tensor
) -> ServerView:
    """What the server holds after one local step on those examples, as any client takes it.

    sent (params,), inputs (examples, *shape), labels (examples,)
    """
    count, step = len(labels), stacked(network, torch.zeros(1, len(sent)))
    found = backward(
        network,
        stacked(network, sent.unsqueeze(0)),
        inputs.unsqueeze(0),
        labels.unsqueeze(0),
        torch.full((1, count), 1 / count),
    )
    gradient_step(step, found, now.training.rate)
    whole = network.size != now.architecture.size  # of the server's own making: all of it travels
    shared = network.size if whole else now.training.algorithm.shared(network)
    delivery = ReceivedUpdates(
        rows=flattened(step)[:, :shared],
        weights=torch.tensor([float(count)]),
        senders=((OWNER,),),
        arrived=torch.ones(1, dtype=torch.bool),
        bytes_up=shared * sent.element_size(),
        bytes_down=sent.nbytes,
    )
    recipe = replace(
        now.recipe,
        epochs=1,
        cap=1,
        batch_size=count,
        poisson=None,
        weighted=True,
        mean_size=float(count),
    )
    return server_view(Transcript(round, network, recipe, sent, sent, delivery))


def _declared(
    spy: ReconstructionAttack, now: Experiment, view: ServerView, model: Tensor, label: int
) -> dict[str, str]:
    return {
        "attacker": spy.attacker,
        "knows": spy.knows,
        "labels": "recovered from the update, not given",
        "sees": "the update of one honest local step on that picture alone",
        **model_attacked(now, view),
        "accuracy": f"{accuracy_of(now, model):.3f} of the model that was sent",
        "trained on as": now.data.source.classes[label],
        "examples behind the update": "1",
        "local steps": "1",
        "privacy": "none: privacy, compression and masks of the run are left out",
    }
