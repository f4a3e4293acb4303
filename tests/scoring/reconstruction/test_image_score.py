"""Likeness: labels and honest floors, whose picture a guess is, and the scores of real data."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from attacks import PRIVACY_ATTACKS
from datasets import DATA_SOURCES
from lab import Experiment, run
from lab.attack_runs.reconstruction.reconstruction import run_reconstruction
from lab.engine.data.malicious_clients import malicious_clients
from lab.interfaces.data import Examples
from lab.interfaces.privacy_attacks import ReconstructionAttack
from lab.models.inputs import as_floats
from lab.scoring.reconstruction import guess_baselines
from lab.scoring.reconstruction.identification import CLOSE, Pool
from lab.scoring.reconstruction.image_metrics import PEAK, decibels, match, psnr
from lab.scoring.reconstruction.image_scorer import ReconstructionScorer
from lab.scoring.reconstruction.label_score import even_share, label_share
from tests.support.scored_images import (
    COLOUR,
    GREY,
    NOT_A_LEAK,
    SEEDS,
    TABLE,
    guess,
    judge,
    uniform,
)

# --- labels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("guessed", "true", "share"),
    [
        ([3], [3], 1.0),
        ([3], [4], 0.0),
        ([1, 2, 3], [3, 2, 1], 1.0),  # the order is nobody's business
        ([5, 5, 5, 5], [5, 1, 2, 3], 0.25),  # one 5 is there, so one is right
        ([5, 1, 2, 3], [5, 5, 5, 5], 0.25),
        ([1, 1, 2], [1, 2, 2], 2 / 3),
        ([1], [1, 1, 1, 1], 0.25),  # fewer guesses than examples: the rest was not named
        ([], [1, 2], 0.0),
        ([1, 2, 3, 4], [4], 0.25),  # guessing more earns nothing
        ([0, 0, 9], [9, 7, 0, 0], 0.75),
    ],
)
def test_labels_are_counted_as_multisets(guessed: list[int], true: list[int], share: float) -> None:
    named = torch.tensor(guessed, dtype=torch.int64)
    assert label_share(named, torch.tensor(true)) == pytest.approx(share)


@given(seed=SEEDS)
def test_labels_count_the_same_in_any_order(seed: int) -> None:
    generator = np.random.default_rng(seed)
    guessed, true = (torch.from_numpy(generator.integers(0, 4, 12)) for _ in "ab")
    mixed = torch.from_numpy(generator.permutation(12))
    share = label_share(guessed, true)
    assert share == label_share(guessed[mixed], true)
    assert share == label_share(true, guessed)
    shared = Counter(guessed.tolist()) & Counter(true.tolist())
    assert share == shared.total() / 12


@pytest.mark.parametrize("count", [1, 2, 4, 5, 9])
def test_evenly_spread_labels_are_right_as_often_as_over_all_ways_to_spread_them(
    count: int,
) -> None:
    true, classes = torch.tensor([0, 0, 0, 2, 3]), 4
    each, rest = divmod(count, classes)
    shares = [
        label_share(torch.tensor([*range(classes)] * each + [*more]), true)
        for more in combinations(range(classes), rest)
    ]
    assert even_share(count, true, classes) == pytest.approx(np.mean(shares))


def test_one_label_of_ten_is_guessed_one_time_in_ten() -> None:
    assert even_share(1, torch.tensor([0]), 10) == pytest.approx(0.1)
    assert even_share(1, torch.tensor([0, 0]), 10) == pytest.approx(0.05)


def test_a_label_is_right_beside_its_picture_only() -> None:
    """All labels are named, as a multiset, and none of them beside the right picture."""
    truth = judge(private=3)
    found = truth.score(guess(truth.inputs, truth.labels.roll(1)))
    assert found.labels == 1.0
    assert [pair.label_right for pair in found.matches] == [False, False, False]


# --- floors ---------------------------------------------------------------------------------------


def guessed_by_floors(
    judged: ReconstructionScorer, labels: Tensor, patch: pytest.MonkeyPatch
) -> list[Tensor]:
    """The pictures that the floors put forward: black, grey, white, mean, class means, public."""
    seen: list[Tensor] = []

    def spied(guesses: Tensor, truths: Tensor) -> list[tuple[int, int]]:
        seen.append(guesses.clone())
        return match(guesses, truths)

    with patch.context() as inner:
        inner.setattr(guess_baselines, "match", spied)
        judged.floors(labels)
    return seen


def test_floors_are_what_everybody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, labels = judge(), torch.tensor([7, 2, 7, 0])
    black, grey, white, mean, classes, public = guessed_by_floors(truth, labels, monkeypatch)
    assert torch.equal(black, torch.zeros(4, *GREY))
    assert torch.equal(grey, torch.full((4, *GREY), 0.5))
    assert torch.equal(white, torch.ones(4, *GREY))
    assert all(torch.equal(one, truth.public.mean(dim=0)) for one in mean)
    for one, label in zip(classes, labels, strict=True):
        mine = truth.public[truth.public_labels == label]
        assert torch.allclose(one, mine.mean(dim=0))
    assert all(any(torch.equal(one, other) for other in truth.public) for one in public)
    assert len(public) == 4


@pytest.mark.parametrize("shape", [GREY, COLOUR, TABLE])
def test_floors_never_look_at_the_private_examples(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same guesses whatever is private, so only their score can tell of it."""
    honest, labels = judge(shape=shape), torch.tensor([1, 1, 4])
    poisoned = ReconstructionScorer(
        inputs=honest.inputs + 1000.0,
        labels=honest.labels + 3,
        others=honest.others - 50.0,
        public=honest.public,
        public_labels=honest.public_labels,
    )
    one = guessed_by_floors(honest, labels, monkeypatch)
    other = guessed_by_floors(poisoned, labels, monkeypatch)
    assert len(one) == len(other) == (4 if shape == TABLE else 6)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    shifted = max(each.mean for each in poisoned.floors(labels).values())
    assert shifted < min(each.mean for each in honest.floors(labels).values()) - 40


@given(seed=SEEDS, count=st.integers(1, 6))
def test_floors_are_matched_as_the_attack_is(seed: int, count: int) -> None:
    """An attack that gives the very guess of a floor gets the very number of that floor."""
    truth, labels = judge(seed), torch.arange(count) + 3  # none of them is right
    beside = truth.floors(labels)
    flat = [truth.score(guess(torch.full((count, *GREY), level), labels)) for level in (0, 0.5, 1)]
    mean = truth.score(guess(truth.public.mean(dim=0).expand(count, *GREY), labels))
    of_class = torch.stack([truth.public[truth.public_labels == k].mean(dim=0) for k in labels])
    classes = truth.score(guess(of_class, labels))
    some = truth.public[torch.linspace(0, 49, count).long()]
    public = truth.score(guess(some, labels))
    found = [*flat, mean, classes, public]
    names = ["black", "grey", "white", "mean image", "mean of the guessed class", "public images"]
    assert list(beside) == names
    for floor, each in zip(beside.values(), found, strict=True):
        mine = {pair.truth: pair.psnr for pair in each.matches}
        assert mine == pytest.approx({place: floor.psnr[place] for place in mine}, abs=1e-4)
    assert {each.verdict for each in found} == {NOT_A_LEAK}


def test_a_class_that_nobody_has_published_is_guessed_as_the_mean() -> None:
    truth = judge()
    found = truth.floors(torch.tensor([77, 77]))
    assert found["mean of the guessed class"].psnr == pytest.approx(found["mean image"].psnr)


def test_the_flat_guess_of_a_table_is_its_mean_patient() -> None:
    """Columns of a table are in standard units, so nought is the middle."""
    truth = judge(shape=TABLE)
    found = truth.floors(torch.tensor([0]))
    expected = [psnr(torch.zeros(22), one) for one in truth.inputs]
    assert found["zero"].psnr == pytest.approx(expected)


# --- the most similar other example ---------------------------------------------------------------


def test_the_nearest_is_the_best_other_example_on_average() -> None:
    truth = judge()
    by_hand = [max(psnr(other, one) for other in truth.others) for one in truth.inputs]
    assert truth.nearest == pytest.approx(by_hand, abs=1e-4)
    grey = truth.score(guess(torch.full((1, *GREY), 0.5), truth.labels[:1]))
    assert grey.nearest == pytest.approx(np.mean(by_hand), abs=1e-4)


def test_a_second_copy_of_the_private_example_is_a_neighbour() -> None:
    truth = judge(private=1)
    twin = ReconstructionScorer(
        truth.inputs,
        truth.labels,
        torch.cat([truth.others, truth.inputs]),
        truth.public,
        truth.public_labels,
    )
    assert twin.nearest[0] == PEAK
    assert truth.nearest[0] < 20


# --- whose picture it is --------------------------------------------------------------------------


def by_hand(some: Tensor, pool: Tensor) -> Tensor:
    return (some.double().unsqueeze(1) - pool.double().unsqueeze(0)).square().mean(dim=2)


@given(seed=SEEDS, rows=st.integers(1, 3 * CLOSE), near=st.floats(0, 0.1))
def test_looking_up_is_the_slow_way_by_hand(seed: int, rows: int, near: float) -> None:
    pool = uniform(seed, rows, 30)
    some = pool[:5] + near * uniform(seed + 1, *pool[:5].shape)
    errors, found = by_hand(some, pool), Pool(pool)
    assert torch.allclose(found.nearest(some), errors.amin(dim=1), atol=1e-12)
    than = torch.full((len(some),), 0.05, dtype=torch.float64)
    assert torch.equal(found.nearer(some, than), (errors < 0.05).sum(dim=1))


def test_the_usual_neighbour_leaves_a_row_itself_out() -> None:
    rows = uniform(0, 60, 30)
    errors = by_hand(rows, rows).fill_diagonal_(torch.inf)
    best = [decibels(float(error)) for error in errors.amin(dim=1)]
    assert Pool(rows).usual == pytest.approx(np.percentile(best, 95), abs=1e-4)


def test_a_guess_is_told_whom_it_points_at() -> None:
    """Of three: exact; a picture of somebody else; nearer to its mate of the batch."""
    truth = judge(private=3)
    shown = torch.stack(
        [
            truth.inputs[0],
            0.4 * truth.inputs[1] + 0.6 * truth.others[7],
            0.4 * truth.inputs[2] + 0.6 * truth.inputs[0],
        ]
    )
    made = guess(shown, truth.labels)
    found = truth.identify(made, truth.score(made)).identified
    assert found is not None
    assert found.ranks == (1, 2, 2)
    assert (found.pool, found.first) == (43, 1)
    values = [psnr(a, b) for a, b in zip(shown, truth.inputs, strict=True)]
    assert found.above == sum(value > found.usual for value in values) > 0
    told = found.sentence()
    assert "1 of 3 lead to their own private example first" in told
    assert "by chance 1 in 43" in told


def test_the_margin_is_in_decibels_beyond_the_nearest_decoy() -> None:
    truth = judge(private=1)
    made = guess(0.3 * truth.inputs + 0.7 * truth.others[:1], truth.labels)
    found = truth.identify(made, truth.score(made)).identified
    assert found is not None
    expected = psnr(made.inputs[0], truth.inputs[0]) - psnr(made.inputs[0], truth.others[0])
    assert found.margin == pytest.approx(expected, abs=1e-4)
    assert found.margin < 0
    assert "dB nearer than it" in found.sentence()


def test_its_own_mean_colour_is_a_floor_in_colour_only() -> None:
    truth = judge(shape=COLOUR, private=2)
    found = truth.score(guess(uniform(3, 2, *COLOUR), truth.labels))
    flat = [one.mean(dim=(1, 2), keepdim=True).expand(COLOUR) for one in truth.inputs]
    expected = np.mean([psnr(a, b) for a, b in zip(flat, truth.inputs, strict=True)])
    assert found.own_colour == pytest.approx(expected)
    assert found.floor == pytest.approx(max(expected, *found.floors.values()))
    own = [psnr(a, b) for a, b in zip(flat, truth.inputs, strict=True)]
    mine = sorted((pair.truth, pair.psnr) for pair in found.matches)
    against = [own, *(each.psnr for each in truth.floors(truth.labels).values())]
    ahead = [np.subtract([value for _, value in mine], each) for each in against]
    assert found.gain == pytest.approx(min(np.median(each) for each in ahead))
    assert "own mean colour (needs the truth)" in found.compared()
    grey = judge()
    assert grey.score(guess(uniform(3, 2, *GREY), torch.tensor([0, 1]))).own_colour is None


def test_labels_beside_their_picture_are_told_apart_from_the_multiset() -> None:
    truth = judge(private=4)
    found = truth.score(guess(truth.inputs, truth.labels[[1, 0, 2, 3]]))
    assert (found.labels, found.association) == (1.0, 0.5)
    assert found.mse == 0.0
    fewer = truth.score(guess(truth.inputs[:3], truth.labels[:3]))
    assert fewer.counted == "3 of 4 examples"


def test_a_later_guess_is_scored_from_what_is_known_already() -> None:
    """What does not change is worked out once, and the second score is that of a new judge."""
    truth, second = judge(), guess(uniform(8, 3, *GREY), torch.tensor([4, 4, 4]))
    truth.score(guess(uniform(7, 3, *GREY), torch.tensor([1, 2, 3])))
    assert truth.score(second) == judge().score(second)


# --- real data ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clothes() -> Examples:
    return DATA_SOURCES["fashion-mnist"]().load()


def of_clothes(clothes: Examples, victims: np.ndarray) -> ReconstructionScorer:
    private = torch.from_numpy(victims)
    others = torch.ones(len(clothes.labels), dtype=torch.bool)
    others[private] = False
    return ReconstructionScorer(
        inputs=as_floats(clothes.inputs[private]),
        labels=clothes.labels[private],
        others=as_floats(clothes.inputs[others]),
        public=as_floats(clothes.test_inputs),
        public_labels=clothes.test_labels,
    )


def test_a_grey_square_is_never_called_a_leak_and_neighbours_look_alike(clothes: Examples) -> None:
    """What was measured on Fashion-MNIST: grey 9 dB, class mean 13 dB, nearest other 18 dB."""
    victims = np.random.default_rng(0).choice(len(clothes.labels), 20, replace=False)
    scores = []
    for victim in victims:
        truth = of_clothes(clothes, np.array([victim]))
        scores.append(truth.score(guess(torch.full((1, 1, 28, 28), 0.5), truth.labels)))
    assert {found.verdict for found in scores} == {NOT_A_LEAK}
    assert 15 < np.mean([found.nearest for found in scores]) < 21
    assert 7 < np.mean([found.floors["grey"] for found in scores]) < 12
    assert 11 < np.mean([found.floors["mean of the guessed class"] for found in scores]) < 16


def test_a_neighbour_in_place_of_the_picture_is_no_recognition(clothes: Examples) -> None:
    victims = np.random.default_rng(1).choice(len(clothes.labels), 4, replace=False)
    truth = of_clothes(clothes, victims)
    nearest = [
        (truth.others - one).square().flatten(1).mean(dim=1).argmin() for one in truth.inputs
    ]
    found = truth.score(guess(truth.others[torch.stack(nearest)], truth.labels))
    assert found.psnr == pytest.approx(found.nearest, abs=1e-3)
    assert found.verdict.startswith("class only")


def test_tables_are_scored_too() -> None:
    heart = DATA_SOURCES["heart"]().load()
    truth = ReconstructionScorer(
        inputs=heart.inputs[:3],
        labels=heart.labels[:3],
        others=heart.inputs[3:],
        public=heart.test_inputs,
        public_labels=heart.test_labels,
    )
    exact = truth.score(guess(heart.inputs[:3].flip(0), heart.labels[:3].flip(0)))
    assert (exact.verdict, exact.psnr, exact.labels, exact.ssim) == ("exact", PEAK, 1.0, None)
    nothing = truth.score(guess(torch.zeros(3, 22), heart.labels[:3]))
    assert nothing.verdict == NOT_A_LEAK
    assert nothing.psnr == pytest.approx(nothing.floors["zero"])
    assert nothing.gain <= 0


@pytest.mark.parametrize(
    "who",
    [
        "honest",
        pytest.param(
            "malicious",
        ),
    ],
)
def test_the_victim_is_not_its_own_neighbour(who: str) -> None:
    experiment = Experiment.read(
        {
            "data": {"source": "fashion-mnist", "clients": 10},
            "model": {"kind": "mlp"},
            "training": {"rounds": 1, "steps": 1, "batch_size": 1},
            "adversary": {"count": 3, "attack": "label-flip"},
        }
    )
    bad = malicious_clients(experiment)
    client = bad[0] if who == "malicious" else min(set(range(10)) - set(bad))
    spy = PRIVACY_ATTACKS["first-layer"]()
    assert isinstance(spy, ReconstructionAttack)
    *_, last = run_reconstruction(spy, next(run(experiment)), client)
    assert last.score is not None
    assert last.score.nearest < 40
