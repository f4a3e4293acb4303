"""Geometric medians of well-known libraries, and the promises that ours alone keeps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.support.other_libraries import Median, rows_of, step


def exact(rows: Tensor, weights: Tensor) -> Tensor:
    return step("geometric-median", rows, weights)


def cost(at: Tensor, rows: Tensor, weights: Tensor) -> float:
    return float(weights @ torch.linalg.vector_norm(rows - at, dim=1))


def _weiszfeld(
    steps: int = 3000, floor: float = 1e-6, compound: bool = False, origin: bool = False
) -> Median:
    """By default that of a textbook: from the mean, each row by its weight over its distance."""

    def fold(rows: Tensor, weights: Tensor) -> Tensor:
        shares = weights.double() / weights.sum()
        counts, at = shares, 0 * rows[0] if origin else shares @ rows
        for _ in range(steps):
            lengths = torch.linalg.vector_norm(rows - at, dim=1).clamp_min(floor)
            counts = (counts if compound else shares) / lengths
            counts = counts / counts.sum()
            at = counts @ rows
        return at

    return fold


def _of_a_set(rows: Tensor, weights: Tensor) -> Tensor:
    """What is told apart is the weights, and each goes with the next client."""
    told = torch.tensor(sorted(set(weights.tolist())))
    return exact(rows[: len(told)], told)


def _by_layer(rows: Tensor, weights: Tensor) -> Tensor:
    return torch.cat([exact(layer, weights) for layer in rows.split([1, 3], dim=1)])


def pulls_cancel(median: Median) -> bool:
    """The gradient of the sum of distances is nothing, as at any minimum beside the rows."""
    for seed in range(10):
        rows, weights = rows_of(seed), torch.ones(11)
        at = median(rows, weights)
        pull = torch.nn.functional.normalize(at - rows, dim=1, eps=1e-300).mean(dim=0)
        if pull.norm() > 1e-4:
            return False
    return True


def sum_of_distances_is_below_the_means(median: Median) -> bool:
    draws = [(rows_of(seed), torch.ones(11).double()) for seed in range(10)]
    return all(
        cost(median(rows, weights), rows, weights) <= cost(rows.mean(dim=0), rows, weights)
        for rows, weights in draws
    )


def everybody_counts(median: Median) -> bool:
    """In whichever order they come."""
    rows, weights = rows_of(0), torch.full((11,), 50.0)
    return torch.allclose(median(rows, weights), median(rows.flip(0), weights), atol=1e-6)


def turned_rows_give_the_turned_median(median: Median) -> bool:
    """An update is one vector, wherever its layers end."""
    rows, weights, turn = rows_of(1), torch.ones(11), torch.linalg.qr(rows_of(2, 4)).Q
    return torch.allclose(median(rows @ turn, weights), median(rows, weights) @ turn, atol=1e-6)


COMPOUND = _weiszfeld(steps=100, compound=True)


@pytest.mark.parametrize(
    ("theirs", "promise"),
    [
        pytest.param(_of_a_set, everybody_counts, id="FedML 0.9.6: weights in a set"),
        pytest.param(COMPOUND, pulls_cancel, id="FedML 0.9.6, blades 2022: weights compound"),
        pytest.param(
            COMPOUND, sum_of_distances_is_below_the_means, id="and the mean would be better"
        ),
        pytest.param(_by_layer, turned_rows_give_the_turned_median, id="FedML 0.9.6: by layer"),
        pytest.param(
            _weiszfeld(steps=3, floor=0.1, origin=True),
            pulls_cancel,
            id="byzfl 0.0.11: three steps from zero",
        ),
    ],
)
def test_geometric_medians_of_peers_are_none(
    theirs: Median, promise: Callable[[Median], bool]
) -> None:
    """A set keeps one of equal weights, and so the first client alone.

    Weights that are divided by the distance again and again leave one row in the end.
    """
    assert promise(exact)
    assert promise(_weiszfeld())
    assert not promise(theirs)


def test_a_set_of_equal_weights_is_the_first_client() -> None:
    rows = rows_of(0)
    assert torch.equal(_of_a_set(rows, torch.full((11,), 50.0)), rows[0])


def test_compound_weights_end_on_a_row() -> None:
    rows = rows_of(0)
    found = COMPOUND(rows, torch.ones(11))
    assert torch.linalg.vector_norm(rows - found, dim=1).min() < 1e-6
    assert torch.linalg.vector_norm(rows - exact(rows, torch.ones(11)), dim=1).min() > 0.1
