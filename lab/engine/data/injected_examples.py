"""Planting: what a run would have come to, had chosen clients held other examples.

    moments = run(planted(experiment, [Plant(client, positions, inputs, labels)]))

Everything else of the run is as it was: who holds how much, every batch, every draw of noise, what
the server knows.  So a planted run differs from the run itself by its plants alone.  It serves
attacks and audits that insert examples of their own: secrets in somebody's text, mislabelled
canaries.  Plants replace; to add examples would change what a client weighs and how long it trains.

A planted experiment is for the memory only.  As a file, and in the store, it would be the
experiment without its plants.  Data are assembled and cached under it alone, never under the
experiment that it comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import InstanceOf
from torch import Tensor

from lab.common.settings import SettingError
from lab.experiment.experiment import Experiment
from lab.interfaces.data import Partition


@dataclass(frozen=True, eq=False)
class InjectedExamples:
    """What one client holds in place of some of its examples."""

    client: int
    positions: Tensor  # (planted,) int64, each once: places among the client's own examples
    inputs: Tensor  # (planted, *shape) floats
    labels: Tensor  # (planted,)

    def __call__(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The client's examples, inputs as floats -> with the plants among them."""
        inputs, labels = inputs.clone(), labels.clone()
        inputs[self.positions], labels[self.positions] = self.inputs, self.labels
        return inputs, labels


def with_injected_examples(
    experiment: Experiment, plants: Iterable[InjectedExamples]
) -> Experiment:
    """The experiment with those plants, each in another client's data.

    To be given to whatever takes an experiment and trains.  Raises SettingError.
    """
    chosen = tuple(plants)
    if len({plant.client for plant in chosen}) < len(chosen):
        raise SettingError("a client was given two plants: give each all of its examples in one")
    for plant in chosen:
        _check(plant, experiment)
    split = Planted(honest=without_injected_examples(experiment).data.partition, plants=chosen)
    return _with_split(experiment, split)


def without_injected_examples(experiment: Experiment) -> Experiment:
    """The experiment as it was before planting."""
    split = experiment.data.partition
    return _with_split(experiment, split.honest) if isinstance(split, Planted) else experiment


class Planted(Partition):
    """A split whose clients then hold plants.  It is in no table: no file can ask for it."""

    kind: Literal["planted"] = "planted"
    honest: Partition
    plants: tuple[InstanceOf[InjectedExamples], ...]  # equal if they are the same objects

    @property
    def dealt(self) -> float:
        return self.honest.dealt

    def __call__(
        self,
        labels: np.ndarray,
        groups: np.ndarray | None,
        clients: int,
        generator: np.random.Generator,
    ) -> Sequence[np.ndarray]:
        return self.honest(labels, groups, clients, generator)

    def shift(
        self,
        client: int,
        inputs: Tensor,
        labels: Tensor,
        classes: int,
        stream: Callable[[int], np.random.Generator],
    ) -> tuple[Tensor, Tensor]:
        """As a client sees test examples, too: without plants."""
        return self.honest.shift(client, inputs, labels, classes, stream)

    def dump(self) -> Any:
        """The honest split's: plants are examples and no settings."""
        return self.honest.dump()


def _with_split(experiment: Experiment, split: Partition) -> Experiment:
    data = experiment.data.model_copy(update={"partition": split})
    return experiment.model_copy(update={"data": data})


def _check(plant: InjectedExamples, experiment: Experiment) -> None:
    clients, shape = experiment.data.clients, experiment.data.source.shape
    if not 0 <= plant.client < clients:
        raise SettingError(f"plant.client is {plant.client}: give 0 to {clients - 1}")
    if len(plant.positions.unique()) < len(plant.positions) or (plant.positions < 0).any():
        raise SettingError("plant.positions name a place twice, or one below 0: name each once")
    lengths = len(plant.positions), len(plant.inputs), len(plant.labels)
    if len(set(lengths)) > 1 or tuple(plant.inputs.shape[1:]) != shape:
        raise SettingError(
            f"plant of client {plant.client}: {lengths} positions, inputs and labels, inputs of "
            f"shape {tuple(plant.inputs.shape[1:])}: give as many of each, in shape {shape}"
        )
