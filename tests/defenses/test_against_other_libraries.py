"""Errors of well-known libraries, each as a promise: ours keeps it, and their formula breaks it.

A formula starts from what the paper says and differs where the library does: written anew, none of
their code is here.  Where the formula can be set right, it is shown to keep the promise then.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from attacks import POISONING_ATTACKS
from attacks.poisoning.shared.malicious_updates import way_of
from attacks.poisoning.updates.min_max import largest
from defenses import PREPARATIONS
from defenses.aggregation.krum import ranked
from defenses.shared.distances import gaps
from lab.interfaces.aggregation import PreAggregator
from tests.support.other_libraries import Median, kept, rows_of, step
from tests.support.poisoning import cohort_of

# --- distances ------------------------------------------------------------------------------------


def _expanded(rows: Tensor) -> Tensor:
    """|x|^2 + |y|^2 - 2xy, in the precision of the rows."""
    squares = rows.square().sum(dim=1)
    return squares.unsqueeze(1) + squares - 2 * rows @ rows.T


def weights_after_a_step(seed: int, lie: float) -> Tensor:
    """A model of norm 64, moved by updates of norm 0.001; the first is `lie` times as long."""
    model, *updates = rows_of(seed, 8, 1000)
    moved = 1e-3 * torch.nn.functional.normalize(torch.stack(updates), dim=1)
    moved[0] *= lie
    return torch.add(64 * model / model.norm(), moved).float()


def nothing_cancels(distances: Callable[[Tensor], Tensor]) -> bool:
    models = [weights_after_a_step(seed, 1) for seed in range(10)]
    apart = [torch.cdist(each.double(), each.double()).square() for each in models]
    found = [distances(each).double() for each in models]
    return all(
        torch.allclose(mine, other, rtol=1e-2, atol=1e-9)
        for mine, other in zip(found, apart, strict=True)
    )


def krum_leaves_the_liar_out(distances: Callable[[Tensor], Tensor]) -> bool:
    models = [weights_after_a_step(seed, 3) for seed in range(40)]
    return all(ranked(distances(each), len(each) - 4)[0] != 0 for each in models)


@pytest.mark.parametrize("promise", [nothing_cancels, krum_leaves_the_liar_out])
def test_flower_loses_what_updates_differ_by(
    promise: Callable[[Callable[[Tensor], Tensor]], bool],
) -> None:
    """Flower 1.41, serverapp MultiKrum: distances of float32 models, not updates, by expansion.

    What is left of a distance is rounding, often negative, so that a liar may be picked.
    """
    assert promise(gaps)
    assert promise(lambda rows: _expanded(rows.double()))
    assert not promise(_expanded)


# --- Krum and Bulyan ------------------------------------------------------------------------------


def _order(rows: Tensor, others: int, power: int = 2, itself: bool = False) -> list[int]:
    """From the least sum of powers of distances to so many others; what is next breaks ties."""
    apart = torch.linalg.vector_norm(rows.unsqueeze(1) - rows, dim=2) ** power
    near = apart.sort(dim=1).values[:, 0 if itself else 1 :]
    keys = [[float(row[:others].sum()), *row[others:].tolist()] for row in near]
    return sorted(range(len(rows)), key=keys.__getitem__)


def _krum(fewer: int = 2, power: int = 2, itself: bool = False) -> Callable[[Tensor], int]:
    """With n - f - 2 others and squares it is the paper's.  Two are malicious."""
    return lambda rows: _order(rows, len(rows) - 2 - fewer, power, itself)[0]


def krum_has_the_nearest_neighbours(krum: Callable[[Tensor], int]) -> bool:
    """Among its picks is none with a larger sum than another's (Blanchard et al. 2017, 4)."""
    for seed in range(40):
        rows = rows_of(seed, 9, 2)
        squares = (rows.unsqueeze(1) - rows).square().sum(dim=2).sort(dim=1).values
        scores = squares[:, 1 : 1 + 9 - 2 - 2].sum(dim=1)
        if scores[krum(rows)] > scores.min() * (1 + 1e-9):
            return False
    return True


@pytest.mark.parametrize(
    "theirs",
    [
        pytest.param(_krum(fewer=1), id="byzfl 0.0.11: n - f - 1 others"),
        pytest.param(_krum(power=4), id="blades 2022: distances squared twice"),
        pytest.param(_krum(itself=True), id="NDSS 2021 official code: itself is one of the others"),
    ],
)
def test_krums_of_peers_pick_who_has_not_the_nearest_neighbours(
    theirs: Callable[[Tensor], int],
) -> None:
    """Ours offers ByzFL's count as a choice, by name."""
    promise = krum_has_the_nearest_neighbours
    assert promise(lambda rows: kept("krum", rows, faulty=2)[0])
    assert promise(_krum())
    assert not promise(theirs)


def test_one_more_neighbour_is_byzfls_krum() -> None:
    for seed in range(40):
        rows = rows_of(seed, 9, 2)
        assert kept("krum", rows, faulty=2, neighbours="one-more") == [_krum(fewer=1)(rows)]


def _bulyan(
    once: bool = False, fewer: int = 2, power: int = 2, short: int = 0
) -> Callable[[Tensor], Tensor]:
    """By default the paper's, pick by pick and value by value.  Two are malicious."""

    def fold(rows: Tensor) -> Tensor:
        left = list(range(len(rows)))
        picks: list[int] = []
        while len(picks) < len(rows) - 4:
            order = _order(rows[left], max(1, len(left) - 2 - fewer), power)
            best = order[: len(rows) - 4] if once else order[:1]
            picks += [left[place] for place in best]
            left = [place for place in left if place not in picks]
        chosen = rows[picks]
        away = (chosen - chosen.quantile(0.5, dim=0)).abs().argsort(dim=0)
        return chosen.gather(0, away[: len(rows) - 8 - short]).mean(dim=0)

    return fold


def bulyan_is_the_papers(bulyan: Callable[[Tensor], Tensor]) -> bool:
    draws = [rows_of(seed, 13) for seed in range(25)]
    return all(torch.allclose(bulyan(rows), _bulyan()(rows), atol=1e-9) for rows in draws)


@pytest.mark.parametrize(
    "theirs",
    [
        pytest.param(_bulyan(once=True), id="Flower 1.41, serverapp: all picks at once"),
        pytest.param(_bulyan(fewer=0), id="FedML 0.9.6: n - f others"),
        pytest.param(_bulyan(power=1), id="FedML 0.9.6: distances, not their squares"),
        pytest.param(_bulyan(short=1), id="FedML 0.9.6: one value too few around the median"),
    ],
)
def test_bulyans_of_peers_are_not_the_papers(theirs: Callable[[Tensor], Tensor]) -> None:
    """Each of their differences by itself changes the step."""
    assert bulyan_is_the_papers(lambda rows: step("bulyan", rows, faulty=2))
    assert not bulyan_is_the_papers(theirs)


# --- what is given, and the main direction --------------------------------------------------------


def _clip_in_place(rows: Tensor) -> Tensor:
    for row in rows:
        row *= min(1.0, 1.0 / float(row.norm()))
    return rows


def _arc_in_place(rows: Tensor) -> Tensor:
    order = rows.norm(dim=1).argsort(descending=True)
    long = 2 * 2 * (len(rows) - 2) // len(rows)
    for place in order[:long]:
        rows[place] *= rows[order[long]].norm() / rows[place].norm()
    return rows


def staged(name: str, **settings: object) -> Callable[[Tensor], Tensor]:
    stage = PREPARATIONS[name].read(settings)
    assert isinstance(stage, PreAggregator)
    return lambda rows: stage(rows, cohort_of([False] * len(rows)))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        pytest.param(staged("norm-bound", bound=1), _clip_in_place, id="byzfl 0.0.11: Clipping"),
        pytest.param(staged("arc", faulty=2), _arc_in_place, id="byzfl 0.0.11: ARC"),
    ],
)
def test_byzfl_overwrites_what_it_is_given(
    ours: Callable[[Tensor], Tensor], theirs: Callable[[Tensor], Tensor]
) -> None:
    """The caller's gradients come out shortened.  What comes back is the same."""
    rows, own = rows_of(0), rows_of(0)
    assert torch.allclose(ours(rows), theirs(own))
    assert torch.equal(rows, rows_of(0))
    assert not torch.equal(own, rows_of(0))


def _stays(rows: Tensor, way: Tensor) -> list[int]:
    """Everybody but the two that are farthest out along the way, from the mean."""
    far = ((rows - rows.mean(dim=0)) @ way).square().argsort(descending=True)
    return sorted(far[2:].tolist())


def _by_one_power_step(rows: Tensor) -> list[int]:
    centred = rows - rows.mean(dim=0)
    return _stays(rows, centred.T @ (centred @ rows_of(99, 1, rows.shape[1])[0]))


def outliers_are_of_the_main_direction(stay: Callable[[Tensor], list[int]]) -> bool:
    draws = [rows_of(seed, 11, 30) for seed in range(10)]
    ways = [torch.linalg.svd(rows - rows.mean(dim=0)).Vh[0] for rows in draws]
    return all(stay(rows) == _stays(rows, way) for rows, way in zip(draws, ways, strict=True))


def test_one_random_power_step_is_not_the_main_direction() -> None:
    """byzfl 0.0.11, in CAF and SMEA, which are not ours; divide and conquer asks for the same."""
    assert outliers_are_of_the_main_direction(lambda rows: kept("dnc", rows, faulty=2))
    assert not outliers_are_of_the_main_direction(_by_one_power_step)


# --- Min-Max --------------------------------------------------------------------------------------


def _halving(among: Tensor, way: Tensor, first: float = 10.0) -> float:
    """On by half of the stride where it fits, back by half where not; the stride halves."""
    widest, gamma, stride, good = torch.cdist(among, among).max(), first, first, 0.0
    while abs(good - gamma) > 1e-5:
        sent = among.mean(dim=0) - gamma * way
        fits = bool((among - sent).norm(dim=1).max() <= widest)
        good = gamma if fits else good
        gamma, stride = gamma + (stride if fits else -stride) / 2, stride / 2
    return good


def goes_as_far_as_it_may(gamma: Callable[[Tensor, Tensor], float | Tensor]) -> bool:
    for seed in range(5):
        among = rows_of(seed, 8, 1000)
        way, widest = way_of(among, "unit"), torch.cdist(among, among).max()
        found = float(gamma(among, way))
        near, far = (
            (among - among.mean(dim=0) + factor * found * way).norm(dim=1).max()
            for factor in (0.999, 1.001)
        )
        if not near <= widest < far:
            return False
    return True


def test_the_official_min_max_never_goes_beyond_twenty() -> None:
    """Shejwalkar and Houmansadr's code, NDSS 2021: from 10 on, strides of 5, 2.5... end at 20."""
    assert goes_as_far_as_it_may(largest)
    assert goes_as_far_as_it_may(lambda among, way: _halving(among, way, first=1000.0))
    assert not goes_as_far_as_it_may(_halving)
    among = rows_of(0, 8, 1000)
    way = way_of(among, "unit")
    assert _halving(among, way) == pytest.approx(20, abs=1e-3)
    assert float(largest(among, way)) > 30


# --- weights --------------------------------------------------------------------------------------


def _as_reported(rows: Tensor, weights: Tensor) -> Tensor:
    return weights / weights.sum() @ rows


def a_liars_claim_counts_for_three_at_most(mean: Median) -> bool:
    """Ten clients of 50 examples; each row tells its client's share."""
    malicious = torch.arange(10) == 0
    poison = POISONING_ATTACKS["inflated-weight"].read({"factor": 1e6})
    claimed = poison.claims(torch.full((10,), 50.0), malicious)
    return float(mean(torch.eye(10), claimed)[0]) <= 3 / 12 + 1e-6


def test_who_reports_a_million_times_its_examples_owns_the_mean() -> None:
    """Flower 1.41, FedML 0.9.6: `num_examples` is the client's own word, and weighs the mean.

    Ours believes it too, as FedAvg does, unless there is a cap.
    """
    promise = a_liars_claim_counts_for_three_at_most
    assert promise(lambda rows, weights: step("mean", rows, weights, cap=3))
    assert promise(lambda rows, weights: step("mean", rows, weights, weighted=False))
    assert not promise(_as_reported)
    assert not promise(lambda rows, weights: step("mean", rows, weights))
    own = _as_reported(torch.eye(10), torch.tensor([1e6] + [1.0] * 9))
    assert np.allclose(own[0], 1, atol=1e-4)
