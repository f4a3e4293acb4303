"""The search for a table's records in the row space of a dense layer's gradient.

The gradient is errors^T inputs, so its rows span the inputs (Dimitrov et al. 2024,
arXiv:2403.03945,
section 3).  Petrov et al. 2024, arXiv:2405.15586, check words against a span; here answers are
checked, question by question.  Numbers and open questions are left out, and the answers so far must
lie in the span of the remaining columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from lab.interfaces.columns import Column, missing, places

STANDS_OUT = 100.0  # times that the last direction must stand above the noise
ABOVE = 10.0  # times the noise that counts as something
NEAR = 0.05  # of its length, by which an answer may leave the span at most
WHOLE = 0.05  # of its step, by which a number may miss a whole multiple: floats are rounded
ROUNDING = 1e-7  # of a stored number, about
COARSE = 0.4  # by more than this no number is told from its neighbours
STILL = 1e-6  # of a direction: numbers that change less are settled, or not known and stored as 0
TURNED = 1e-3  # of a direction: numbers that change less in it do not tell where on it one is
CROWD = 100_000  # half-answered records at most, before the search gives up


@dataclass(frozen=True, eq=False)
class Span:
    """The span of some unknown records; the last column is 1 in each of them."""

    columns: tuple[Column, ...]
    rows: Tensor  # (rank, width + 1) float64, in no particular order
    noise: float  # length of a direction that holds nothing

    @classmethod
    def of(cls, columns: Sequence[Column], gradient: Tensor) -> Span | None:
        """Compute it.  gradient (neurons, width + 1); None where nothing stands out from noise"""
        left, sizes, _ = torch.linalg.svd(gradient, full_matrices=False)
        floored = sizes.clamp_min(1e-9 * float(sizes[0]))
        gaps = floored[:-1] / floored[1:]
        if not sizes[0] > 0 or float(gaps.max()) < STANDS_OUT:
            return None
        rank = int(gaps.argmax()) + 1
        noise = float(floored[rank])
        return cls(tuple(columns), left[:, :rank].T @ gradient, noise)

    @property
    def rank(self) -> int:
        return len(self.rows)

    @property
    def blur(self) -> float:
        """Return roughly by how much noise moves a float of a record."""
        entries = self.noise / float(sum(side**0.5 for side in self.rows.shape))
        return entries / float(torch.linalg.svdvals(self.rows)[-1])

    def options(self, place: int) -> Tensor:
        """Return the answers to one question that somebody gave.  -> (options, answers)"""
        where, column = places(self.columns)[place], self.columns[place]
        given = self.rows[:, where].norm(dim=0) > ABOVE * self.noise
        each = torch.eye(column.width, dtype=torch.float64)[given]
        if column.blank or not len(each):
            each = torch.cat([each, torch.zeros(1, column.width, dtype=torch.float64)])
        return each

    def within(self, asked: Tensor, records: Tensor) -> Tensor:
        """Return whether the records lie in the span, as far as those columns tell.

        asked (some,) columns, records (records, some) -> (records,) bool
        """
        _, sizes, basis = torch.linalg.svd(self.rows[:, asked], full_matrices=False)
        basis = basis[sizes > ABOVE * self.noise]
        kept = sizes[sizes > ABOVE * self.noise]
        if not len(kept):
            return torch.ones(len(records), dtype=torch.bool)
        allowed = min(NEAR, max(1e-6, ABOVE * self.noise / float(kept[-1])))
        outside = records - (records @ basis.T) @ basis
        within: Tensor = outside.norm(dim=1) <= allowed * records.norm(dim=1)
        return within

    def solved(self, asked: Tensor, records: Tensor) -> tuple[Tensor, Tensor]:
        """Return the whole records for those columns, and directions in which they may move.

        asked (some,) columns, records (records, some) -> (records, width + 1), (free, width + 1)
        """
        left, sizes, basis = torch.linalg.svd(self.rows[:, asked], full_matrices=True)
        told = int((sizes > ABOVE * self.noise).sum())
        mixing = (records @ basis[:told].T) / sizes[:told]  # (records, told)
        return mixing @ left[:, :told].T @ self.rows, left[:, told:].T @ self.rows


def answered(span: Span) -> tuple[Tensor, Tensor] | None:
    """Return all combinations of answers that the span allows; None where there are too many.

    -> the columns that they are about (some,), and the records (records, some)
    """
    asked = torch.tensor([span.rows.shape[1] - 1])
    records = torch.ones(1, 1, dtype=torch.float64)
    spots = places(span.columns)
    choices = [place for place, column in enumerate(span.columns) if column.answers]
    # Questions with many answers in use tell most: they narrow the search down early.
    for place in sorted(choices, key=lambda place: -len(span.options(place))):
        options = span.options(place)
        if len(records) * len(options) > CROWD:
            return None
        records = torch.cat(
            [records.repeat_interleave(len(options), 0), options.repeat(len(records), 1)], dim=1
        )
        asked = torch.cat([asked, torch.arange(spots[place].start, spots[place].stop)])
        records = records[span.within(asked, records)]
    return asked, records


def completed(span: Span, asked: Tensor, records: Tensor, limits: Tensor | None = None) -> Tensor:
    """Return the answered records with their numbers.

    Where the span leaves some numbers open, there are several of each record if `limits` are given,
    and otherwise one with numbers of little worth.
    asked (some,), records (records, some), limits (2, width): how far public numbers reach
    -> (completed, width)
    """
    spots = places(span.columns)
    absent = [(spots[at].start, spots[says].start) for at, says in missing(span.columns).items()]
    places_of = {int(column): place for place, column in enumerate(asked)}
    unknown = records[:, [places_of[says] for _, says in absent]] == 1  # these are stored as 0
    found = [span.rows.new_zeros(0, span.rows.shape[1] - 1)]
    for pattern in sorted(set(map(tuple, unknown.tolist()))):
        zero = [at for (at, _), there in zip(absent, pattern, strict=True) if there]
        alike = records[(unknown == torch.tensor(pattern, dtype=torch.bool)).all(dim=1)]
        known = torch.cat([asked, torch.tensor(zero, dtype=torch.int64)])
        alike = torch.cat([alike, alike.new_zeros(len(alike), len(zero))], dim=1)
        alike = alike[span.within(known, alike)]
        whole, free = span.solved(known, alike)
        if len(free) and limits is not None:
            whole = _run_through(span, whole, free, limits)
        found.append(whole[:, :-1])
    return torch.cat(found)


def _run_through(span: Span, whole: Tensor, free: Tensor, limits: Tensor) -> Tensor:
    """Return the records with possible numbers, where the span leaves some numbers open.

    It runs through as many numbers as there are open directions, those of fewest values; the others
    must
    then come out as numbers, too.
    whole (records, width + 1), free (directions, width + 1) -> (more or fewer, width + 1)
    """
    free = torch.linalg.qr(free.T)[0].T
    stepped = {
        where.start: (column.spread / column.step, column.centre / column.step)
        for where, column in zip(places(span.columns), span.columns, strict=True)
        if column.step and free[:, where.start].norm() > STILL
    }
    ends = {
        at: (round(float(low) * scale + add), round(float(high) * scale + add))
        for at, (scale, add) in stepped.items()
        for low, high in [limits[:, at]]
    }
    values = {at: torch.arange(low, high + 1).double() for at, (low, high) in ends.items()}
    chosen: list[int] = []
    for at in sorted(stepped, key=lambda at: len(values[at])):
        turned = float(torch.linalg.svdvals(free[:, [*chosen, at]])[-1]) > TURNED
        few = prod(len(values[each]) for each in [*chosen, at]) < CROWD
        if len(chosen) < len(free) and turned and few:
            chosen.append(at)
    if len(chosen) < len(free):
        return whole
    stored = [(values[at] - stepped[at][1]) / stepped[at][0] for at in chosen]
    grid = torch.cartesian_prod(*stored).view(-1, len(chosen))
    turn = torch.linalg.inv(free[:, chosen])
    found = [whole[:0]]
    for record in whole:
        moves = (grid - record[chosen]) @ turn  # (points, directions)
        fits = torch.ones(len(moves), dtype=torch.bool)
        for at, (scale, add) in stepped.items():
            steps = (record[at] + moves @ free[:, at]) * scale + add
            # A number that is run through stands where it does only up to noise and rounding.
            moved = 1 + float((turn @ free[:, at]).norm())
            slack = WHOLE + (ABOVE * span.blur + ROUNDING) * moved * scale
            fits &= _possible(steps, ends[at], slack)
        found.append(record + moves[fits] @ free)
    return torch.cat(found)


def _possible(steps: Tensor, ends: tuple[int, int], slack: float) -> Tensor:
    """Return whether those may be whole numbers of steps.  (points,) -> (points,) bool"""
    low, high = ends
    wide = (high - low) / 2  # private numbers may lie further out than public ones
    possible = (steps > low - wide) & (steps < high + wide)
    if slack < COARSE:  # else they are too fine to be told
        possible &= (steps - steps.round()).abs() < slack
    return possible
