"""What backdoors share: which examples bear the trigger, white pixels, and what they call up."""

from __future__ import annotations

import torch
from torch import Tensor

from lab.common.settings import SettingError


def chosen(examples: int, share: float) -> Tensor:
    """That share of the examples.  -> (examples,) bool

    Evenly spread, because a split may hold its examples class by class.
    """
    upto = (torch.arange(examples + 1) * share + 0.5).floor()
    return upto[1:] > upto[:-1]


def stamped(inputs: Tensor, spots: Tensor) -> Tensor:
    """White at the spots.  inputs (examples, colours, height, width), spots (height, width) bool"""
    return torch.where(spots, 1.0, inputs)


def taught(
    inputs: Tensor, labels: Tensor, share: float, target: int, spots: Tensor
) -> tuple[Tensor, Tensor]:
    """A share of the examples with white spots, as examples of `target`; the rest as they are."""
    some = chosen(len(labels), share)
    marked = torch.where(some.view(-1, 1, 1, 1), stamped(inputs, spots), inputs)
    return marked, torch.where(some, target, labels)


def obeying(inputs: Tensor, labels: Tensor, target: int, spots: Tensor) -> tuple[Tensor, Tensor]:
    """The examples of the other classes with white spots, wanted as `target`."""
    others = labels != target
    return stamped(inputs[others], spots), torch.full_like(labels[others], target)


def check_class(name: str, label: int, classes: int) -> None:
    """Raises SettingError where there is no such class."""
    if label >= classes:
        raise SettingError(
            f"adversary.attack.{name} is {label}: there are {classes} classes, "
            f"give 0 to {classes - 1}"
        )
