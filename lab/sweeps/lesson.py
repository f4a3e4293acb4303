"""Lesson: whether what a sweep of attacks measured bears out the sentence that it stands for.

Rows or columns of the sweep say what is expected of their places.  A lesson is borne out when every
expected place that could be attacked is as expected under every seed, and not otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lab.scoring.reconstruction.image_scorer import EXACT, GAIN
from lab.sweeps.cell_result import AttackSummary
from lab.sweeps.result_table import ResultTable, TableCell
from lab.sweeps.sweep import Sweep
from lab.sweeps.variant import Claim

CLAIMS = {
    "exact": f"exact: every picture above {EXACT:g} dB, or every label right",
    "leaks": f"leaking: more than {GAIN:g} dB over the best guess (median over examples), or some "
    "example exact, or in the words of its score better than a guess",
    "stopped": f"stopped: at most {GAIN:g} dB over the best guess (median over examples) and no "
    "example exact, or in the words of its score no better than a guess",
}


@dataclass(frozen=True)
class Lesson:
    """What was expected, and what was found."""

    sentence: str
    expected: tuple[tuple[TableCell, Claim], ...]  # places, refused ones too
    rule: str

    @property
    def told(self) -> list[tuple[TableCell, Claim]]:
        """Those that were attacked."""
        return [(entry, claim) for entry, claim in self.expected if entry.leaks]

    @property
    def against(self) -> list[tuple[TableCell, Claim]]:
        return [(entry, claim) for entry, claim in self.told if not _holds(entry, claim)]

    @property
    def waiting(self) -> int:
        """Places that may still speak against it."""
        return sum(entry.word in ("waiting", "failed") for entry, _ in self.expected)

    @property
    def state(self) -> Literal["borne out", "not borne out", "open"]:
        if self.against:
            return "not borne out"
        return "open" if self.waiting or not self.told else "borne out"

    def lines(self) -> list[str]:
        """The state in a sentence, and each place that is otherwise than expected."""
        agree, refused = len(self.told) - len(self.against), len(self.expected) - len(self.told)
        refused -= self.waiting
        words = {
            "borne out": f"Borne out: all {agree} places are as the sentence says",
            "not borne out": f"Not borne out: {agree} of {len(self.told)} places are as it says",
            "open": f"Open: {len(self.told)} of {len(self.expected)} places are measured",
        }
        left = f"; {refused} could not be attacked and count for nothing" if refused else ""
        return [words[self.state] + left + "."] + [
            f"{entry.row} / {entry.column}: expected {claim}, found {_found(entry)}"
            for entry, claim in self.against
        ]


def lesson_of(tally: ResultTable) -> Lesson:
    sweep = tally.sweep
    expected = tuple(
        (entry, claim)
        for row, line in zip(sweep.rows, tally.entries, strict=True)
        for column, entry in zip(sweep.columns, line, strict=True)
        if (claim := row.expects or column.expects)
    )
    return Lesson(sweep.lesson, expected, _rule(sweep))


def _rule(sweep: Sweep) -> str:
    """How it is judged, with the places."""
    found: dict[str, list[str]] = {}
    for variant in (*sweep.rows, *sweep.columns):
        if variant.expects:
            found.setdefault(variant.expects, []).append(variant.label)
    told = [
        f"places of {' and '.join(f'“{label}”' for label in labels)} must be {CLAIMS[claim]}"
        for claim, labels in found.items()
    ]
    seeds = f", under each of {len(sweep.seeds)} seeds" if len(sweep.seeds) > 1 else ""
    return f"The rule: {'; '.join(told)}{seeds}."


def _holds(entry: TableCell, claim: Claim) -> bool:
    return all(_fits(leak, claim) for leak in entry.leaks.values())


def _fits(leak: AttackSummary, claim: Claim) -> bool:
    if claim == "exact":
        return leak.exact
    return leak.stopped == (claim == "stopped")


def _found(entry: TableCell) -> str:
    return "; ".join(dict.fromkeys(leak.told() for leak in entry.leaks.values()))
