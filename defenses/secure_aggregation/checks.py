"""The client's checks of a round against its public terms, and its refusals.

The server draws no graph, sets no threshold and decides on no size of a sum.  It can still announce
a small round: clients believe how many are asked, and take part from three on.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from defenses.secure_aggregation.terms import FEWEST, Terms


class Refused(Exception):
    """Raised when a client refuses a request that would not be safe to answer."""

    def __init__(self, client: int, what: str) -> None:
        super().__init__(f"client {client} {what}")
        self.client, self.what = client, what

    def named(self, who: Sequence[int]) -> str:
        """Return the client's message, with its number in the federation, not in the round."""
        return f"client {who[self.client]} {self.what}"


def check_neighbours(
    me: int, terms: Terms, chosen: Collection[int], holders: Collection[int], threshold: int
) -> None:
    """Check that a client may share its secrets among those holders.  Raises Refused.

    chosen: the neighbours that it chose; empty: all clients
    """
    if terms.clients < FEWEST:
        sums = f"takes part in no sum of {terms.clients}: {FEWEST} clients are the fewest"
        raise Refused(me, sums)
    strangers = {*holders} - {me} - ({*chosen} if terms.neighbours else {*range(terms.clients)})
    if strangers:
        reason = "it did not choose" if terms.neighbours else "were not announced"
        raise Refused(me, f"was told of {len(strangers)} neighbours that {reason}")
    needed, most = terms.shares_needed, terms.holders
    if len(holders) < needed:
        fewest = f"and {needed} of {most} are the fewest, itself included"
        raise Refused(me, f"was told of a neighbourhood of {len(holders)}, {fewest}")
    if threshold < needed:
        told = f"with threshold {threshold} of {len(holders)}"
        raise Refused(me, f"does not share its secrets {told}: {needed} of {most} were announced")


def check_survivors(me: int, terms: Terms, alive: Collection[int]) -> None:
    """Check that a client may sign that list of survivors.  Raises Refused."""
    fewest = max(terms.threshold, FEWEST)
    if me not in alive or len(set(alive)) < fewest:
        raise Refused(
            me,
            f"signs no list of {len(set(alive))} survivors: itself and {fewest - 1} others of "
            f"{terms.clients} are the fewest",
        )
