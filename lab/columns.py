"""Columns of a table: a number, or one column for each answer to a question."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A feature, as a record of the table tells it before it becomes floats."""

    name: str
    answers: tuple[str, ...] = ()  # of a choice, in order: 1 at the one given; none: a number
    blank: bool = False  # a choice may have no answer, and is all zeros then
    centre: float = 0.0  # a number is stored as (number - centre) / spread
    spread: float = 1.0
    step: float = 0.0  # numbers are whole multiples of it; 0: of nothing

    @property
    def width(self) -> int:
        """How many floats it takes."""
        return len(self.answers) or 1
