"""Few rows that have a share in every conflict: a vertex cover, by a bounded search tree."""

from __future__ import annotations

Conflicts = dict[int, int]  # of each row that has any: the rows that it conflicts with, as bits


def cover(conflicts: Conflicts, spare: int) -> int | None:
    """At most `spare` rows, as bits, without which no conflict is left; None: there are none.

    Exact.  At worst the time grows as 1.47 to the power of `spare`.
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
    """A row that some smallest cover has, if that is plain; otherwise 0."""
    if counts[worst] > spare:  # otherwise all its others would have to be taken
        return 1 << worst
    for row, count in counts.items():
        if count == 1:  # whatever ends this conflict, the other one ends no fewer
            return conflicts[row]
    return 1 << worst if counts[worst] == 2 else 0  # nothing but rings: any row breaks one


def _either(conflicts: Conflicts, worst: int, spare: int, taken: int) -> int | None:
    """A cover that has the row with most conflicts, or else all with which it conflicts."""
    for chosen in (1 << worst, conflicts[worst]):
        rest = cover(_without(conflicts, chosen), spare - chosen.bit_count())
        if rest is not None:
            return taken | chosen | rest
    return None


def _without(conflicts: Conflicts, gone: int) -> Conflicts:
    left = {row: others & ~gone for row, others in conflicts.items() if not gone >> row & 1}
    return {row: others for row, others in left.items() if others}
