"""The aggregator: what the server makes of the rows that reached it, and who moved its model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lab.common.random_streams import random_stream
from lab.engine.carried_state import CarriedState, PreAggregatorMemory
from lab.engine.client.local_training import root_update
from lab.engine.differential_privacy.update_clipping import UpdateClipping
from lab.engine.differential_privacy.update_transforms import privacy_transforms
from lab.engine.server.aggregation import AggregationResult, aggregate, remembered, shortage
from lab.engine.server.influence import influence
from lab.experiment.experiment import Experiment
from lab.interfaces.aggregation import AggregationContext, AggregationDecision
from lab.interfaces.messages import Cohort, ReceivedUpdates
from lab.interfaces.poisoning import AdversaryKnowledge

KEPT, SHORTENED, LEFT_OUT = FATES = ("kept", "shortened", "left out")


@dataclass(frozen=True, eq=False)
class ServerStep:
    """What came of a delivery."""

    step: Tensor  # (shared,), or of each of several models
    complaint: str = ""  # why the step is nothing, if it is
    memory: tuple[PreAggregatorMemory, ...] = ()
    seen: dict[str, Any] = field(default_factory=dict)  # fields of the record


@dataclass(frozen=True, eq=False)
class Server:
    """It knows the settings, the model that it sent, and what it kept of the rounds before."""

    settings: Experiment  # in force in the round
    round: int
    sent: Tensor  # (params,)
    carried: CarriedState
    shared: int  # how many parameters travel: the first so many
    clipping: UpdateClipping | None = None  # of client-level privacy

    @cached_property
    def aid(self) -> AggregationContext:
        settings = self.settings
        root = (
            root_update(settings, self.round, self.sent)
            if settings.aggregation.rule.public
            else None
        )
        return AggregationContext(
            None if root is None else root[: self.shared], settings.seed, self.round
        )

    def fold(self, rows: Tensor, weights: Tensor, cohort: Cohort) -> AggregationResult:
        """rows (rows, shared), weights (rows,), of `cohort.clients` one by one"""
        kept = remembered(self.settings, self.carried.pre_aggregation, self.shared)
        return aggregate(self.settings, rows, weights, cohort, kept, self.aid)

    def insight(self, cohort: Cohort) -> AdversaryKnowledge:
        """What malicious clients know: among it, what this server would make of their rows.

        Taken as if every row arrived, each by itself.
        """
        wire = self.sent[: self.shared]
        change = self.carried.last_change

        def foreseen(rows: Tensor) -> Tensor:
            if shortage(self.settings, len(rows)):
                return rows.mean(dim=0)
            return self.fold(rows, cohort.weights, cohort).step

        fresh = None
        if cohort.malicious.any():
            drawn = random_stream(
                self.settings.seed, "a model that nobody trained"
            )  # the same in every round
            fresh = self.settings.architecture.initial(drawn)[: self.shared]
        change = None if change is None else change[: self.shared]
        return AdversaryKnowledge(sent=wire, change=change, fresh=fresh, fold=foreseen)

    def answer(
        self, delivery: ReceivedUpdates, cohort: Cohort, groups: Tensor | None
    ) -> ServerStep:
        """groups (clients,): which of several models each one trained"""
        if groups is None:
            return self._answer(delivery, cohort)
        of = dict(zip(cohort.clients, groups.tolist(), strict=True))
        answers = []
        for group in range(self.settings.training.algorithm.models):
            mine = [place for place, (one,) in enumerate(delivery.senders) if of[one] == group]
            answers.append(self._answer(_part(delivery, mine), cohort))
        complaints = [one.complaint for one in answers if one.complaint]
        return ServerStep(torch.stack([one.step for one in answers]), "; ".join(complaints))

    def _answer(self, delivery: ReceivedUpdates, everybody: Cohort) -> ServerStep:
        """Of one model."""
        rows, weights = delivery.rows, delivery.weights
        if complaint := shortage(self.settings, len(rows)):
            return ServerStep(torch.zeros(rows.shape[1]), complaint if len(rows) else "")
        if not len(rows):  # where privacy asks for noise, the sum of nobody's updates has it too
            rows, weights = torch.zeros(1, rows.shape[1]), torch.ones(1)
        for stage in privacy_transforms(self.settings, self.clipping, "server"):
            rows = stage(rows, everybody)
        cohort = _seated(everybody, delivery, weights)
        folded = self.fold(rows, weights, cohort)
        seen: dict[str, Any] = {"malicious": _malicious(everybody)}
        if self._watched:
            seen |= self._moved(delivery, everybody, folded.verdict)
        return ServerStep(folded.step, "", folded.memory, seen)

    def seen(
        self, delivery: ReceivedUpdates, everybody: Cohort
    ) -> tuple[dict[str, Any], Tensor | None]:
        """Who is malicious, who moved the model, what became of whom, as fields of the record.

        And the step (shared,), where there is one and by one rule.
        """
        known = {"malicious": _malicious(everybody)}
        if (
            shortage(self.settings, len(delivery.rows))
            or self.settings.training.algorithm.models > 1
        ):
            return known, None
        cohort = _seated(everybody, delivery, delivery.weights)
        folded = self.fold(delivery.rows, delivery.weights, cohort)
        return known | self._moved(delivery, everybody, folded.verdict), folded.step

    def _moved(
        self, delivery: ReceivedUpdates, everybody: Cohort, verdict: AggregationDecision | None
    ) -> dict[str, tuple[Any, ...]]:
        """Nothing where a row is not one client's."""
        rows, weights = delivery.rows, delivery.weights
        if not len(rows) or any(len(senders) > 1 for senders in delivery.senders):
            return {}
        cohort = _seated(everybody, delivery, weights)
        moved = influence(lambda some: self.fold(some, weights, cohort).step, rows)
        found: dict[str, tuple[Sequence[Any], Any]] = {
            "influence": (moved.weight.tolist(), 0.0),
            "share": (moved.share.tolist(), 0.0),
        }
        if verdict:
            found["verdict"] = (fates_of(verdict), LEFT_OUT)
        return {
            name: _of_all(everybody.clients, cohort.clients, values, absent)
            for name, (values, absent) in found.items()
        }

    @property
    def _watched(self) -> bool:
        """Whether it is of interest who moved the model, and worth the time."""
        settings = self.settings
        return (
            settings.adversary.count > 0
            or settings.aggregation.rule.needs_rows
            or bool(settings.aggregation.pre_aggregators)
        )


def _malicious(cohort: Cohort) -> tuple[int, ...]:
    flags = cohort.malicious.tolist()
    return tuple(one for one, bad in zip(cohort.clients, flags, strict=True) if bad)


def _part(delivery: ReceivedUpdates, places: Sequence[int]) -> ReceivedUpdates:
    some = list(places)
    return replace(
        delivery,
        rows=delivery.rows[some],
        weights=delivery.weights[some],
        senders=tuple(delivery.senders[place] for place in some),
    )


def _seated(cohort: Cohort, delivery: ReceivedUpdates, weights: Tensor) -> Cohort:
    """The cohort whose clients are those of the rows, in their order; of a sum the first."""
    place = {client: number for number, client in enumerate(cohort.clients)}
    first = [place[senders[0]] for senders in delivery.senders]
    return replace(cohort.part(first), weights=weights) if first else cohort


def fates_of(verdict: AggregationDecision) -> tuple[str, ...]:
    """One of FATES for each row."""
    pairs = zip(verdict.kept.tolist(), verdict.factors.tolist(), strict=True)
    return tuple(
        LEFT_OUT if not kept else SHORTENED if factor < 1 - 1e-6 else KEPT for kept, factor in pairs
    )


def _of_all(
    everybody: Sequence[int], there: Sequence[int], values: Sequence[Any], absent: Any
) -> tuple[Any, ...]:
    """Values of those who are there as values of everybody."""
    known = dict(zip(there, values, strict=True))
    return tuple(known.get(one, absent) for one in everybody)
