"""Columns of a table: a number, or one column for each answer to a question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

NONE = -1.0  # the cell of a choice without an answer
UNKNOWN = float("inf")  # the cell of a number that is not known


@dataclass(frozen=True)
class Column:
    """A feature, as a record of the table tells it before it becomes floats.

    Its cell is a number, or the place of the answer.
    """

    name: str
    answers: tuple[str, ...] = ()  # of a choice, in order: 1 at the one given; none: a number
    blank: bool = False  # a choice may have no answer, and is all zeros then
    centre: float = 0.0  # a number is stored as (number - centre) / spread
    spread: float = 1.0
    step: float = 0.0  # numbers are whole multiples of it; 0: of nothing
    missing: str = ""  # the choice that says that this number is not known, and stored as 0

    @property
    def width(self) -> int:
        """How many floats it takes."""
        return len(self.answers) or 1

    def word(self, cell: float) -> str:
        """A cell as a person would write it: "52", "asymptomatic", "not male", "no"."""
        if not self.answers:
            return "not known" if cell == UNKNOWN else f"{cell:.10g}"
        if cell != NONE:
            return self.answers[int(cell)]
        only = self.answers[0] if len(self.answers) == 1 else ""
        return "no" if only == "yes" else f"not {only}" if only else "no answer"

    def told(self, cell: float) -> str:
        return f"{self.name} {self.word(cell)}"

    def rounded(self, numbers: Tensor) -> Tensor:
        """The nearest numbers that the column can hold."""
        if not self.step:
            return numbers
        # A step such as 0.1 is no float: the same number must always come out the same.
        return ((numbers / self.step).round() * self.step * 1e6).round() / 1e6 + 0.0  # no -0


def places(columns: Sequence[Column]) -> list[slice]:
    """Where each column's floats lie in a row."""
    ends = [sum(column.width for column in columns[:k]) for k in range(len(columns) + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]


def cells_of(columns: Sequence[Column], rows: Tensor) -> Tensor:
    """What the rows say, of answers the likeliest.  rows (records, width) -> (records, columns)

    An answer is given where its float is nearer to 1 than to 0; where none is and one must be, the
    largest counts.
    """
    found = rows.new_zeros(len(rows), len(columns), dtype=torch.float64)
    for place, (column, where) in enumerate(zip(columns, places(columns), strict=True)):
        floats = rows[:, where].double()
        if column.answers:
            largest, answer = floats.max(dim=1)
            silent = column.blank & (largest < 0.5)
            found[:, place] = answer.double().masked_fill(silent, NONE)
        else:
            found[:, place] = column.rounded(floats[:, 0] * column.spread + column.centre)
    for place, absent in missing(columns).items():
        found[:, place] = found[:, place].masked_fill(found[:, absent] == 0, UNKNOWN)
    return found


def rows_of(columns: Sequence[Column], cells: Tensor) -> Tensor:
    """The inverse of `cells_of`.  cells (records, columns) -> (records, width) floats"""
    rows = torch.zeros(len(cells), sum(column.width for column in columns), dtype=torch.float64)
    for cell, column, where in zip(cells.double().T, columns, places(columns), strict=True):
        if column.answers:
            answers = torch.arange(column.width, dtype=torch.float64)
            rows[:, where] = (cell.unsqueeze(1) == answers).double()
        else:
            known = (cell - column.centre) / column.spread
            rows[:, where.start] = known.masked_fill(cell == UNKNOWN, 0.0)
    return rows.float()


def missing(columns: Sequence[Column]) -> dict[int, int]:
    """The numbers that may be unknown, by place, and the choice that says so."""
    names = {column.name: place for place, column in enumerate(columns)}
    return {place: names[each.missing] for place, each in enumerate(columns) if each.missing}


def words(columns: Sequence[Column], cells: Tensor) -> list[str]:
    """One record in words, column by column: ["age 52", "chest pain asymptomatic"]."""
    return [column.told(cell) for column, cell in zip(columns, cells.tolist(), strict=True)]
