"""Canary clients within the federated run. Andrew et al. 2023, arXiv:2302.03098, algorithms 1, 2.

Each sends an update in its own random direction, longer than the clip, and is sampled, clipped,
noised
and averaged as all clients are.  In high dimension such directions are nearly orthogonal.  From
round
to round they alternate in sign, so that what others do along them cancels out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from lab.audits.audit import Audit, AuditedRun, CanaryScores, claimed, log_ratios
from lab.audits.faults import Fault
from lab.common.random_streams import normal, random_stream
from lab.common.settings import SettingError
from lab.engine.differential_privacy.accountant import Adversary, noise_multiplier
from lab.engine.injected_clients import InjectedClients
from lab.engine.participation.cohort_sampling import client_rate, select_cohort
from lab.engine.round import run_round
from lab.engine.run import initial_state
from lab.experiment.experiment import Experiment
from lab.models.architectures import Modality

LONG = 10.0  # a canary's update, in clips
MOST = 250_000_000  # numbers in all canaries' updates: 1 GB
PLAYED: tuple[Fault, ...] = (
    "none",
    "noise-halved",
    "no-clipping",
    "denominator-from-batch",
    "always-sampled",
)


class ClientCanary(Audit):
    """Adds clients that send random directions to the run, and bounds client-level privacy."""

    kind: Literal["client-canary"] = "client-canary"
    title: ClassVar[str] = "Canary clients"
    source: ClassVar[str] = "Andrew et al. 2023, arXiv:2302.03098, algorithms 1 and 2"
    reads: ClassVar[tuple[Modality, ...]] = ("pictures", "table", "text")
    against: ClassVar[Adversary] = "public"
    attacker: ClassVar[str] = "an auditor who has the models"
    knows: ClassVar[str] = "every canary's update, and all settings"
    fails: ClassVar[str] = (
        "runs without a guarantee for one client, and runs that hide updates under masks"
    )

    canaries: int = Field(
        500, ge=100, le=20_000, description="number of canary clients, of which half are included"
    )
    sees: Literal["all", "final"] = Field(
        "all", description="the models that the auditor sees: of all rounds, or only the last one"
    )

    def refuse(self, past: AuditedRun) -> None:
        claimed(self, past, "client")
        if self.fault not in PLAYED:
            raise SettingError(
                f"fault is {self.fault}, which {self.kind} does not play: choose from "
                f"{', '.join(PLAYED)}, or audit one example with one-run"
            )
        params = past.experiment.architecture.size
        if self.canaries * params > MOST:
            raise SettingError(
                f"canaries is {self.canaries}, too many for a model of {params:,} parameters: "
                f"give {max(100, MOST // params)} or fewer, or a smaller model"
            )
        for round in range(1, past.round + 1):
            _suits(past.experiment.at(round))
        sampled = ("always-sampled", "denominator-from-batch")
        if self.fault in sampled and client_rate(past.experiment.at(1)) >= 1:
            raise SettingError(
                f"fault is {self.fault}, and everybody is in every cohort anyway: choose another "
                "fault, or audit a run with fewer training.clients_per_round"
            )

    def __call__(self, past: AuditedRun) -> Iterator[CanaryScores]:
        self.refuse(past)
        stage = CanaryClients.of(self, past)
        state = initial_state(past.experiment)
        ratios, sums = torch.zeros(2, self.canaries, dtype=torch.float64)
        for round in range(1, past.round + 1):
            played, guests = stage.enter(round)
            moment = run_round(replace(state, experiment=played), guests)
            seen = stage.seen(round, moment.state.model - state.model)
            state = replace(moment.state, experiment=past.experiment)
            noise = noise_multiplier(past.experiment, round)
            rate = client_rate(past.experiment.at(round))
            ratios += log_ratios(seen, noise, rate)
            sums += seen / noise**2
            scores = {"sum": sums.numpy().copy()}
            if self.sees == "all" and rate < 1:
                scores = {"likelihood ratio": ratios.numpy().copy(), **scores}
            yield CanaryScores(round, stage.inside, scores)


def _suits(now: Experiment) -> None:
    """Raise SettingError where canary clients cannot take part as others do."""
    network, privacy, algorithm = now.network, now.privacy, now.training.algorithm
    refused = {
        "privacy.sampling fixed": privacy.sampling == "fixed" and client_rate(now) < 1,
        "privacy.place local": privacy.place == "local",
        "privacy.quantile": privacy.adapts,
        "secure_aggregation.enabled": now.secure_aggregation.enabled,
        f"training.algorithm.kind {algorithm.kind}": algorithm.kind != "fedavg",
        f"aggregation.rule.kind {now.aggregation.rule.kind}": now.aggregation.rule.needs_rows,
        "aggregation.pre_aggregators": bool(now.aggregation.pre_aggregators),
        f"network.compression.kind {network.compression.kind}": network.compression.kind != "none",
        "network.devices": network.devices != "none",
    }
    for name, given in refused.items():
        if given:
            raise SettingError(
                f"client-canary knows what a plain run does to a canary's update, and here is "
                f"{name}: audit a run without it"
            )


@dataclass(frozen=True, eq=False)
class CanaryClients:
    """The canary clients of a run, numbered after all others."""

    audit: ClientCanary
    experiment: Experiment
    inside: np.ndarray  # (canaries,) bool
    directions: Tensor  # (canaries, params) of length 1

    @classmethod
    def of(cls, audit: ClientCanary, past: AuditedRun) -> CanaryClients:
        generator = random_stream(past.experiment.seed, "canary directions")
        drawn = normal(generator, audit.canaries, past.experiment.architecture.size)
        drawn /= torch.linalg.vector_norm(drawn, dim=1, keepdim=True)  # (canaries, params)
        return cls(audit, past.experiment, past.draw(audit.canaries), drawn)

    def enter(self, round: int) -> tuple[Experiment, InjectedClients]:
        """Return the experiment of that round, and the canaries that are drawn."""
        now, clients = self.experiment.at(round), self.experiment.data.clients
        found = select_cohort(self.experiment, round, len(self.inside))
        there = {one - clients for one in found if one >= clients}
        if self.audit.fault == "always-sampled":
            there = set(range(len(self.inside)))
        mine = [one for one in sorted(there) if self.inside[one]]
        came = len(found) - len([one for one in found if one >= clients]) + len(mine)
        rows = self._sign(round) * LONG * now.privacy.clip * self.directions[mine]
        expected = self._expected(now)
        if self.audit.fault == "denominator-from-batch":
            expected = float(max(1, came))
        return self._broken(round, came), InjectedClients(
            tuple(clients + one for one in mine), rows, expected
        )

    def _broken(self, round: int, came: int) -> Experiment:
        fault, now = self.audit.fault, self.experiment.at(round)
        if fault in ("none", "always-sampled"):
            return self.experiment
        noise = noise_multiplier(self.experiment, round)
        if fault == "noise-halved":
            return now.changed({"privacy.noise": noise / 2})
        if fault == "no-clipping":  # as much noise, and a clip that no canary reaches
            longer = min(2 * LONG * now.privacy.clip, 1000.0)
            slack = longer / now.privacy.clip
            return now.changed({"privacy.clip": longer, "privacy.noise": noise / slack})
        # The noise stays what it is, beside a sum that is divided by those who came.
        return now.changed({"privacy.noise": noise * max(1, came) / self._expected(now)})

    def _expected(self, now: Experiment) -> float:
        """Return the expected cohort; it is public, because about half of the canaries are in."""
        return now.cohort_size + client_rate(now) * len(self.inside) / 2

    def _sign(self, round: int) -> float:
        """Return the direction's sign; it alternates where the auditor sees every round."""
        return (-1.0) ** round if self.audit.sees == "all" else 1.0

    def seen(self, round: int, change: Tensor) -> Tensor:
        """Return each canary's projection of the model's change, in clips.  (canaries,)

        change (params,)
        """
        now = self.experiment.at(round)
        unit = now.privacy.clip * float(now.training.algorithm.dump()["rate"])
        along = (self.directions @ change).double()
        return self._sign(round) * along * self._expected(now) / unit
