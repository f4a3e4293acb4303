"""Federations: one pool of examples, who holds which, and nobody copies."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from lab.interfaces.data import Examples, FederatedDataset
from lab.models.inputs import as_floats, like


def six() -> Examples:
    return Examples(
        inputs=torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1) * 51,
        labels=torch.tensor([0, 1, 2, 0, 1, 2]),
        test_inputs=torch.zeros(1, 1, 1, 1, dtype=torch.uint8),
        test_labels=torch.tensor([2]),
    )


def small() -> FederatedDataset:
    return FederatedDataset.of(six(), [np.array([4, 0, 1]), np.array([2]), np.array([], dtype=int)])


def test_clients_hold_their_shares_in_order() -> None:
    federation = small()
    assert federation.clients == 3
    assert list(federation.everyone) == [0, 1, 2]
    assert federation.sizes.tolist() == [3, 1, 0]
    assert [federation.held(client).tolist() for client in range(3)] == [[4, 0, 1], [2], []]
    assert tuple(federation.index.shape) == (3, 3)


def test_outsiders_are_what_nobody_holds() -> None:
    assert small().outsiders().tolist() == [3, 5]
    assert FederatedDataset.of(six(), [np.arange(6)]).outsiders().tolist() == []


def test_padding_counts_as_held_by_nobody() -> None:
    """Short rows are padded with index 0, which is an example like any other."""
    federation = FederatedDataset.of(six(), [np.array([1, 2]), np.array([3])])
    assert federation.outsiders().tolist() == [0, 4, 5]
    assert federation.label_counts(3).tolist() == [[0, 1, 1], [1, 0, 0]]


def test_label_counts_are_by_client_and_class() -> None:
    assert small().label_counts(4).tolist() == [[1, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_rewritten_changes_only_who_is_named() -> None:
    before = small()
    after = before.rewritten([0], lambda client, inputs, labels: (1 - inputs, labels * 0 + 2))
    assert after.labels[after.held(0)].tolist() == [2, 2, 2]
    assert after.inputs[after.held(0)].flatten().tolist() == [51, 255, 204]
    assert after.held(1).tolist() == before.held(1).tolist() == [2]
    assert after.sizes is before.sizes
    assert after.test_inputs is before.test_inputs


def test_rewritten_leaves_the_honest_federation_alone() -> None:
    before, kept = small(), small()
    before.rewritten([0, 1], lambda client, inputs, labels: (inputs.zero_(), labels.zero_()))
    assert torch.equal(before.inputs, kept.inputs)
    assert torch.equal(before.labels, kept.labels)
    assert torch.equal(before.index, kept.index)


def test_rewritten_leaves_no_original_in_the_pool() -> None:
    """Or attacks would take a client's own examples for somebody else's."""
    before = small()
    after = before.rewritten([1, 0], lambda client, inputs, labels: (inputs, labels + 10 + client))
    assert after.labels.tolist() == [10, 11, 13, 0, 11, 2]
    assert torch.equal(after.inputs, before.inputs)
    assert after.index is before.index
    assert after.outsiders().tolist() == before.outsiders().tolist() == [3, 5]


def test_rewritten_for_nobody_is_the_same_federation() -> None:
    after = small().rewritten([], lambda client, inputs, labels: (inputs, labels))
    assert torch.equal(after.inputs, small().inputs)
    assert torch.equal(after.index, small().index)


def test_a_pool_is_the_examples_themselves() -> None:
    examples = six()
    federation = FederatedDataset.of(examples, [np.array([0]), np.array([1])])
    assert federation.inputs is examples.inputs
    assert federation.labels is examples.labels


def test_every_byte_comes_back_from_a_float() -> None:
    stored = torch.arange(256, dtype=torch.uint8)
    floats = as_floats(stored)
    assert floats.dtype == torch.float32
    assert (floats.min().item(), floats.max().item()) == (0.0, 1.0)
    assert torch.equal(like(floats, stored), stored)
    assert stored.tolist() == list(range(256))


def test_floats_that_are_no_byte_are_rounded_and_clamped() -> None:
    floats = torch.tensor([-0.5, 0.0019, 0.002, 0.999, 7.0])
    assert like(floats, torch.zeros(1, dtype=torch.uint8)).tolist() == [0, 0, 1, 255, 255]


@given(values=st.lists(st.floats(-1e6, 1e6, width=32)))
def test_columns_of_a_table_pass_as_they_are(values: list[float]) -> None:
    stored = torch.tensor(values, dtype=torch.float32)
    assert torch.equal(like(as_floats(stored), stored), stored)
    assert like(stored.double(), stored).dtype == torch.float32
