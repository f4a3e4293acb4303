"""What tests of released steps share: two neighbouring worlds, and what is stated about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import isfinite

import torch
from torch import Tensor

from defenses.secure_aggregation.channel import Masked
from lab.engine.data.malicious_clients import active_attackers
from lab.engine.differential_privacy.accountant import Adversary, spent
from lab.engine.exchange import channel
from lab.engine.participation.cohort_sampling import select_cohort
from lab.engine.round import Round
from lab.engine.run import initial_state
from lab.engine.run_state import RunState
from lab.experiment.experiment import Experiment
from tests.support.observed_rounds import Noise, Observed, observed_round, other_noise, silence

ADVERSARIES: tuple[Adversary, ...] = ("public", "server")
ROUNDED = 1e-3  # relative, of float32
LONG = 1e3  # an update that clipping shortens, in clips
REPETITIONS = 2  # of a measurement of noise


@dataclass(frozen=True, eq=False)
class Setting:
    """A round of a run under client-level privacy, and one honest client in it."""

    experiment: Experiment
    state: RunState  # before the round
    cohort: tuple[int, ...]
    client: int

    @classmethod
    def of(cls, experiment: Experiment, round: int) -> Setting | None:
        """The run as far as that round, with random updates.  None: it asks nobody honest."""
        cohort, bad = select_cohort(experiment, round), active_attackers(experiment, round)
        honest = [client for client in cohort if client not in bad]
        if not honest:
            return None
        state = initial_state(experiment)
        for past in range(1, round):
            before = select_cohort(experiment, past)
            rows = torch.randn(len(before), len(state.model), generator=torch.manual_seed(past))
            state = observed_round(state, before, dict(zip(before, rows, strict=True))).state
        return cls(experiment, state, cohort, honest[round % len(honest)])

    @property
    def round(self) -> int:
        return self.state.round + 1

    @property
    def now(self) -> Experiment:
        return self.experiment.at(self.round)

    @property
    def clip(self) -> float:
        found = Round.begin(self.state, self.cohort).clipping
        assert found is not None
        return found.bound

    def shown(self, observed: Observed, adversary: Adversary) -> Tensor:
        """What that adversary sees of a round, in clips.  -> (sums, shared)

        With place local, a client trusts nobody: what leaves its hands is looked at by itself.
        """
        if self.now.privacy.place == "local":
            return observed.own[self.client].unsqueeze(0) / self.clip
        if adversary == "server":
            return observed.sums() / self.clip
        return observed.answer.step.unsqueeze(0) * self.now.cohort_size / self.clip

    def noise(self, adversary: Adversary) -> Noise:
        """Of what that adversary sees, in clips: what a round without updates shows."""
        still = self.shown(self._still, adversary)
        return Noise.of([self.shown(one, adversary) - still for one in self._noisy])

    @cached_property
    def _still(self) -> Observed:
        with silence():
            return observed_round(self.state, self.cohort)

    @cached_property
    def _noisy(self) -> list[Observed]:
        found = []
        for number in range(REPETITIONS):
            with other_noise(number):
                found.append(observed_round(self.state, self.cohort))
        return found

    def moved(self, adversary: Adversary, absent: bool) -> float:
        """How far the client moves what is seen, in clips and at most, without noise.

        absent: also if its neighbour is a world in which the client is not asked; otherwise only
        if it sends zeros there
        """
        pairs = [*self._against_zeros, *(self._against_absence if absent else [])]
        apart = (
            self.shown(here, adversary) - self.shown(there, adversary)
            for here, there in pairs
            # If masks were taken off in one world only, that is an event of some probability,
            # and no length: delta must cover it.
            if here.senders - {self.client} == there.senders - {self.client}
        )
        return max((float(each.norm()) for each in apart), default=0.0)

    @cached_property
    def _here(self) -> list[tuple[Observed, dict[int, Tensor]]]:
        """Rounds with the client, and what all others have trained in each."""
        with silence():
            return [
                (observed_round(self.state, self.cohort, {**others, self.client: own}), others)
                for own, others in worst_of(self)
            ]

    @cached_property
    def _against_zeros(self) -> list[tuple[Observed, Observed]]:
        with silence():
            return [
                (here, observed_round(self.state, self.cohort, others))
                for here, others in self._here
            ]

    @cached_property
    def _against_absence(self) -> list[tuple[Observed, Observed]]:
        rest = tuple(one for one in self.cohort if one != self.client)
        with silence():
            return [(here, observed_round(self.state, rest, others)) for here, others in self._here]


def worst_of(setting: Setting) -> Iterator[tuple[Tensor, dict[int, Tensor]]]:
    """Updates of the client and of all others with which it may move a sum far."""
    others = [one for one in setting.cohort if one != setting.client]
    generator, params = torch.manual_seed(setting.round), len(setting.state.model)
    long = LONG * setting.clip * torch.randn(params, generator=generator)
    yield long, {}
    yield long, dict.fromkeys(others, -long)
    strangers = setting.clip * torch.randn(len(others), params, generator=generator)
    yield long, dict(zip(others, strangers, strict=True))
    wire = channel(setting.now, Round.begin(setting.state, setting.cohort).clipping)
    if isinstance(wire, Masked):
        yield rounded_up(setting, wire.ring(len(setting.cohort) // wire.buckets).step), {}


def rounded_up(setting: Setting, ring_step: float) -> Tensor:
    """An update within the clip, of which many coordinates lie just above half a step of the ring.

    What is left of the clip lies in one coordinate of each layer.
    """
    now = setting.now
    found = torch.zeros(len(setting.state.model))
    shared = now.training.algorithm.shared(now.architecture)
    parts = now.architecture.sizes(shared) if now.privacy.per_layer else (shared,)
    bound, half, start = 0.999 * setting.clip / len(parts) ** 0.5, 0.501 * ring_step, 0
    for size in parts:
        many = min(size - 1, int((bound / half) ** 2))
        found[start : start + many] = half
        found[start + size - 1] = (bound**2 - many * half**2) ** 0.5
        start += size
    return found


# --- statements -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Statement:
    """What the accountant says of a round."""

    noise: float  # multiplier
    against: str
    added: bool  # a neighbour is without the record; otherwise the record is nothing there

    @classmethod
    def of(cls, experiment: Experiment, round: int, adversary: Adversary) -> Statement | None:
        """None: nothing is guaranteed."""
        guarantee = spent(experiment, round, adversary)
        if guarantee is None or not isfinite(guarantee.epsilon):
            return None
        added = "added or removed" in guarantee.relation
        return cls(guarantee.noise[-1], guarantee.against, added)


@dataclass(frozen=True)
class Measured:
    """A statement about a round, and what was measured there."""

    experiment: Experiment
    round: int
    stated: Statement
    moved: float  # how far one record moves what is seen
    noise: Noise

    @property
    def sound(self) -> bool:
        """Whether a record is hidden as well as stated."""
        return self.moved * self.stated.noise <= self.noise.most * (1 + ROUNDED)

    def __str__(self) -> str:
        settings = [f"{path}={v}" for path, v in self.experiment.overrides_as_text().items()]
        found = self.noise.deviation / self.moved if self.moved else float("inf")
        return (
            f"{' '.join(settings)}\nround {self.round}, against {self.stated.against}: the noise "
            f"multiplier is {found:.4g}, and {self.stated.noise:.4g} is stated; one record moves "
            f"what is seen by {self.moved:.4g}, beside noise of {self.noise.deviation:.4g} "
            f"({self.noise.draws} draws)"
        )


def measured(experiment: Experiment, round: int) -> list[Measured]:
    """Every statement about that round of a run under client-level privacy, in clips."""
    stated = {one: Statement.of(experiment, round, one) for one in ADVERSARIES}
    setting = Setting.of(experiment, round) if any(stated.values()) else None
    if setting is None:
        return []
    return [
        Measured(experiment, round, what, setting.moved(one, what.added), setting.noise(one))
        for one, what in stated.items()
        if what
    ]
