"""Public data: examples of the server's own, for rules that compare updates with one it trusts.

They are training examples that no client holds, where there are enough.  Otherwise they are test
examples, which then do not count in any accuracy of that round: nobody is tested on what moved the
model.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from lab.common.random_streams import random_stream
from lab.common.settings import SettingError
from lab.engine.data.federation import KEPT, OWN_TEST, federated_dataset, shifts, whole
from lab.experiment.experiment import Experiment
from lab.experiment.sections import DataSettings
from lab.interfaces.data import Examples, FederatedDataset


def root_dataset(now: Experiment) -> FederatedDataset:
    """The server as a client of its own, who holds the public examples that the rule asks for.

    Raises SettingError where there are too few.
    """
    federation = federated_dataset(now)
    free, spent = _drawn(now.data, now.seed, now.aggregation.rule.public)
    inputs, labels = federation.inputs[free], federation.labels[free]
    if len(spent):
        inputs, labels = federation.test_inputs[spent], federation.test_labels[spent]
    examples = Examples(inputs, labels, federation.test_inputs, federation.test_labels)
    return FederatedDataset.of(examples, [np.arange(len(labels))])


def test_data(now: Experiment) -> FederatedDataset:
    """The honest federation, and of its test examples those that are not public data."""
    if not now.aggregation.rule.public:
        return federated_dataset(now)
    return _tested(now.data, now.seed, now.aggregation.rule.public)


def outsiders(now: Experiment) -> Tensor:
    """Pool indices that neither a client holds nor the server.  -> (outsiders,)"""
    free = federated_dataset(now).outsiders()
    if not now.aggregation.rule.public:
        return free
    return free[~torch.isin(free, _drawn(now.data, now.seed, now.aggregation.rule.public)[0])]


@lru_cache(maxsize=KEPT)
def _tested(data: DataSettings, seed: int, size: int) -> FederatedDataset:
    federation = whole(data, seed)
    kept = torch.ones(len(federation.test_labels), dtype=torch.bool)
    kept[_drawn(data, seed, size)[1]] = False
    inputs, labels = federation.test_inputs[kept], federation.test_labels[kept]
    return replace(federation, test_inputs=inputs, test_labels=labels)


@lru_cache(maxsize=KEPT)
def _drawn(data: DataSettings, seed: int, size: int) -> tuple[Tensor, Tensor]:
    """Pool indices, or indices of test examples; one of the two is empty."""
    federation, none = whole(data, seed), torch.zeros(0, dtype=torch.int64)
    free, tests = federation.outsiders(), len(federation.test_labels)
    if len(free) >= size:
        order = random_stream(seed, "public").permutation(len(free))[:size]
        return free[torch.from_numpy(np.sort(order))], none
    # The first test examples are every client's own test, where the split changes them.
    first = OWN_TEST if shifts(data) else 0
    if size > (tests - first) // 2:
        raise SettingError(
            f"aggregation.rule.root is {size}, and {len(free)} training examples are nobody's: "
            f"give {max(1, (tests - first) // 2)} at most, which come from the test examples, or "
            "fewer data.examples"
        )
    order = first + random_stream(seed, "public").permutation(tests - first)[:size]
    return none, torch.from_numpy(np.sort(order))
