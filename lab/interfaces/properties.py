"""Traits: properties of an example that may be asked for, whatever its label is trained for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from lab.common.settings import SettingError, shown
from lab.interfaces.columns import Column, places
from lab.interfaces.views import AuxiliaryInfo

BRIGHT = "bright"


@dataclass(frozen=True, eq=False)
class Property:
    """A property, and how to tell it."""

    name: str
    told: str  # in words
    holds: Callable[[Tensor, Tensor], Tensor]  # inputs, labels (examples,) -> (examples,) bool


def property_of(asked: str, known: AuxiliaryInfo, classes: int) -> Property:
    """`label=3`, `bright` (pictures), or an answer of a table, such as `sex=Female`.

    Raises SettingError, with what there is, for any other.
    """
    name, _, value = asked.partition("=")
    if name == "label" and value.isdecimal() and int(value) < classes:
        label = int(value)
        return Property(
            asked,
            f"is of class {label}, which is a property that the task itself asks for",
            lambda inputs, labels: labels == label,
        )
    if asked == BRIGHT and known.inputs.ndim == 4:
        middle = brightness(known.inputs).median()
        return Property(
            asked,
            "is brighter than half of the public pictures",
            lambda inputs, labels: brightness(inputs) > middle,
        )
    for column, where in zip(known.columns, places(known.columns), strict=True):
        if column.name == name and value in column.answers:
            cell = where.start + column.answers.index(value)
            return Property(asked, f"has {name} {value}", partial(_is_one, cell))
    there = "; ".join(_there(known, classes))
    raise SettingError(f"property is {shown(asked)}: choose from {there}")


def _is_one(cell: int, inputs: Tensor, labels: Tensor) -> Tensor:
    return inputs[:, cell] > 0.5


def brightness(inputs: Tensor) -> Tensor:
    """-> (pictures,)"""
    return inputs.flatten(1).mean(dim=1)


def _there(known: AuxiliaryInfo, classes: int) -> list[str]:
    found = [f"label=0 to label={classes - 1}"]
    if known.inputs.ndim == 4:
        found.append(BRIGHT)
    return found + [_asked(column) for column in known.columns if column.answers]


def _asked(column: Column) -> str:
    """Its first few answers."""
    some = ", ".join(column.answers[:3])
    return f"{column.name}={some}" + (" ..." if len(column.answers) > 3 else "")
