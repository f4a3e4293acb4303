"""What tests of released steps share: one round, really run, and the noise in what it shows.

Training is replaced: a test says which update each client has trained.  All that follows is the
lab's own code: clipping, noise, poisons, masks, the server's rule and its algorithm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

import lab.common.random_streams
from defenses.privacy.discrete_gaussian import discrete_gaussian
from lab.engine.exchange import STEPS, Outgoing, Wire, protect
from lab.engine.round import run_round
from lab.engine.run_state import RunState
from lab.engine.server.server import Server, ServerStep
from lab.experiment.experiment import Experiment
from lab.interfaces.federated_algorithm import ClientUpdates, LocalTask
from lab.interfaces.messages import ReceivedUpdates

UNLIKELY = 1e-5  # that sound noise is measured as too little; seeds are fixed
NOBODY: Mapping[int, Tensor] = {}
# Where the lab draws the noise that its guarantees count.
DRAWN, DISCRETE = (
    "lab.common.random_streams.normal",
    "defenses.secure_aggregation.channel.discrete_gaussian",
)


@dataclass(frozen=True, eq=False)
class Observed:
    """What a round has shown."""

    answer: ServerStep
    delivery: ReceivedUpdates
    own: Mapping[int, Tensor]  # what each client let out of its hands, before any poison
    bits: Mapping[int, Tensor]  # and its bit of adaptive clipping
    state: RunState  # after the round

    @property
    def senders(self) -> set[int]:
        """The clients whose update is in one of the sums."""
        return {client for senders in self.delivery.senders for client in senders}

    def sums(self) -> Tensor:
        """What the server could see, as sums of updates.  -> (sums, shared)"""
        return self.delivery.rows * self.delivery.weights.unsqueeze(1)


def observed_round(
    state: RunState, cohort: Sequence[int], updates: Mapping[int, Tensor] = NOBODY
) -> Observed:
    """Run the next round.

    cohort: the clients that are asked, in order
    updates: (params,) what a client has trained; zeros for a client that is not named
    """
    answers: list[ServerStep] = []
    own: dict[int, Tensor] = {}
    bits: dict[int, Tensor] = {}

    def trained(
        _: Experiment, __: int, clients: Sequence[int], task: LocalTask, *___: Any
    ) -> ClientUpdates:
        zeros = torch.zeros(task.start.shape[-1])
        rows = [zeros if task.stays else updates.get(client, zeros) for client in clients]
        found = torch.stack(rows) if rows else zeros.new_zeros(0, len(zeros))
        return ClientUpdates(found, torch.ones(len(clients)), task.mixture)

    def guarded(wire: Wire, outgoing: Outgoing) -> Outgoing:
        found = protect(wire, outgoing)
        own.update(zip(cohort, found.updates, strict=True))
        bits.update(zip(cohort, found.clip_bits, strict=True))
        return found

    def answer(*given: Any) -> ServerStep:
        answers.append(real_answer(*given))
        return answers[-1]

    real_answer = Server.answer
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lab.engine.round.select_cohort", lambda *_: tuple(cohort))
        # What a record says besides is slow, and no client sees it.
        patch.setattr("lab.engine.round.spent", lambda *_: None)
        patch.setattr("lab.engine.round.measure", lambda *_: ({"accuracy": 0.0, "loss": None}, {}))
        patch.setattr("lab.engine.client.cohort_trainer.train_cohort", trained)
        patch.setattr("lab.engine.exchange.STEPS", (guarded, *STEPS[1:]))
        patch.setattr(Server, "answer", answer)
        moment = run_round(state)
    return Observed(answers[0], moment.transcript.delivery, own, bits, moment.state)


# --- noise ----------------------------------------------------------------------------------------


@contextmanager
def silence() -> Iterator[None]:
    """All noise of privacy is zero.  Poisons draw what they draw."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DRAWN, lambda _, *shape: torch.zeros(shape))
        patch.setattr(DISCRETE, lambda _, size, __: np.zeros(size, np.int64))
        yield


@contextmanager
def other_noise(number: int) -> Iterator[None]:
    """Noise of privacy is drawn further along in each stream.  Poisons draw what they draw."""
    normal = lab.common.random_streams.normal

    def further(generator: np.random.Generator, *shape: int) -> Tensor:
        generator.random(number)
        return normal(generator, *shape)

    def further_discrete(deviation: float, size: int, generator: Any) -> np.ndarray:
        generator.random(number)
        return discrete_gaussian(deviation, size, generator)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DRAWN, further)
        patch.setattr(DISCRETE, further_discrete)
        yield


@dataclass(frozen=True)
class Noise:
    """The noise of what somebody sees, as measured."""

    deviation: float
    draws: int

    @classmethod
    def of(cls, drawn: Sequence[Tensor]) -> Noise:
        """drawn: repetitions of the noise, each (sums, coordinates); the least noisy sum counts"""
        whole = torch.cat([one.double() for one in drawn], dim=1)  # (sums, draws)
        deviations = whole.square().mean(dim=1).sqrt()
        # Of no sums at all, none has too little noise.
        return cls(min(deviations.tolist(), default=float("inf")), whole.shape[1])

    @property
    def most(self) -> float:
        """The largest deviation that such draws still speak for."""
        return self.deviation / float(chi2.ppf(UNLIKELY, self.draws) / self.draws) ** 0.5

    @property
    def least(self) -> float:
        """The smallest one."""
        return self.deviation / float(chi2.isf(UNLIKELY, self.draws) / self.draws) ** 0.5
