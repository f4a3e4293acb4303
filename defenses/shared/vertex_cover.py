"""The smallest set of rows that touches every conflict: vertex cover by a bounded search tree."""

from __future__ import annotations

Conflicts = dict[int, int]  # of each row that has any: the rows that it conflicts with, as bits


def cover(conflicts: Conflicts, spare: int) -> int | None:
    """Find at most `spare` rows, as bits, whose removal leaves no conflict; None if impossible.

    The search is exact.  In the worst case the time grows as 1.47 to the power of `spare`.
    """
    taken = 0
    while conflicts:
        counts = {row: others.bit_count() for row, others in conflicts.items()}
        worst = max(counts, key=counts.__getitem__)
        if sum(counts.values()) > 2 * spare * counts[worst]:  # each row ends so many at most
            return None
        chosen = _sure(conflicts, counts, worst, spare)
        if not chosen:
            return _either(conflicts, worst, spare, taken)
        conflicts, spare, taken = _without(conflicts, chosen), spare - 1, taken | chosen
    return taken


def _sure(conflicts: Conflicts, counts: Conflicts, worst: int, spare: int) -> int:
    """Return a row that is plainly in some smallest cover, otherwise 0."""
    if counts[worst] > spare:  # otherwise all its others would have to be taken
        return 1 << worst
    for row, count in counts.items():
        if count == 1:  # whatever ends this conflict, the other one ends no fewer
            return conflicts[row]
    return 1 << worst if counts[worst] == 2 else 0  # nothing but rings: any row breaks one


def _either(conflicts: Conflicts, worst: int, spare: int, taken: int) -> int | None:
    """Return a cover with the row of most conflicts, or else with all rows it conflicts with."""
    for chosen in (1 << worst, conflicts[worst]):
        rest = cover(_without(conflicts, chosen), spare - chosen.bit_count())
        if rest is not None:
            return taken | chosen | rest
    return None


def _without(conflicts: Conflicts, gone: int) -> Conflicts:
    left = {row: others & ~gone for row, others in conflicts.items() if not gone >> row & 1}
    return {row: others for row, others in left.items() if others}
