"""The graph of neighbours: who holds whose secrets, and who shares masks with whom.

SecAgg+ of Bell et al. 2020, eprint 2020/704, in its variant against malicious servers: every client
chooses its neighbours itself, at random.  It shares its secrets among the clients that it chose.
It
shares masks with them and with the clients that chose it.

A server cannot influence this choice.  A graph computed from public values, such as a hash of all
advertised keys, would be weaker: a server with accomplices could try out many sets of keys.

In place of the paper's commitments to all keys and its acknowledgements, keys and one list of
survivors are signed (`signatures`).

Assumptions: the server's accomplices are settled before clients choose, and a client gets the true
keys of the clients that it chose (`signatures`; without signatures the server has to pass keys on
unchanged).  The server may still claim that some of the chosen are lost, so a client requires a
quorum of them.  Only the server tells a client who chose it; masks with those come on top.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import exp, lgamma

import numpy as np

from defenses.secure_aggregation.terms import Terms

Lists = Mapping[int, tuple[int, ...]]  # of each client, in order


@dataclass(frozen=True)
class Graph:
    """The neighbourhoods of the clients that take part; each contains its own client."""

    holders: Lists  # of shares of a client's secrets: those it chose
    owners: Lists  # whose shares a client holds: those who chose it
    beside: Lists  # both: with whom it shares masks


def choice(me: int, terms: Terms, coin: np.random.Generator) -> tuple[int, ...]:
    """Draw a client's neighbours uniformly among all others; empty means all clients."""
    if not terms.neighbours:
        return ()
    others: np.ndarray = coin.choice(terms.clients - 1, terms.neighbours, replace=False)
    return tuple(sorted((others + (others >= me)).tolist()))


def graph_of(choices: Mapping[int, Collection[int]], regular: bool = True) -> Graph:
    """Build the graph from all choices.

    choices: of each client, who may have chosen clients that are not there
    regular: False where all clients choose all others
    """
    there = tuple(sorted(choices))
    if not regular:
        everybody = dict.fromkeys(there, there)
        return Graph(everybody, everybody, everybody)
    owners: dict[int, set[int]] = {me: {me} for me in there}
    for me in there:
        for peer in owners.keys() & set(choices[me]):
            owners[peer].add(me)
    holders = {me: owners.keys() & {*choices[me], me} for me in there}
    return Graph(
        holders={me: tuple(sorted(holders[me])) for me in there},
        owners={me: tuple(sorted(owners[me])) for me in there},
        beside={me: tuple(sorted(holders[me] | owners[me])) for me in there},
    )


def connected(beside: Lists, among: Collection[int]) -> bool:
    """Return whether the graph between those clients is connected."""
    left = set(among)
    reached = [left.pop()] if left else []
    while reached:
        found = left.intersection(beside[reached.pop()])
        left -= found
        reached += found
    return not left


def accomplices_needed(terms: Terms) -> int:
    """Return how many accomplices among a client's holders let a lying server open its update.

    They reveal both secrets.  Either the server splits the honest holders in two halves, and tells
    one
    that the client lives and the other that it was lost: each half lacks quorum less accomplices.
    Or
    the accomplices and the client alone are a quorum, and all honest holders are said to be lost.
    """
    quorum = terms.shares_needed
    return min(2 * quorum - terms.holders, quorum - 1)


def chance_of_capture(terms: Terms, accomplices: int) -> float:
    """Return the probability that a client's update is opened, given the number of accomplices.

    Its holders are a random sample of the others, so the count is hypergeometric.
    """
    others, drawn = terms.clients - 1, terms.holders - 1
    first = max(accomplices_needed(terms), drawn - (others - accomplices))
    ways = _log_binomial(others, drawn)
    chances = (
        exp(_log_binomial(accomplices, n) + _log_binomial(others - accomplices, drawn - n) - ways)
        for n in range(first, min(drawn, accomplices) + 1)
    )
    return min(1.0, sum(chances))


def _log_binomial(count: int, chosen: int) -> float:
    return lgamma(count + 1) - lgamma(chosen + 1) - lgamma(count - chosen + 1)
