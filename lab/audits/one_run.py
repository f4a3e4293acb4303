"""One training run with many canaries. Steinke et al. 2023, arXiv:2305.08846.

Canaries are gradients, inserted among the examples of one client (Nasr et al. 2023,
arXiv:2302.07956).  From step to step a canary pushes its coordinate up and down in turn, so that
other examples' effect there cancels out, and so does noise that is repeated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from lab.audits.audit import Audit, AuditedRun, CanaryScores, claimed, log_ratios
from lab.audits.canary_gradients import CanaryCoordinates, Planting
from lab.audits.faults import batch_round, broken, everywhere, noise_round
from lab.common.random_streams import private_stream, random_stream
from lab.common.settings import SettingError
from lab.engine.client.batches import batches
from lab.engine.client.local_training import private_steps
from lab.engine.data.federation import training_data
from lab.engine.differential_privacy.accountant import Adversary, noise_multiplier
from lab.engine.differential_privacy.dp_sgd import DpSgdMechanism
from lab.engine.participation.cohort_sampling import select_cohort
from lab.experiment.experiment import Experiment
from lab.models.architectures import Modality
from lab.models.network import Network

LONG = 10.0  # a canary's gradient, in clips
APART = 0.25  # share of the canaries that are kept for layers other than the largest


class OneRun(Audit):
    """Inserts gradient canaries among a client's examples; gives the tightest audit of DP-SGD."""

    kind: Literal["one-run"] = "one-run"
    title: ClassVar[str] = "Gradient canaries (one run)"
    source: ClassVar[str] = (
        "Steinke et al. 2023, arXiv:2305.08846; Nasr et al. 2023, arXiv:2302.07956"
    )
    reads: ClassVar[tuple[Modality, ...]] = ("pictures", "table", "text")
    against: ClassVar[Adversary] = "server"
    attacker: ClassVar[str] = "an auditor who sees a client's model after each of its local steps"
    knows: ClassVar[str] = "every canary's gradient and when it would be used, and all settings"
    fails: ClassVar[str] = (
        "runs without a guarantee for one example, and runs with shuffled batches"
    )

    beside: int = Field(
        100, ge=0, le=100_000, description="number of the client's own examples beside the canaries"
    )

    def refuse(self, past: AuditedRun) -> None:
        claimed(self, past, "example")
        for round in range(1, past.round + 1):
            now = past.experiment.at(round)
            if now.privacy.sampling != "poisson":
                raise SettingError(
                    "privacy.sampling is fixed, of which the accountant itself only knows between "
                    "which bounds it lies: audit a run with poisson"
                )
            if now.privacy.backend != "engine":
                raise SettingError(
                    f"{self.kind} audits the engine's own mechanism, and privacy.backend is "
                    f"{now.privacy.backend}: audit a run with engine"
                )
        network = past.experiment.architecture
        if self.canaries > network.size // 2:
            raise SettingError(
                f"canaries is {self.canaries}, and each needs a parameter of its own out of "
                f"{network.size:,}: give {network.size // 2} or fewer"
            )
        self._playable(past)

    def _playable(self, past: AuditedRun) -> None:
        """Raise SettingError where the fault breaks nothing."""
        now, network = past.experiment.at(past.round), past.experiment.architecture
        harmless = {
            "noise-on-one-layer": (len(network.trained) == 1, f"{network.model.kind} has but one"),
            "always-sampled": (now.recipe.poisson == 1, "every batch holds everybody anyway"),
            "denominator-from-batch": (now.recipe.poisson == 1, "every batch is of one size"),
            "reseeded-each-round": (past.round == 1, "there is one round only"),
        }
        breaks_nothing, why = harmless.get(self.fault, (False, ""))
        if breaks_nothing:
            raise SettingError(f"fault is {self.fault}, and {why}: choose another fault")

    def __call__(self, past: AuditedRun) -> Iterator[CanaryScores]:
        self.refuse(past)
        inside, client = past.draw(self.canaries), _busiest(past)
        bench = CanaryTrial.of(self, past, client, inside)
        ratios, sums = torch.zeros(2, self.canaries, dtype=torch.float64)
        for round in range(1, past.round + 1):
            if client in select_cohort(past.experiment, round):
                seen, noise, rate = bench.play(round, past.sent(round))
                ratios += log_ratios(seen, noise, rate).sum(dim=0)
                sums += seen.sum(dim=0) / noise**2
            yield CanaryScores(round, inside, bench.told(ratios.numpy(), sums.numpy()))


def _busiest(past: AuditedRun) -> int:
    """Return the client that is asked most often: the claim counts its rounds."""
    if past.client is not None:
        return past.client
    turns = Counter(
        c for round in range(1, past.round + 1) for c in select_cohort(past.experiment, round)
    )
    return max(sorted(turns), key=lambda client: turns[client], default=0)


@dataclass(frozen=True, eq=False)
class CanaryTrial:
    """One client with its canaries."""

    audit: OneRun
    experiment: Experiment
    client: int
    inside: np.ndarray  # (canaries,) bool
    spots: CanaryCoordinates
    apart: np.ndarray  # (canaries,) bool: in a layer other than the largest

    @classmethod
    def of(cls, audit: OneRun, past: AuditedRun, client: int, inside: np.ndarray) -> CanaryTrial:
        network = past.experiment.architecture
        generator = random_stream(past.experiment.seed, "canary coordinates")
        coordinates, apart = _coordinates(network, len(inside), generator)
        spots = CanaryCoordinates.of(network, torch.from_numpy(coordinates))
        return cls(audit, past.experiment, client, inside, spots, apart)

    def play(self, round: int, sent: Tensor) -> tuple[Tensor, float, float]:
        """Run one round from the model that was sent, and return each canary's effect step by step.

        -> (steps, canaries) in clips, the noise there, the chance of a canary to be in a step
        """
        now, fault = self.experiment.at(round), self.audit.fault
        federation = training_data(now, round)
        held = federation.held(self.client)[: self.audit.beside]
        planted, drawn_in = np.flatnonzero(self.inside), batch_round(fault, round)
        own, last = len(held), len(held) + len(planted)
        drawn = everywhere(fault, batches(now, drawn_in, self.client, last), own, last)
        slopes = [self._slope(now, round, step) for step in range(len(drawn))]
        guard = self.guard(round, own)
        planting = Planting(
            broken(guard, fault),
            now.architecture,
            self.spots,
            iter(
                (torch.from_numpy(planted[batch[batch >= own] - own]), slope)
                for batch, slope in zip(drawn, slopes, strict=True)
            ),
            [],
        )
        mine = [held.numpy()[batch[batch < own]] for batch in drawn]
        private_steps(now, federation, mine, sent, planting)
        unit = now.training.rate * now.privacy.clip / float(guard.expected())
        signs = -torch.sign(torch.tensor(slopes, dtype=torch.float64)).unsqueeze(1)
        seen = torch.stack(planting.steps).double() * signs / unit  # (steps, canaries)
        return seen, guard.noise, now.recipe.poisson or 1.0

    def guard(self, round: int, own: int) -> DpSgdMechanism:
        """Return the engine's mechanism for a client with so many examples and its canaries."""
        now = self.experiment.at(round)
        drawn_in = noise_round(self.audit.fault, round)
        return DpSgdMechanism(
            now,
            noise_multiplier(self.experiment, round),
            # The denominator is public, and no coin changes it: about half of the canaries are in.
            torch.tensor([own + len(self.inside) // 2]),
            [private_stream(now.seed, now.nonce, "example noise", drawn_in, self.client)],
        )

    def _slope(self, now: Experiment, round: int, step: int) -> float:
        return LONG * now.privacy.clip * (-1.0) ** (round + step)

    def told(self, ratios: np.ndarray, sums: np.ndarray) -> dict[str, np.ndarray]:
        """Return the correct mechanism's likelihood ratio, and scores that find known bugs.

        Plain sums cancel noise that comes twice; small layers may have been left without any.
        """
        found = {"likelihood ratio": ratios.copy()}
        if not np.allclose(ratios - ratios.mean(), sums - sums.mean()):  # no sampling
            found["sum"] = sums.copy()
        if self.apart.any() and not self.apart.all():
            found["canaries outside the largest layer"] = np.where(self.apart, sums, np.nan)
        return found


def _coordinates(
    network: Network, canaries: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Choose a parameter for each canary, and return which lie outside of the largest layer."""
    sizes = network.sizes(network.size)
    starts = np.cumsum([0, *sizes])
    largest = int(np.argmax(sizes))
    inner = np.arange(starts[largest], starts[largest + 1])
    outer = np.setdiff1d(np.arange(network.size), inner)
    few = max(min(len(outer), round(APART * canaries)), canaries - len(inner))
    chosen = np.concatenate(
        [
            generator.choice(outer, few, replace=False) if few else np.zeros(0, np.int64),
            generator.choice(inner, canaries - few, replace=False),
        ]
    )
    order = generator.permutation(canaries)
    return chosen[order], (np.arange(canaries) < few)[order]
