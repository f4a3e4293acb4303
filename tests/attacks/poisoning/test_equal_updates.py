"""Rules that average around the median, where many clients send the same: colluding ones do.

Of several equal values below the median at the edge, the mean kept all, though a value on the
other side was nearer.
"""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from defenses import AGGREGATION_RULES
from defenses.shared.breakdown_point import Breakdown
from lab.common.random_streams import random_stream

Row = list[Fraction]
# What eleven clients sent in one coordinate; two of them are malicious.
COLUMN = [
    -2.1192, -1.1001, -1.1001, -0.4552, -0.0819, 0.0, 0.0483, 0.1055, 0.3331, 0.4787, 0.7135
]  # fmt: skip


def step(name: str, rows: Tensor, faulty: int) -> Tensor:
    return AGGREGATION_RULES[name](faulty=faulty)(rows, torch.ones(len(rows)))


# --- by hand ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_of_two_equal_values_at_the_edge_one_counts_if_the_other_end_is_nearer(sign: float) -> None:
    """The median is 0: -2.1192 and one -1.1001 are the two farthest values, 0.7135 is nearer."""
    rows = sign * torch.tensor(COLUMN, dtype=torch.float64).unsqueeze(1)
    by_hand = (
        -1.1001 - 0.4552 - 0.0819 + 0.0 + 0.0483 + 0.1055 + 0.3331 + 0.4787 + 0.7135
    ) / 9  # 0.00466
    assert step("meamed", rows, 2).item() == pytest.approx(sign * by_hand, abs=1e-12)


# --- against slow oracles -----------------------------------------------------------------------


def nearest(values: Row, count: int) -> Fraction:
    """The mean of the `count` values nearest to the median, by sorting their distances to it."""
    ordered = sorted(values)
    median = (ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2
    near = sorted(values, key=lambda value: (abs(value - median), value))[:count]
    return sum(near, Fraction(0)) / count


def picked(rows: list[Row], faulty: int) -> list[Row]:
    """Bulyan's theta = n - 2f rows: Krum's pick of those that are left, one after the other.

    Equal scores: the next nearest neighbours decide, then the place.
    """
    left, picks = list(rows), []
    while len(picks) < len(rows) - 2 * faulty:
        neighbours = max(1, len(left) - faulty - 2)
        keys = []
        for place, row in enumerate(left):
            others = left[:place] + left[place + 1 :]
            squares = sorted(
                sum(((a - b) ** 2 for a, b in zip(row, other, strict=True)), Fraction(0))
                for other in others
            )
            keys.append((sum(squares[:neighbours]), squares[neighbours:]))
        picks.append(left.pop(min(range(len(left)), key=keys.__getitem__)))
    return picks


def exact(rows: Tensor) -> list[Row]:
    return [[Fraction(value) for value in row] for row in rows.tolist()]


def around(rows: list[Row], count: int) -> list[float]:
    return [float(nearest(list(column), count)) for column in zip(*rows, strict=True)]


def whole_numbers(seed: int, clients: int, params: int, most: int) -> Tensor:
    """Few different values, so that most of a column are equal to others."""
    drawn = random_stream(seed, "equal values").integers(-most, most + 1, (clients, params))
    return torch.from_numpy(drawn).double()


def with_copies(seed: int, clients: int, copies: int) -> Tensor:
    """Rows of four values; the last few clients send the same row, far from the others' mean."""
    generator = random_stream(seed, "copies")
    rows = torch.from_numpy(generator.normal(size=(clients, 4)))
    rows[clients - copies :] = rows[0] - 1.1
    return rows[torch.from_numpy(generator.permutation(clients))]


SEEDS = st.integers(0, 10**6)


@given(values=st.lists(st.sampled_from(COLUMN), min_size=1, max_size=15), data=st.data())
def test_the_values_nearest_to_the_median_are_those_of_a_slow_sort(
    values: list[float], data: st.DataObject
) -> None:
    faulty = data.draw(st.integers(0, (len(values) - 1) // 2))
    rows = torch.tensor(values, dtype=torch.float64).unsqueeze(1)
    expected = around(exact(rows), len(values) - faulty)
    assert step("meamed", rows, faulty).tolist() == pytest.approx(expected, abs=1e-12)


@given(seed=SEEDS, clients=st.integers(3, 20), most=st.integers(1, 6), data=st.data())
def test_every_coordinate_by_itself_agrees_with_a_slow_sort(
    seed: int, clients: int, most: int, data: st.DataObject
) -> None:
    faulty = data.draw(st.integers(0, (clients - 1) // 2))
    rows = whole_numbers(seed, clients, 30, most)
    expected = around(exact(rows), clients - faulty)
    assert step("meamed", rows, faulty).tolist() == pytest.approx(expected, abs=1e-12)


@given(seed=SEEDS, faulty=st.integers(0, 3), more=st.integers(0, 4), data=st.data())
def test_bulyan_agrees_with_a_slow_twin_where_clients_collude(
    seed: int, faulty: int, more: int, data: st.DataObject
) -> None:
    clients = Breakdown(4, 3).fewest(faulty) + more
    rows = with_copies(seed, clients, data.draw(st.integers(0, clients // 2)))
    expected = around(picked(exact(rows), faulty), clients - 4 * faulty)
    assert step("bulyan", rows, faulty).tolist() == pytest.approx(expected, abs=1e-12)


@given(seed=SEEDS, faulty=st.integers(0, 3), more=st.integers(0, 4), most=st.integers(1, 6))
def test_bulyan_agrees_with_a_slow_twin_on_whole_numbers(
    seed: int, faulty: int, more: int, most: int
) -> None:
    """One coordinate, so that distances of whole numbers, and with them ties, are exact."""
    clients = Breakdown(4, 3).fewest(faulty) + more
    rows = whole_numbers(seed, clients, 1, most)
    expected = around(picked(exact(rows), faulty), clients - 4 * faulty)
    assert step("bulyan", rows, faulty).tolist() == pytest.approx(expected, abs=1e-12)
