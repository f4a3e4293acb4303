"""Aborts: how often one client decides whether a masked sum is opened, which everybody sees.

A round below the threshold of secure aggregation releases noise alone.  Where the cohort is a
secret sample, one client more or less can lift the round over the threshold, or push it below: the
threshold grows with the cohort.  Then the sum moves by as many updates as were, or would have been,
in it, and not by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lab.experiment.experiment import Experiment
from lab.interfaces.opening_threshold import FEWEST_IN_SUM, enough

NEGLIGIBLE = 1e-18  # a chance that is not looked at
UNSEEN = 1e-13  # the chance of larger sums, which counts as a failure of the guarantee


@dataclass(frozen=True)
class Deciding:
    """What can happen in a round in which one client more makes the difference."""

    chance: float = 0.0  # that it does, if the client takes part
    reach: int = 1  # by how many updates the released sum then moves, at most
    beyond: float = 0.0  # the chance that it moves by more


def deciding(now: Experiment) -> Deciding | None:
    """How often a client that takes part decides whether the sum is opened.

    None where it is not known: buckets or neighbourhoods with lost clients, deadlines, and
    malicious clients, who may stay silent.
    """
    masks, network, clients = now.secure_aggregation, now.network, now.data.clients
    if not masks.enabled:
        return Deciding()
    lossy = network.dropout > 0
    if (
        network.deadline
        or now.adversary.count
        or (lossy and (masks.buckets > 1 or masks.neighbours))
    ):
        return None
    rate = now.cohort_size / clients
    if lossy:
        return _at_the_threshold(clients - 1, rate, network.dropout, masks.threshold)
    return _too_few(clients - 1, rate, masks.buckets)


@lru_cache(maxsize=256)
def _too_few(others: int, rate: float, buckets: int) -> Deciding:
    """Where nobody is lost, a sum is opened unless fewer than three were asked for it."""
    from scipy.stats import binom  # where it is used: it takes a while, and most runs need none

    if buckets == 1:
        return Deciding(float(binom.pmf(FEWEST_IN_SUM - 1, others, rate)), FEWEST_IN_SUM)
    needed = FEWEST_IN_SUM * buckets
    return Deciding(float(binom.cdf(needed - 1, others, rate)), needed)


@lru_cache(maxsize=256)
def _at_the_threshold(others: int, rate: float, dropout: float, share: float) -> Deciding:
    """One client more, lost or not, changes whether enough have answered."""
    from scipy.stats import binom

    by_reach = np.zeros(others + 2)  # the chance of each number of updates in the sum
    asked = np.arange(others + 1)
    chances = binom.pmf(asked, others, rate)
    for count in asked[chances > NEGLIGIBLE].tolist():
        without, within = (enough(share, size, FEWEST_IN_SUM) for size in (count, count + 1))
        answered = np.arange(max(0, min(without, within) - 1), min(count, within) + 1)
        opened = answered >= without
        changed = (opened != (answered + 1 >= within)) | (opened != (answered >= within))
        those = answered[changed]
        by_reach[those + 1] += chances[count] * binom.pmf(those, count, 1 - dropout)
    above = by_reach[::-1].cumsum()[::-1]  # the chance of that many or more
    reach = int(np.flatnonzero(above > UNSEEN).max(initial=1))
    beyond = float(above[reach + 1]) if reach + 1 < len(above) else 0.0
    return Deciding(float(by_reach[: reach + 1].sum()), reach, beyond)
