"""Shadow models: what the run's recipe makes of other data. Shokri et al. 2017, arXiv:1610.05820.

Each is a whole federation that trains on half of a pool; the two of a pair share it out between
them, so that every example is inside of half of the models (Carlini et al. 2022, arXiv:2112.03570,
section 4).  All of them train at once, by the code that trains a cohort, and their updates go
through the code that a run's go through.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lab.common.random_streams import random_stream
from lab.engine.carried_state import CarriedState
from lab.engine.client.local_training import FederationTask, train_federations
from lab.engine.differential_privacy.accountant import noise_multiplier
from lab.engine.exchange import ExchangeResult
from lab.engine.participation.cohort_sampling import dropped_clients, select_cohort
from lab.engine.round import Round
from lab.experiment.experiment import Experiment
from lab.experiment.sections import (
    AdversarySettings,
    AggregationSettings,
    SecureAggregationSettings,
)
from lab.interfaces.aggregation import Codec
from lab.interfaces.attack_data import Candidates
from lab.interfaces.data import Examples, FederatedDataset, Partition
from lab.interfaces.federated_algorithm import Algorithm
from lab.interfaces.messages import Cohort


@dataclass(frozen=True, eq=False)
class ShadowRound:
    """Shadow federations after a round."""

    round: int
    models: Tensor  # (shadows, params)
    sent: Tensor  # (shadows, params) what the round began with
    rows: list[Tensor]  # of each shadow: (arrived, params) what its server got in the round
    clients: list[tuple[int, ...]]  # of each shadow: whose rows those are
    holders: Tensor  # (shadows, pool) int64: the client of each that holds it, -1 for none

    @property
    def inside(self) -> Tensor:
        """(shadows, pool) bool"""
        return self.holders >= 0


def shadow_rounds(
    experiment: Experiment,
    rounds: int,
    pool: Candidates,
    which: Sequence[int],
    start: Tensor | None = None,
) -> Iterator[ShadowRound]:
    """Train the shadows of those numbers, round after round.

    A shadow follows from the `recipes`, the pool and its number alone, whoever trains beside it.
    The pool may hold pictures as bytes, which takes a quarter of the memory; it is never copied.

    start: the model that all begin with, where the attacker knows it; None: each with its own
    """
    # An operation on one thread sums in one order, so numbers do not depend on the machine's cores.
    torch.set_num_threads(1)
    planned = recipes(experiment, rounds)
    federations = [shadow_dataset(experiment, pool, number) for number in which]
    everybody = torch.stack([holders(each) for each in federations])
    seeds = [_seed(experiment, number) for number in which]
    models = initial(experiment, which) if start is None else start.expand(len(seeds), -1)
    carried = [CarriedState() for _ in seeds]
    for round, recipe in enumerate(planned, start=1):
        twins = [recipe.model_copy(update={"seed": seed}) for seed in seeds]
        lots = [
            FederationTask(twin, federation, select_cohort(twin, round), model)
            for twin, federation, model in zip(twins, federations, models, strict=True)
        ]
        rounds_of_all = [
            Round(lot.now, round, lot.now, _cohort_of(lot, round), lot.start, before)
            for lot, before in zip(lots, carried, strict=True)
        ]
        trained = train_federations(lots, round)
        found = [each.exchange(rows) for each, rows in zip(rounds_of_all, trained, strict=True)]
        ahead = [_ahead(each, one) for each, one in zip(rounds_of_all, found, strict=True)]
        carried = [CarriedState(residuals=one.residuals, clip=one.next_clip) for one in found]
        sent, models = models, torch.stack(ahead)
        rows = [one.delivery.rows for one in found]
        whose = [tuple(sender for (sender,) in one.delivery.senders) for one in found]
        yield ShadowRound(round, models, sent, rows, whose, everybody)


def recipes(experiment: Experiment, rounds: int) -> tuple[Experiment, ...]:
    """What a shadow's clients and server do in each round, all but the seed.

    It is federated averaging as the run's settings have it, with the run's privacy and its noise,
    whatever else the run does: nobody is malicious, nothing is masked or packed.
    """
    firsts = sorted({1, *(change.round for change in experiment.changes)})
    planned = {first: _plain(experiment, first) for first in firsts if first <= rounds}
    now, found = None, []
    for round in range(1, rounds + 1):
        now = planned.get(round, now)
        assert now is not None  # the first round has a plan
        found.append(now)
    return tuple(found)


def _plain(experiment: Experiment, round: int) -> Experiment:
    now, usual = experiment.at(round), Algorithm.pick("fedavg")
    own = now.training.algorithm
    privacy: dict[str, Any] = {"secure_noise": False, "backend": "engine", "stop": False}
    if now.privacy.kind != "none":
        privacy["noise"] = noise_multiplier(experiment, round)  # of the run, to whose end it leads
    training = {"rounds": 1, "algorithm": own if own.kind == usual.kind else usual}
    network = {"compression": Codec.pick("none"), "error_feedback": False}
    return now.model_copy(
        update={
            "training": now.training.model_copy(update=training),
            "privacy": now.privacy.model_copy(update=privacy),
            "secure_aggregation": SecureAggregationSettings(),
            "adversary": AdversarySettings(),
            "aggregation": AggregationSettings(),
            "network": now.network.model_copy(update=network),
        }
    )


def initial(experiment: Experiment, which: Sequence[int]) -> Tensor:
    """The models that they begin with.  -> (shadows, params)"""
    seeds = [_seed(experiment, number) for number in which]
    drawn = [experiment.architecture.initial(random_stream(seed, "model")) for seed in seeds]
    return torch.stack(drawn)


def shadow_dataset(experiment: Experiment, pool: Candidates, number: int) -> FederatedDataset:
    """Its half of the pool, dealt out as the run deals out its data.

    At random, where that goes by real owners: nobody knows whose the pool's examples are.
    """
    data, half = experiment.data, _half(experiment, pool, number)
    split = Partition.pick("iid") if data.source.groups else data.partition
    drawn = random_stream(_seed(experiment, number), "split")
    shares = split(pool.labels.numpy()[half], None, data.clients, drawn)
    examples = Examples(pool.inputs, pool.labels, pool.inputs[:0], pool.labels[:0])
    return FederatedDataset.of(examples, [half[share] for share in shares])


def holders(federation: FederatedDataset) -> Tensor:
    """The client that holds each example of the pool, -1 for none.  -> (pool,)"""
    found = torch.full((len(federation.labels),), -1)
    for client in federation.everyone:
        found[federation.held(client)] = client
    return found


def _seed(experiment: Experiment, number: int) -> int:
    return int(random_stream(experiment.seed, "shadow", number).integers(2**31))


def _half(experiment: Experiment, pool: Candidates, number: int) -> np.ndarray:
    """Positions in the pool; what the other of the pair leaves."""
    order = random_stream(experiment.seed, "halves", number // 2).permutation(len(pool.labels))
    return np.sort(order[number % 2 :: 2])


def _cohort_of(lot: FederationTask, round: int) -> Cohort:
    now, sizes = lot.now, lot.federation.sizes[list(lot.clients)]
    recipe = now.recipe
    gone = set(dropped_clients(now, round))
    return Cohort(
        seed=now.seed,
        round=round,
        clients=lot.clients,
        weights=sizes.float() if recipe.weighted else torch.ones(len(sizes)),
        malicious=torch.zeros(len(sizes), dtype=torch.bool),
        lost=torch.tensor([client in gone for client in lot.clients], dtype=torch.bool),
        expected=float(now.cohort_size),
        seen=torch.tensor([recipe.seen(size) for size in sizes.tolist()]),
        layers=now.architecture.sizes(len(lot.start)),
    )


def _ahead(round: Round, exchanged: ExchangeResult) -> Tensor:
    """The next model, from what arrived.  -> (params,)"""
    if not len(exchanged.delivery.rows) and round.clipping is None:
        return round.sent
    rate = float(round.settings.training.algorithm.dump()["rate"])
    return round.sent + rate * round.aggregate(exchanged).step
