"""Assembly: the federation that an experiment describes, honest and as poisoned."""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np

from lab.experiment import Experiment
from lab.federation import Examples, Federation
from lab.parts import Poison, Source, Split
from lab.rng import stream
from lab.sections import Adversary, Data

# A few are kept, because pages and attacks come back to the same data again and again.
KEPT = 4


def assemble(experiment: Experiment) -> Federation:
    """Every client with its own, honest data."""
    return _assemble(experiment.data, experiment.seed)


def malicious(experiment: Experiment) -> tuple[int, ...]:
    """The malicious clients.  A larger count adds to a smaller one's, never replaces it."""
    order = stream(experiment.seed, "malicious").permutation(experiment.data.clients)
    return tuple(sorted(int(client) for client in order[: experiment.adversary.count]))


def poisoned(experiment: Experiment) -> Federation:
    """The federation as it trains: malicious clients hold what their poison made of their data."""
    return _poisoned(experiment.data, experiment.seed, experiment.adversary, malicious(experiment))


@lru_cache(maxsize=KEPT)
def _assemble(data: Data, seed: int) -> Federation:
    examples = _load(data.source)
    order = stream(seed, "examples").permutation(len(examples.labels))
    used = np.sort(order[: data.shared()])
    labels, groups = examples.labels.numpy(), examples.groups
    owners = None if groups is None else groups.numpy()[used]
    shares = data.split(labels[used], owners, data.clients, stream(seed, "split"))
    federation = Federation.of(examples, [used[share] for share in shares])
    if type(data.split).shift is Split.shift:  # it leaves examples alone
        return federation
    classes, streams = len(data.source.classes), partial(stream, seed, "shift")
    return federation.rewritten(
        federation.everyone,
        lambda client, inputs, labels: data.split.shift(client, inputs, labels, classes, streams),
    )


@lru_cache(maxsize=KEPT)
def _poisoned(
    data: Data, seed: int, adversary: Adversary, attackers: tuple[int, ...]
) -> Federation:
    if not attackers or type(adversary.poison).data is Poison.data:  # it leaves data alone
        return _assemble(data, seed)
    classes = len(data.source.classes)
    return _assemble(data, seed).rewritten(
        attackers, lambda client, inputs, labels: adversary.poison.data(inputs, labels, classes)
    )


@lru_cache(maxsize=KEPT)
def _load(source: Source) -> Examples:
    return source.load()
