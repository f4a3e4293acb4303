"""Dossier: which cells of a table's private records an attack got right, beside a guess of each.

Exact records count most: single cells are often right by guessing the commonest answer, which is
why recovered cells alone overstate a leak.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from lab.common.settings import Settings
from lab.interfaces.attack_data import ReconstructedBatch
from lab.interfaces.columns import Column, cells_of
from lab.scoring.reconstruction.image_scorer import ReconstructionScorer, label_share

GAIN = 0.05  # share of the cells over the best guess, before anything is called a leak


class Pair(Settings):
    """A guessed record and the private one that it is held against."""

    guess: int  # its place in the guess
    truth: int  # the place of the private record
    right: int  # cells that are the same
    label_right: bool


class RecordScore(Settings):
    """A reconstruction's score on a table.  Private records that nobody guessed count as wrong."""

    kind: Literal["records"] = "records"
    pairs: tuple[Pair, ...]
    private: int  # records
    guessed: int
    columns: tuple[str, ...]
    right: tuple[float, ...]  # of each column, share of the private records
    common: tuple[float, ...]  # the same for the commonest cell of public records
    exact: float  # share of the private records that are right in every cell
    precision: float  # share of the guessed records that are
    cells: float  # share of all private cells that are right
    labels: float  # share of the private labels that were named, as multisets
    floors: dict[str, float]  # share of cells of each guess that needs no gradient
    chance: float  # share of the private records that those guesses have exactly
    nearest: float  # share of cells of the most similar other training record; it needs the truth

    @property
    def floor(self) -> float:
        """The best guess without the gradient."""
        return max(self.floors.values())

    @property
    def found(self) -> int:
        """Private records that are right in every cell."""
        return sum(pair.right == len(self.columns) for pair in self.pairs)

    @property
    def verdict(self) -> str:
        if self.found == self.private and self.chance < 1:
            return "exact: every record" + (", and false ones" if self.precision < 1 else "")
        if self.exact > self.chance:
            return f"partly exact: {self.found} of {self.private} records to the last cell"
        if self.cells > max(self.nearest, self.floor) + GAIN:
            return "recognisable: nearer than any other training record"
        if self.cells > self.floor + GAIN:
            return "partial: better than a guess, not nearer than another training record"
        return "no better than a guess without the gradient"

    def lines(self) -> list[str]:
        floors = ", ".join(f"{name} {value:.0%}" for name, value in self.floors.items())
        each = zip(self.columns, self.right, self.common, strict=True)
        return [
            self.verdict,
            f"records exact: {self.found} of {self.private}; {self.precision:.0%} of the "
            f"{self.guessed} guessed are",
            f"cells right: {self.cells:.0%} (guesses without the gradient: {floors})",
            f"most similar other training record: {self.nearest:.0%} of cells",
            f"labels right: {self.labels:.0%}",
            "right by column (commonest): "
            + ", ".join(f"{name} {mine:.0%} ({guess:.0%})" for name, mine, guess in each),
        ]


@dataclass(frozen=True, eq=False)
class RecordScorer:
    """Knows the private records as the judge does, and reads them cell by cell.

    Two cells are the same if they are the same answer, or numbers that round to the same step.
    """

    columns: tuple[Column, ...]
    judge: ReconstructionScorer
    _shares: dict[int, dict[str, tuple[float, float]]] = field(default_factory=dict, repr=False)

    @cached_property
    def private(self) -> Tensor:
        return cells_of(self.columns, self.judge.inputs)  # (private, columns)

    @cached_property
    def public(self) -> Tensor:
        return cells_of(self.columns, self.judge.public)  # (public, columns)

    @cached_property
    def nearest(self) -> float:
        others = cells_of(self.columns, self.judge.others)  # (pool, columns)
        best = [(others == record).double().mean(dim=1).max() for record in self.private]
        return float(torch.stack(best).mean())

    @cached_property
    def common(self) -> Tensor:
        """The commonest cell of each column.  -> (columns,)"""
        return self.public.mode(dim=0).values

    def guesses(self, count: int) -> dict[str, Tensor]:
        """So many records, made up without the gradient."""
        some = torch.linspace(0, len(self.public) - 1, count).long()
        return {
            "commonest cells": self.common.expand(count, -1),
            "public records": self.public[some],
        }

    def shares(self, count: int) -> dict[str, tuple[float, float]]:
        """What so many guesses reach: share of the private cells, share of whole records.

        count: as many as the attack made, and one for each private record at least
        """
        if count in self._shares:
            return self._shares[count]
        found = self._shares[count] = {}
        for name, records in self.guesses(count).items():
            same = [
                records[mine] == self.private[true] for mine, true in paired(records, self.private)
            ]
            cells = torch.stack(same)
            found[name] = float(cells.double().mean()), float(cells.all(dim=1).double().mean())
        return found

    def score(self, guess: ReconstructedBatch) -> RecordScore:
        mine = cells_of(self.columns, guess.inputs)
        pairs, total = paired(mine, self.private), torch.zeros_like(self.private, dtype=torch.bool)
        for one, true in pairs:
            total[true] = mine[one] == self.private[true]
        exact = total.all(dim=1)
        labels, true_labels = guess.labels, self.judge.labels
        guessed = self.shares(max(len(mine), len(self.private)))
        return RecordScore(
            pairs=tuple(
                Pair(
                    guess=one,
                    truth=true,
                    right=int(total[true].sum()),
                    label_right=bool(labels[one] == true_labels[true]),
                )
                for one, true in pairs
            ),
            private=len(self.private),
            guessed=len(mine),
            columns=tuple(column.name for column in self.columns),
            right=tuple(total.double().mean(dim=0).tolist()),
            common=tuple((self.private == self.common).double().mean(dim=0).tolist()),
            exact=float(exact.double().mean()),
            precision=float(exact.sum()) / max(1, len(mine)),
            cells=float(total.double().mean()),
            labels=label_share(labels, true_labels),
            floors={name: cells for name, (cells, _) in guessed.items()},
            chance=max(whole for _, whole in guessed.values()),
            nearest=self.nearest,
        )


def paired(guesses: Tensor, truths: Tensor) -> list[tuple[int, int]]:
    """The pairing with most cells right, whole records first; as many as the shorter side has.

    guesses (guessed, columns), truths (private, columns)
    """
    from scipy.optimize import linear_sum_assignment

    if not len(guesses):
        return []
    same = torch.stack([(guesses == truth).sum(dim=1) for truth in truths], dim=1)
    columns = truths.shape[1]
    gain = same + len(truths) * columns * (same == columns)
    mine, true = linear_sum_assignment(-gain.numpy())
    return [(int(one), int(other)) for one, other in zip(mine, true, strict=True)]
