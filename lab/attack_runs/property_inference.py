"""Survey: the trial of an attack on a property of clients' data, by the updates of some rounds."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from lab.attack_runs.shared.assumptions import protection
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.attack_runs.shared.auxiliary_info import auxiliary_info
from lab.attack_runs.shared.run_history import RunHistory
from lab.attack_runs.shared.view_helpers import check_memory
from lab.common.random_streams import random_stream
from lab.common.settings import SettingError
from lab.engine.client.batches import touched
from lab.engine.client.local_training import FederationTask, train_federations
from lab.engine.data.federation import training_data
from lab.engine.differential_privacy.accountant import noise_multiplier, spent
from lab.engine.run_state import RoundResult
from lab.experiment.experiment import Experiment
from lab.interfaces.data import Examples, FederatedDataset
from lab.interfaces.privacy_attacks import (
    PrivacyAttack,
    PropertyInferenceAttack,
    ReconstructionAttack,
    attack_settings,
)
from lab.interfaces.properties import Property
from lab.interfaces.views import AuxiliaryInfo, ServerView, server_view
from lab.models.inputs import as_floats
from lab.scoring.attack_result import AttackProgress, AttackResult
from lab.scoring.property_score import PropertyEstimate, score_property


def check(order: AttackRequest, history: RunHistory) -> None:
    """Any run that has a model will do."""


def start(
    order: AttackRequest, history: RunHistory, apart: float = 0.0
) -> Iterator[AttackProgress]:
    """Attack, as the request says."""
    assert isinstance(order.attack, PropertyInferenceAttack)  # so says the table of families
    rounds = range(max(1, order.round + 1 - order.attack.rounds), order.round + 1)
    moments = (history.replay(round) for round in rounds)
    return run_property_inference(order.attack, moments, len(rounds), order.client)


def run_property_inference(
    spy: PropertyInferenceAttack,
    moments: Iterator[RoundResult],
    count: int,
    client: int | None = None,
) -> Iterator[AttackProgress]:
    """Ask of every update of those `count` rounds; a glimpse for each round, then the result.

    client: one that must be among the senders of single updates; all of them are asked about

    Raises SettingError where the server cannot tell what is asked.
    """
    said: list[PropertyEstimate] = []
    moment = None
    for number, moment in enumerate(moments, 1):
        view = server_view(moment.transcript)
        _check(spy, moment, view, client)
        said += _said(spy, moment, view)
        yield AttackProgress(number, count + 1)
    if moment is None or not said:
        raise SettingError("nobody's update arrived in these rounds: choose another round")
    view, now = server_view(moment.transcript), moment.state.experiment.at(moment.record.round)
    known = auxiliary_info(moment.state.experiment, view.round)
    trait = spy.trait(known, view.network.classes)
    public = float(trait.holds(known.inputs, known.labels).float().mean())
    result = AttackResult(
        attack=spy.kind,
        settings=attack_settings(spy),
        round=view.round,
        client=client,
        declared=_declared(spy, now, view, known),
        guarantee=spent(moment.state.experiment, view.round, "server"),
        score=score_property(trait.name, trait.told, public, said, spy.present),
    )
    yield AttackProgress(count + 1, count + 1, result=result)


def _check(
    spy: PropertyInferenceAttack, moment: RoundResult, view: ServerView, client: int | None
) -> None:
    now = moment.state.experiment.at(view.round)
    check_memory(spy, now)
    spy.suits(view.network)
    if client is None:
        return
    if view.masked is not None:
        raise SettingError(
            f"client is {client}, and round {view.round} ran under secure aggregation: the server "
            "gets sums, and can tell of the whole cohort only; leave the client out"
        )
    if all(client not in senders for senders in view.senders):
        raise SettingError(f"client {client} sent nothing in round {view.round}: choose another")


def _said(
    spy: PropertyInferenceAttack, moment: RoundResult, view: ServerView
) -> list[PropertyEstimate]:
    experiment = moment.state.experiment
    now, known = experiment.at(view.round), auxiliary_info(experiment, view.round)
    trait = spy.trait(known, view.network.classes)
    if not len(view.rows):
        return []
    sets = spy.sets(view, known)
    scores = spy(view, known, sets, made_of(experiment, view, known, sets))
    if not scores.isfinite().all():
        raise SettingError(f"round {view.round} is all overflow: choose an earlier one")
    return [
        PropertyEstimate(
            clients=senders,
            round=view.round,
            score=float(score),
            share=share_of(now, view.round, senders, trait),
            by_labels=by_labels(view, senders, known, trait),
        )
        for score, senders in zip(scores, view.senders, strict=True)
    ]


def made_of(experiment: Experiment, view: ServerView, known: AuxiliaryInfo, sets: Tensor) -> Tensor:
    """What clients who hold those public examples would send, but for noise and packing.

    sets (sets, examples) -> (sets, params)
    """
    now, none = experiment.at(view.round), slice(0, 0)
    seed = int(random_stream(experiment.seed, "made updates", view.round).integers(2**31))
    examples = Examples(known.inputs, known.labels, known.inputs[none], known.labels[none])
    federation = FederatedDataset.of(examples, [each.numpy() for each in sets])
    privacy = now.privacy
    if privacy.kind == "example":  # the noise of the run, to whose end it is calibrated
        multiplier = noise_multiplier(experiment, view.round)
        privacy = privacy.model_copy(update={"noise": multiplier})
    twin = now.model_copy(update={"seed": seed, "privacy": privacy})
    lot = FederationTask(twin, federation, tuple(range(len(sets))), view.sent)
    (rows,) = train_federations([lot], view.round)
    if now.privacy.kind == "client":
        rows = F.normalize(rows) * rows.norm(dim=1, keepdim=True).clamp_max(now.privacy.clip)
    return rows


def share_of(now: Experiment, round: int, clients: tuple[int, ...], trait: Property) -> float:
    """The true one, among all examples that entered those clients' updates."""
    federation, used = training_data(now, round), []
    for client in clients:
        held = federation.held(client)
        used.append(held[torch.from_numpy(touched(now, round, client, len(held)))])
    index = torch.cat(used)
    if not len(index):
        return 0.0
    inputs, labels = as_floats(federation.inputs[index]), federation.labels[index]
    return float(trait.holds(inputs, labels).float().mean())


def by_labels(
    view: ServerView, senders: tuple[int, ...], known: AuxiliaryInfo, trait: Property
) -> float | None:
    """The share that follows from how many of each class there seem to be, and nothing else.

    None where the classes cannot be counted.
    """
    counter = PrivacyAttack.table["label-counts"]()
    assert isinstance(counter, ReconstructionAttack)
    try:
        *_, guess = counter(view, senders[0], known)
    except SettingError:
        return None
    if not len(guess.labels):
        return None
    has, classes = trait.holds(known.inputs, known.labels).float(), view.network.classes
    there = torch.bincount(known.labels, minlength=classes).clamp_min(1)
    rates = torch.bincount(known.labels, has, classes) / there  # (classes,)
    return float(rates[guess.labels].mean())


def _declared(
    spy: PropertyInferenceAttack, now: Experiment, view: ServerView, known: AuxiliaryInfo
) -> dict[str, str]:
    return {
        "attacker": spy.attacker,
        "knows": spy.knows,
        "public examples": f"{len(known.labels):,}",
        "sees": "the sum over the cohort only" if view.masked is not None else "single updates",
        "truth": "the share among the examples that entered an update",
        "privacy": protection(now.privacy),
    }
