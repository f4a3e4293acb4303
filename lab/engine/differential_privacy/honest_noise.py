"""How much of the noise honest clients add: that of malicious ones counts for nothing.

Where each client adds a share of the noise (privacy.place distributed), a malicious client may send
none.  What is left is the share of the honest clients in the cohort.  Malicious clients who know
what others send carry those updates a second time, where no noise hides them: then nothing is
guaranteed at all.
"""

from __future__ import annotations

from collections.abc import Iterable

from lab.engine.data.malicious_clients import active_attackers, malicious_clients
from lab.engine.participation.cohort_sampling import client_rate, is_secret, select_cohort
from lab.experiment.experiment import Experiment


def relays(now: Experiment, rounds: Iterable[int]) -> bool:
    """Whether malicious clients send on, in one of these rounds, what others sent without noise."""
    privacy, adversary = now.privacy, now.adversary
    if privacy.kind != "client" or privacy.place == "local" or not adversary.count:
        return False
    return adversary.attack.sees == "updates" and any(
        active_attackers(now, round) for round in rounds
    )


def shows_cohort(now: Experiment) -> bool:
    """Whether the released model shows how many took part: malicious clients spoil its scale.

    Either the honest share of the noise depends on it, or what malicious clients send does.
    """
    if now.privacy.kind != "client" or now.privacy.place == "local" or not now.adversary.count:
        return False
    return now.privacy.place == "distributed" or now.adversary.attack.sees == "cohort"


def honest_share(now: Experiment, rounds: Iterable[int], summed: bool = False) -> float:
    """The least share of the noise's variance that honest clients add in one of these rounds.

    summed: for a server that sees masked sums before it adds any noise of its own
    """
    if now.privacy.kind != "client" or now.privacy.place != "distributed":
        return 1.0
    if not now.adversary.count:
        return 1.0
    masks = now.secure_aggregation
    most = max((_malicious_share(now, round, masks.buckets) for round in rounds), default=0.0)
    if not masks.enabled:
        return 1.0 - most
    # Under masks the fewest who can be unmasked carry all of the noise, so all together carry
    # more, and the server fills up to what no cohort exceeds.
    whole = 1.0 if summed else masks.surplus
    return max(0.0, min(1.0, whole - masks.surplus * most))


def _malicious_share(now: Experiment, round: int, buckets: int) -> float:
    """Of the clients asked; sums of buckets hold as many clients each, up to one."""
    bad = set(active_attackers(now, round))
    if not bad:
        return 0.0
    if is_secret(now):  # anybody may be asked: all malicious ones and a single honest one
        size = len(bad) + 1 if client_rate(now) < 1 else now.data.clients
        return min(len(bad), size - 1) / (size // buckets * buckets or size)
    there = select_cohort(now, round)
    if all(client in bad for client in there):  # nobody is there to be protected
        return 0.0
    return sum(client in bad for client in there) / (len(there) // buckets * buckets or len(there))


def protected(experiment: Experiment) -> str:
    """Whom a guarantee covers, where some clients are malicious; empty if all are honest."""
    if not experiment.adversary.count:
        return ""
    count = len(malicious_clients(experiment))
    return f"It covers the {experiment.data.clients - count} clients who follow the protocol."
