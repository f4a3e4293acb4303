"""Obedience: test examples as the attacker prepares them, and what the model says of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from lab.engine.data.federation import federated_dataset
from lab.engine.evaluation.round_metrics import goal_of
from lab.engine.run_state import RunState
from lab.experiment.experiment import Experiment
from lab.models.inputs import as_floats
from lab.models.metrics import predictions

SHOWN = 8  # examples
SOUGHT = 500  # test examples that they are chosen from


@dataclass(frozen=True, eq=False)
class BackdoorSample:
    """One example that the attacker wants read as something else."""

    plain: Tensor | None  # (colours, height, width) as it was; None: it is no test example
    shown: Tensor  # (colours, height, width) as the model gets it
    truth: str  # its class; empty: it has none
    before: str  # what the model says of it as it was
    says: str
    wanted: str

    @property
    def caption(self) -> str:
        obeyed = "obeys" if self.says == self.wanted else "does not obey"
        whose = f"{self.truth}: " if self.truth else ""
        if self.plain is None or torch.equal(self.plain, self.shown):
            return f"{whose}read as {self.says}, {obeyed}"
        return f"{whose}without the trigger {self.before}, with it {self.says}, {obeyed}"


def backdoor_samples(after: RunState) -> tuple[BackdoorSample, ...]:
    """Of the model after a round; none where the attacker has no goal, or examples are no pictures.

    One of each class, as far as the attacker minds them.
    """
    now = after.experiment.at(after.round)
    names, network = now.data.source.classes, now.architecture

    def read(picture: Tensor) -> str:
        return names[int(predictions(network, after.model, picture.unsqueeze(0)))]

    return tuple(
        BackdoorSample(
            plain=plain,
            shown=shown,
            truth="" if truth is None else names[truth],
            before=read(shown if plain is None else plain),
            says=read(shown),
            wanted=names[wanted],
        )
        for plain, shown, truth, wanted in islice(_prepared(now), SHOWN)
    )


def _prepared(now: Experiment) -> Iterator[tuple[Tensor | None, Tensor, int | None, int]]:
    """Examples as they were and as the model gets them, their class, and the one wanted."""
    goal, poison, federation = goal_of(now), now.adversary.attack, federated_dataset(now)
    if goal is None or goal[0].ndim != 4:
        return
    if poison.stranger:
        yield from ((None, shown, None, int(wanted)) for shown, wanted in zip(*goal, strict=True))
        return
    labels = federation.test_labels[:SOUGHT].tolist()
    for place in _mixed(labels):
        inputs = as_floats(federation.test_inputs[place : place + 1])
        found = poison.goal(inputs, federation.test_labels[place : place + 1])
        if found and len(found[0]):
            yield inputs[0], found[0][0], labels[place], int(found[1][0])


def _mixed(labels: list[int]) -> list[int]:
    """Places in such an order that the first of every class come before the second of any."""
    met: Counter[int] = Counter()
    order = []
    for place, label in enumerate(labels):
        order.append((met[label], label, place))
        met[label] += 1
    return [place for _, _, place in sorted(order)]
