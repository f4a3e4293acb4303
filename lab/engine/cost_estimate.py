"""Estimate: how many bytes and seconds one round of a run takes, from its settings alone.

It is right to an order of magnitude, which is what it takes to refuse a round of hours.  The rates
are fitted to second rounds of 32 experiments on one core of an AMD EPYC, with one thread for each
operation; `python -m benchmarks.estimates` measures them again.  Not counted: the data, what the
first round prepares, and what a page or an attack does with a round afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from lab.experiment.experiment import Experiment
from lab.interfaces.federated_algorithm import Algorithm
from lab.models.network import Network

# Seconds on one core.
OPERATION = 1 / 50e9  # of training; Network.work counts them
STEP = 1e-9  # for each parameter of a client in a local step
ROW = 14e-9  # for each parameter of an update on its way to the server
RULE = 200e-9  # for each parameter of an update in a rule or stage that needs single ones
PAIR_OF_ROWS = 0.5e-9  # for each parameter of a pair of updates that is compared
POISON = 100e-9  # for each parameter of an update, where malicious clients adapt to it
DRAW = 10e-9  # of seeded noise, for each coordinate
SECURE_DRAW = 60e-9  # of noise from the operating system
OPACUS = 5e-9  # for each parameter and example
MASKS = 130e-6  # for each pair of clients that share a mask
MASK = 1.4e-9  # for each parameter and pair
SIGNATURES = 450e-6  # for each pair, where lists are signed
OWN_TESTS = 5000  # examples on which a client's own model is tested
PAIRWISE = ("krum", "multi-krum", "bulyan", "mda", "flame", "nnm", "foolsgold")

NUMBER = 4  # bytes
COPIES = 2.5  # of all updates at the peak of a plain round
COPIES_MASKED = 4.0
COPIES_PRIVATE = 6.0
COPIES_OF_RULE = 8.0  # with what it takes to tell each client's influence
STACKED = 60  # models that train at once, with their gradients and buffers
OPACUS_LIBRARY = 400e6  # what importing it takes


@dataclass(frozen=True)
class Estimate:
    """What one round takes."""

    updates: float  # bytes of all updates and of what clients carry on: the least it can take
    bytes: float  # at the peak
    seconds: float  # on one core
    slowest: str  # what most of the seconds go to: training, masks or rule
    stored: float  # bytes of the model, which is kept


def estimated(now: Experiment) -> Estimate:
    """One round under settings without changes."""
    params, _ = _network(now.architecture)
    updates = _cohort(now) * params * NUMBER * now.training.algorithm.models
    kept = now.training.algorithm.keeps + now.network.error_feedback
    carried = now.data.clients * params * NUMBER * kept
    parts = {"training": _training(now), "masks": _masks(now), "rule": _rule(now)}
    return Estimate(
        updates=updates + carried,
        bytes=updates * _copies(now) + 3 * carried + _workspace(now),
        seconds=sum(parts.values()),
        slowest=max(parts, key=lambda name: parts[name]),
        stored=params * NUMBER,
    )


def stretches(experiment: Experiment, done: int = 0) -> Iterator[Experiment]:
    """The settings of the next round, then those after each later change, in one pass.

    done: rounds that are finished
    """
    now = experiment.model_copy(update={"changes": ()})
    later = []
    for change in sorted(experiment.changes, key=lambda change: change.round):
        if change.round > done + 1:
            later.append(change)
        else:
            now = now.changed(change.set)
    yield now
    for change in later:
        now = now.changed(change.set)
        yield now


def size(bytes: float) -> str:
    """In words, such as 1.3 GB."""
    for unit, one in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if bytes >= one:
            return f"{bytes / one:.3g} {unit}"
    return "less than 1 MB"


def duration(seconds: float) -> str:
    """In words, such as 2.5 hours."""
    for unit, one in (("days", 86400), ("hours", 3600), ("minutes", 60), ("seconds", 1)):
        if seconds >= 1.5 * one:
            return f"{seconds / one:.2g} {unit}"
    return "a second or less"


@lru_cache(maxsize=256)
def _network(network: Network) -> tuple[int, float]:
    """Parameters, and operations of training on one example."""
    return network.size, network.work


def _cohort(now: Experiment) -> int:
    """Clients that train in a round."""
    return min(now.data.clients, ceil(now.cohort_size * (1 + now.network.spare)))


def _training(now: Experiment) -> float:
    params, work = _network(now.architecture)
    recipe, clients = now.recipe, _cohort(now)
    held = max(1, round(recipe.mean_size))
    steps, seen = recipe.local_steps(held), recipe.seen(held)
    each = seen * work * OPERATION + steps * params * STEP
    if now.privacy.kind == "example":
        each += steps * params * (SECURE_DRAW if now.privacy.secure_noise else DRAW)
        each += seen * params * OPACUS if now.privacy.backend == "opacus" else 0.0
    each *= now.training.algorithm.models
    if type(now.training.algorithm).own is not Algorithm.own:  # clients train and test their own
        each = 2 * each + OWN_TESTS * work / 3 * OPERATION
    return clients * each


def _masks(now: Experiment) -> float:
    """Those of pairs: their number grows with the square of the clients, or with neighbours."""
    masks, clients = now.secure_aggregation, _cohort(now)
    if not masks.enabled:
        return 0.0
    params, _ = _network(now.architecture)
    group = clients / masks.buckets
    pairs = clients * min(group - 1, masks.neighbours or group) / 2
    return pairs * (MASKS + params * MASK + masks.signatures * SIGNATURES)


def _rule(now: Experiment) -> float:
    """All that is done with updates between training and the next model."""
    params, _ = _network(now.architecture)
    clients = _cohort(now)
    numbers = clients * params
    seconds = numbers * ROW
    if now.privacy.kind == "client":
        seconds += numbers * (SECURE_DRAW if now.privacy.secure_noise else DRAW)
    rule = 0.0
    if now.choosy:
        kinds = [
            now.aggregation.rule.kind,
            *(stage.kind for stage in now.aggregation.pre_aggregators),
        ]
        rule = numbers * RULE * len([kind for kind in kinds if kind != "mean"])
        rule += clients * numbers * PAIR_OF_ROWS * sum(kind in PAIRWISE for kind in kinds)
    if now.adversary.count:
        seconds += numbers * POISON + clients * numbers * PAIR_OF_ROWS
        rule *= 2  # some of them try the rule before they send anything
    return seconds + rule


def _copies(now: Experiment) -> float:
    copies = [COPIES]
    copies += [COPIES_MASKED] if now.secure_aggregation.enabled else []
    copies += [COPIES_PRIVATE] if now.privacy.kind == "client" else []
    copies += [COPIES_OF_RULE] if now.choosy else []
    return max(copies)


def _workspace(now: Experiment) -> float:
    """What training needs besides the updates."""
    params, _ = _network(now.architecture)
    models = min(STACKED, 3 * _cohort(now))
    if now.privacy.backend == "opacus":
        gradients = 2 * now.training.batch_size  # one of each example
        return OPACUS_LIBRARY + (models + gradients) * params * NUMBER
    return models * params * NUMBER
