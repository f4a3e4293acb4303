"""Geometry: by hand, promises, and against scikit-learn and slow loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_similarity
from torch import Tensor

from lab.scoring.poisoning.update_geometry import BLOCK, DETECTORS, Geometry, geometry

SEEDS = st.integers(0, 10**6)


def rows_of(seed: int, clients: int = 8, params: int = 6) -> Tensor:
    return torch.randn(clients, params, generator=torch.Generator().manual_seed(seed))


def bad(clients: int, *who: int) -> Tensor:
    return torch.tensor([client in who for client in range(clients)])


def scores(found: Geometry) -> dict[str, tuple[float, ...]]:
    return {each.name: each.scores for each in found.detections}


# --- by hand --------------------------------------------------------------------------------------


def test_cosines_and_lengths_by_hand() -> None:
    rows = torch.tensor([[3.0, 4.0], [-6.0, -8.0], [4.0, -3.0], [0.0, 0.0]])
    found = geometry(rows, bad(4))
    assert found.lengths.tolist() == [5, 10, 5, 0]
    expected = [[1, -1, 0, 0], [-1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert torch.allclose(found.cosines, torch.tensor(expected).double())


def test_a_map_of_updates_in_a_plane_is_that_plane() -> None:
    rows = torch.zeros(4, 9)
    rows[:, 2] = torch.tensor([3.0, -1.0, -1.0, -1.0]) + 5
    rows[:, 7] = torch.tensor([0.0, 1.0, 1.0, -2.0]) + 5
    step = torch.zeros(9)
    step[[2, 7]] = torch.tensor([5.0, 6.0])
    found = geometry(rows, bad(4), step)
    # The variances are 12 and 6; the farthest on each axis, 3 and -2, is on its positive side.
    assert found.places[:, 0].tolist() == pytest.approx([3, -1, -1, -1])
    assert found.places[:, 1].tolist() == pytest.approx([0, -1, -1, 2])
    assert found.explained == pytest.approx((12 / 18, 6 / 18))
    assert found.step == pytest.approx((0, -1))
    assert found.nothing == pytest.approx((-5, 5))


def test_scores_by_hand() -> None:
    rows = torch.tensor([[1.0, 0.0], [2.0, 0.0], [4.0, 0.0], [-3.0, 4.0]])
    found = scores(geometry(rows, bad(4, 3)))
    assert found["distance"] == pytest.approx((0.5, 0.5, 2.5, (4.5**2 + 16) ** 0.5))
    assert found["angle"] == pytest.approx((1 - 1.4 / 3,) * 3 + (1.6,))
    # The median length is 3.
    lengths = np.abs(np.log(np.array([1, 2, 4, 5]) / 3))
    assert found["length"] == pytest.approx(tuple(lengths))
    # Krum stands none malicious of four, so that it looks at two neighbours.
    assert found["neighbours"] == pytest.approx((1 + 9, 1 + 4, 4 + 9, 32 + 41))


def test_sentences_say_how_alike_each_kind_is() -> None:
    rows = torch.tensor([[1.0, 0.0], [2.0, 0.0], [-3.0, 0.0], [-3.0, 0.0]])
    told = geometry(rows, bad(4, 2, 3)).sentences()
    assert told == [
        "A malicious update is 2 times as long as an honest one (median)",
        "Mean cosine 1.00 between honest updates, 1.00 between malicious ones, "
        "-1.00 between the two kinds",
        "The map shows 100% of the variance",
    ]
    assert "malicious" not in " ".join(geometry(rows, bad(4)).sentences())


@pytest.mark.parametrize("clients", [1, 2, 3])
@pytest.mark.parametrize("value", [0.0, 1.0, 1e30])
def test_a_few_equal_updates_have_a_geometry_without_any_extent(clients: int, value: float) -> None:
    found = geometry(torch.full((clients, 5), value), bad(clients, 0), torch.ones(5))
    assert found.places.isfinite().all()
    assert found.explained == (0, 0)
    assert len(found.detections) == (len(DETECTORS) if clients > 1 else 0)
    assert all(each.auc == 0.5 for each in found.detections)
    assert found.sentences()


# --- promises -------------------------------------------------------------------------------------


@given(seed=SEEDS)
def test_order_of_clients_does_not_matter(seed: int) -> None:
    rows, truth, step = rows_of(seed), bad(8, 1, 5), rows_of(seed + 1, 1)[0]
    order = torch.from_numpy(np.random.default_rng(seed).permutation(8))
    once, mixed = geometry(rows, truth, step), geometry(rows[order], truth[order], step)
    assert torch.allclose(once.places[order], mixed.places, atol=1e-6)
    assert torch.allclose(once.cosines[order][:, order], mixed.cosines)
    assert once.step == pytest.approx(mixed.step, abs=1e-6)
    for one, other in zip(once.detections, mixed.detections, strict=True):
        assert (one.auc, one.low, one.high) == (other.auc, other.low, other.high)


@given(seed=SEEDS)
def test_no_detector_knows_who_is_malicious(seed: int) -> None:
    rows = rows_of(seed)
    assert scores(geometry(rows, bad(8, 0))) == scores(geometry(rows, bad(8, 3, 4, 5)))


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_the_unit_of_updates_does_not_matter(scale: float) -> None:
    rows, truth = rows_of(3).double(), bad(8, 1, 5)
    once, again = geometry(rows, truth), geometry(scale * rows, truth)
    assert torch.allclose(once.cosines, again.cosines)
    assert torch.allclose(scale * once.places, again.places)
    assert once.explained == pytest.approx(again.explained)
    assert [one.auc for one in once.detections] == [one.auc for one in again.detections]


@given(seed=SEEDS)
def test_an_update_sent_backwards_and_boosted_is_found_by_every_score(seed: int) -> None:
    rows = torch.ones(9, 40) + 0.3 * rows_of(seed, 9, 40)
    rows[4] *= -10
    found = geometry(rows, bad(9, 4)).detections
    assert [each.name for each in found] == list(DETECTORS)
    assert all(each.auc == 1 for each in found)
    assert all((each.malicious, each.honest) == (1, 8) for each in found)


@pytest.mark.parametrize("who", [(), tuple(range(8))])
def test_with_one_kind_of_client_there_is_nothing_to_find(who: tuple[int, ...]) -> None:
    found = geometry(rows_of(0), bad(8, *who))
    assert found.detections == ()
    assert found.places.shape == (8, 2)


def test_the_input_is_left_as_it_was() -> None:
    rows = rows_of(1)
    before = rows.clone()
    geometry(rows, bad(8, 2), rows[0])
    assert torch.equal(rows, before)


# --- against scikit-learn and slow loops ----------------------------------------------------------


@given(seed=SEEDS)
def test_the_map_is_the_principal_components_of_scikit_learn(seed: int) -> None:
    rows, step = rows_of(seed).double(), rows_of(seed + 1, 1).double()
    found = geometry(rows, bad(8), step[0])
    oracle = PCA(2, svd_solver="full").fit(rows.numpy())
    places = oracle.transform(rows.numpy())  # its axes may point the other way
    sides = np.sign(np.sum(places * found.places.numpy(), axis=0))
    assert found.places.numpy() == pytest.approx(places * sides, abs=1e-9)
    assert found.explained == pytest.approx(tuple(oracle.explained_variance_ratio_))
    marks = oracle.transform(np.stack([step[0].numpy(), np.zeros(6)])) * sides
    assert found.step == pytest.approx(tuple(marks[0]), abs=1e-9)
    assert found.nothing == pytest.approx(tuple(marks[1]), abs=1e-9)


def test_cosines_are_those_of_scikit_learn_however_long_the_updates() -> None:
    rows = rows_of(2, 5, BLOCK + 17)
    exact = cosine_similarity(rows.double().numpy())
    assert geometry(rows, bad(5)).cosines.numpy() == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("clients", [4, 5, 9, 12])
def test_scores_are_those_of_slow_loops(clients: int) -> None:
    rows = rows_of(4, clients).double()
    found, each = scores(geometry(rows, bad(clients, 0))), rows.numpy()
    neighbours = clients - (clients - 3) // 2 - 2
    for k in range(clients):
        others = [one for one in range(clients) if one != k]
        gaps = sorted(((each[k] - each[one]) ** 2).sum() for one in others)
        alike = [cosine_similarity(each[[k]], each[[one]])[0, 0] for one in others]
        assert found["neighbours"][k] == pytest.approx(sum(gaps[:neighbours]))
        assert found["angle"][k] == pytest.approx(1 - np.mean(alike))
        far = np.linalg.norm(each[k] - np.median(each, axis=0))
        assert found["distance"][k] == pytest.approx(far)
