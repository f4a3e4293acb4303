"""What privacy does to updates: clipping, noise that is whole whoever is lost, and release."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from defenses import PREPARATIONS, UPDATE_TRANSFORMS
from lab.interfaces.messages import Cohort
from tests.support.private_runs import PARAMS, correlation, is_normal

SEEDS = st.integers(0, 10**6)
# Relative error of a variance of PARAMS draws, five times over.
VARIANCE_ERROR = 5 * (2 / PARAMS) ** 0.5


def rows_of(seed: int, clients: int, params: int = 7) -> Tensor:
    return torch.randn(clients, params, generator=torch.Generator().manual_seed(seed))


def cohort_of(
    clients: Sequence[int], gone: Sequence[int] = (), round: int = 1, expected: float = 5.0
) -> Cohort:
    return Cohort(
        seed=0,
        round=round,
        clients=tuple(clients),
        weights=torch.ones(len(clients)),
        malicious=torch.zeros(len(clients), dtype=torch.bool),
        lost=torch.tensor([client in gone for client in clients], dtype=torch.bool),
        expected=expected,
    )


def noise_of(clients: Sequence[int], round: int = 1, deviation: float = 1.0) -> Tensor:
    """What noise adds to the rows of those clients.  -> (clients, PARAMS)"""
    stage = UPDATE_TRANSFORMS["noise"](deviation=deviation)
    return stage(torch.zeros(len(clients), PARAMS), cohort_of(clients, round=round))


# --- clip -----------------------------------------------------------------------------------------


def test_clip_shortens_the_long_and_leaves_the_short() -> None:
    rows = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0], [-6.0, 8.0]])
    clipped = UPDATE_TRANSFORMS["clip"](bound=1.0)(rows, cohort_of(range(4)))
    expected = torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0], [-0.6, 0.8]])
    assert torch.allclose(clipped, expected)
    assert torch.equal(clipped[1:3], rows[1:3])


@given(seed=SEEDS, bound=st.floats(1e-3, 1e3), size=st.floats(1e-6, 1e6))
def test_clipped_rows_are_within_the_bound_and_point_where_they_did(
    seed: int, bound: float, size: float
) -> None:
    rows = size * rows_of(seed, 6)
    clipped = UPDATE_TRANSFORMS["clip"](bound=bound)(rows, cohort_of(range(6)))
    before, after = rows.norm(dim=1), clipped.norm(dim=1)
    assert (after <= bound * (1 + 1e-6)).all()
    short = before <= bound
    assert torch.equal(clipped[short], rows[short])
    assert torch.allclose(after[~short], torch.tensor(bound), rtol=1e-5)
    assert torch.allclose(F.cosine_similarity(rows, clipped), torch.ones(6), atol=1e-5)


@pytest.mark.parametrize("name", [name for name in UPDATE_TRANSFORMS if name not in PREPARATIONS])
@pytest.mark.parametrize("clients", [1, 5])
def test_a_stage_keeps_the_rows_and_leaves_its_input_alone(name: str, clients: int) -> None:
    rows = rows_of(3, clients)
    before = rows.clone()
    out = UPDATE_TRANSFORMS[name]()(rows, cohort_of(range(clients), gone=[0]))
    assert (out.shape, out.dtype) == (rows.shape, rows.dtype)
    out.zero_()
    assert torch.equal(rows, before)


@pytest.mark.parametrize("name", ["clip", "noise"])
def test_an_empty_cohort_has_no_rows_to_change(name: str) -> None:
    assert UPDATE_TRANSFORMS[name]()(torch.zeros(0, 7), cohort_of([])).shape == (0, 7)


# --- noise ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("clients", [1, 2, 7, 30])
@pytest.mark.parametrize("deviation", [0.1, 4.0])
def test_the_sum_carries_the_whole_noise_however_many_make_it(
    clients: int, deviation: float
) -> None:
    added = noise_of(range(clients), deviation=deviation)
    total = added.sum(dim=0)
    assert float(total.var()) == pytest.approx(deviation**2, rel=VARIANCE_ERROR)
    assert is_normal(total, deviation)
    for one in added:
        assert float(one.var()) == pytest.approx(deviation**2 / clients, rel=VARIANCE_ERROR)


def test_noise_is_added_to_the_rows() -> None:
    rows, party = rows_of(0, 3), cohort_of([4, 5, 6])
    stage = UPDATE_TRANSFORMS["noise"](deviation=0.5)
    assert torch.allclose(stage(rows, party), rows + stage(torch.zeros(3, 7), party))
    assert torch.equal(UPDATE_TRANSFORMS["noise"](deviation=0)(rows, party), rows)


def test_every_client_and_every_round_has_noise_of_its_own() -> None:
    draws = [*noise_of([0, 1, 2]), *noise_of([0, 1, 2], round=2)]
    for place, one in enumerate(draws):
        for other in draws[:place]:
            assert abs(correlation(one, other)) < 5 / PARAMS**0.5


def test_noise_is_the_same_on_repeat_and_in_whatever_company() -> None:
    assert torch.equal(noise_of([0, 1, 2]), noise_of([0, 1, 2]))
    alone, among = noise_of([2])[0], noise_of([0, 1, 2, 9])[2]
    assert torch.allclose(alone, among * 2)  # one of four makes a quarter of the variance


# --- release --------------------------------------------------------------------------------------


def test_release_divides_the_sum_by_the_expected_cohort() -> None:
    rows = torch.tensor([[2.0, 4.0], [4.0, 8.0]])
    released = UPDATE_TRANSFORMS["release"](deviation=1e6)(rows, cohort_of([0, 1], expected=4.0))
    assert released.mean(dim=0).tolist() == [1.5, 3.0]


@given(seed=SEEDS, clients=st.integers(1, 9), expected=st.floats(1, 20))
def test_where_nobody_is_lost_no_noise_is_missing(seed: int, clients: int, expected: float) -> None:
    rows = rows_of(seed, clients)
    released = UPDATE_TRANSFORMS["release"]()(rows, cohort_of(range(clients), expected=expected))
    assert torch.allclose(released.mean(dim=0), rows.sum(dim=0) / expected, atol=1e-6)


@given(seed=SEEDS, gone=st.integers(0, 4))
def test_one_masked_row_is_released_like_the_rows_behind_it(seed: int, gone: int) -> None:
    rows, party = rows_of(seed, 5)[gone:], cohort_of(range(5), gone=range(gone))
    stage = UPDATE_TRANSFORMS["release"]()
    together = stage(rows.mean(dim=0, keepdim=True), party)
    assert torch.allclose(together[0], stage(rows, party).mean(dim=0), atol=1e-6)


@pytest.mark.parametrize("gone", range(6))
def test_the_released_noise_is_whole_whoever_is_lost(gone: int) -> None:
    deviation, expected = 3.0, 4.0
    party = cohort_of(range(5), gone=range(gone), expected=expected)
    arrived = noise_of(range(5), deviation=deviation)[gone:]
    rows = arrived if len(arrived) else torch.zeros(1, PARAMS)
    released = UPDATE_TRANSFORMS["release"](deviation=deviation)(rows, party).mean(dim=0) * expected
    assert float(released.var()) == pytest.approx(deviation**2, rel=VARIANCE_ERROR)
    assert is_normal(released, deviation)


def test_nobodys_sum_is_released_with_the_whole_noise() -> None:
    released = UPDATE_TRANSFORMS["release"](deviation=2.0)(torch.zeros(1, PARAMS), cohort_of([]))[0]
    assert is_normal(released * 5.0, 2.0)


def test_the_missing_noise_is_nobodys_and_another_one_every_round() -> None:
    stage, zeros = UPDATE_TRANSFORMS["release"](), torch.zeros(1, PARAMS)
    missing = [stage(zeros, cohort_of(range(3), range(3), round))[0] for round in (1, 2)]
    draws = [*missing, *noise_of(range(3))]
    assert torch.equal(missing[0], stage(zeros, cohort_of(range(3), range(3)))[0])
    for place, one in enumerate(draws):
        for other in draws[:place]:
            assert abs(correlation(one, other)) < 5 / PARAMS**0.5
