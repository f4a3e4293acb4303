"""Helpers of backdoors: choose examples, stamp the trigger and define the goal."""

from __future__ import annotations

import torch
from torch import Tensor

from lab.common.settings import SettingError


def chosen(examples: int, share: float) -> Tensor:
    """Choose that share of the examples.  -> (examples,) bool

    The choice is evenly spread, because a partition may hold its examples class by class.
    """
    upto = (torch.arange(examples + 1) * share + 0.5).floor()
    return upto[1:] > upto[:-1]


def stamped(inputs: Tensor, spots: Tensor) -> Tensor:
    """Whiten the spots.  inputs (examples, colours, height, width), spots (height, width) bool"""
    return torch.where(spots, 1.0, inputs)


def taught(
    inputs: Tensor, labels: Tensor, share: float, target: int, spots: Tensor
) -> tuple[Tensor, Tensor]:
    """Stamp a share of the examples and label them `target`; keep the rest unchanged."""
    some = chosen(len(labels), share)
    marked = torch.where(some.view(-1, 1, 1, 1), stamped(inputs, spots), inputs)
    return marked, torch.where(some, target, labels)


def obeying(inputs: Tensor, labels: Tensor, target: int, spots: Tensor) -> tuple[Tensor, Tensor]:
    """Stamp the examples of all other classes, and return them with the wanted label `target`."""
    others = labels != target
    return stamped(inputs[others], spots), torch.full_like(labels[others], target)


def check_class(name: str, label: int, classes: int) -> None:
    """Raise SettingError where there is no such class."""
    if label >= classes:
        raise SettingError(
            f"adversary.attack.{name} is {label}: there are {classes} classes, "
            f"give 0 to {classes - 1}"
        )
