"""Likeness: the score of a reconstruction, by hand, against oracles, and beside honest floors."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, permutations
from math import log10, nextafter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from attacks import PRIVACY_ATTACKS
from datasets import DATA_SOURCES
from lab import Experiment, run
from lab.attack_runs.reconstruction.reconstruction import run_reconstruction
from lab.engine.data.malicious_clients import malicious_clients
from lab.interfaces.attack_data import ReconstructedBatch
from lab.interfaces.data import Examples
from lab.interfaces.privacy_attacks import ReconstructionAttack
from lab.models.inputs import as_floats
from lab.scoring.reconstruction import guess_baselines
from lab.scoring.reconstruction.identification import CLOSE, Pool
from lab.scoring.reconstruction.image_metrics import PEAK, decibels, match, psnr, ssim
from lab.scoring.reconstruction.image_scorer import ReconstructionScorer
from lab.scoring.reconstruction.label_score import by_luck, even_share, label_share
from lab.scoring.reconstruction.verdict import EXACT, GAIN, LUCK, VERDICTS, reconstruction_verdict

SEEDS = st.integers(0, 10**6)
GREY, COLOUR, TABLE = (1, 12, 14), (3, 16, 13), (22,)
NOT_A_LEAK = "no better than a guess without the gradient"


def uniform(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def judge(seed: int = 0, private: int = 3, shape: tuple[int, ...] = GREY) -> ReconstructionScorer:
    """Noise all over, so that nobody's picture resembles anybody's."""
    return ReconstructionScorer(
        inputs=uniform(seed, private, *shape),
        labels=torch.arange(private) % 10,
        others=uniform(seed + 1, 40, *shape),
        public=uniform(seed + 2, 50, *shape),
        public_labels=torch.arange(50) % 10,
    )


def guess(inputs: Tensor, labels: Tensor) -> ReconstructedBatch:
    return ReconstructedBatch(inputs, labels, step=1, steps=1)


# --- PSNR ---------------------------------------------------------------------------------------


def test_psnr_by_hand() -> None:
    truth = torch.zeros(1, 2, 2)
    assert psnr(truth + 0.1, truth) == pytest.approx(20.0)
    # One pixel of four is wrong by a half: mean squared error 1 / 16.
    one = torch.tensor([[[0.5, 0.0], [0.0, 0.0]]])
    assert psnr(one, truth) == pytest.approx(10 * log10(16))
    assert psnr(truth + 1, truth) == 0.0


def test_a_perfect_guess_has_the_largest_psnr_there_is() -> None:
    truth = uniform(0, *GREY)
    assert psnr(truth, truth) == PEAK == 120.0
    assert psnr(truth.double() + 1e-9, truth) == PEAK


@given(seed=SEEDS, shape=st.sampled_from([GREY, COLOUR, TABLE]), error=st.floats(1e-4, 1))
def test_psnr_is_scikit_images(seed: int, shape: tuple[int, ...], error: float) -> None:
    truth = uniform(seed, *shape)
    shown = truth + error * (uniform(seed + 1, *shape) - 0.5)
    expected = peak_signal_noise_ratio(truth.double().numpy(), shown.double().numpy(), data_range=1)
    assert psnr(shown, truth) == pytest.approx(expected, abs=1e-9)


def test_a_guess_that_is_no_number_is_no_perfect_match() -> None:
    truth = torch.zeros(1, 2, 2)
    assert not psnr(truth + torch.nan, truth) >= EXACT


# --- SSIM ---------------------------------------------------------------------------------------


def wang(guessed: Tensor, truth: Tensor) -> float:
    """Wang et al. 2004, section III.B: 11 x 11 Gaussian window of sigma 1.5, formula (13)."""
    bell = torch.exp(-torch.arange(-5.0, 6.0).double().square() / (2 * 1.5**2))
    window = torch.outer(bell, bell)
    window = (window / window.sum()).view(1, 1, 11, 11)
    c_1, c_2 = 0.01**2, 0.03**2

    def local(pictures: Tensor) -> Tensor:
        """Colours are averaged at the end.  (colours, height, width) -> where windows fit"""
        return F.conv2d(pictures.double().unsqueeze(1), window)

    x, y = guessed.double(), truth.double()
    mean_x, mean_y = local(x), local(y)
    spread_x, spread_y = local(x * x) - mean_x**2, local(y * y) - mean_y**2
    both = local(x * y) - mean_x * mean_y
    above = (2 * mean_x * mean_y + c_1) * (2 * both + c_2)
    below = (mean_x**2 + mean_y**2 + c_1) * (spread_x + spread_y + c_2)
    return float((above / below).mean())


@given(seed=SEEDS, shape=st.sampled_from([GREY, COLOUR, (1, 11, 11)]), mix=st.floats(0, 1))
def test_ssim_is_wangs_formula_and_scikit_images(
    seed: int, shape: tuple[int, ...], mix: float
) -> None:
    truth = uniform(seed, *shape)
    shown = mix * truth + (1 - mix) * uniform(seed + 1, *shape)
    found = ssim(shown, truth)
    assert found == pytest.approx(wang(shown, truth), abs=1e-9)
    theirs = structural_similarity(
        truth.double().permute(1, 2, 0).numpy(),
        shown.double().permute(1, 2, 0).numpy(),
        win_size=11,
        channel_axis=2,
        data_range=1,
        gaussian_weights=True,
        use_sample_covariance=False,
    )
    assert found == pytest.approx(theirs, abs=1e-9)


def test_ssim_of_two_flat_pictures_by_hand() -> None:
    dark, light = torch.full(GREY, 0.2), torch.full(GREY, 0.8)
    expected = (2 * 0.2 * 0.8 + 1e-4) / (0.2**2 + 0.8**2 + 1e-4)
    assert ssim(dark, light) == pytest.approx(expected, abs=1e-6)
    assert ssim(light, light) == pytest.approx(1.0)


@pytest.mark.parametrize("shape", [TABLE, (1, 10, 28), (1, 28, 10), (1, 8, 8)])
def test_ssim_says_nothing_where_its_window_does_not_fit(shape: tuple[int, ...]) -> None:
    assert ssim(uniform(0, *shape), uniform(1, *shape)) is None


# --- matching -----------------------------------------------------------------------------------


@given(seed=SEEDS, guesses=st.integers(1, 5), truths=st.integers(1, 5))
def test_the_matching_is_the_best_of_all(seed: int, guesses: int, truths: int) -> None:
    mine, theirs = uniform(seed, guesses, 2, 3), uniform(seed + 1, truths, 2, 3)
    errors = (mine.unsqueeze(1) - theirs.unsqueeze(0)).double().square().sum(dim=(2, 3)).numpy()
    pairs = min(guesses, truths)
    if guesses >= truths:
        best = min(errors[list(p), range(pairs)].sum() for p in permutations(range(guesses), pairs))
    else:
        best = min(errors[range(pairs), list(p)].sum() for p in permutations(range(truths), pairs))
    found = match(mine, theirs)
    assert len(found) == len({one for one, _ in found}) == len({two for _, two in found}) == pairs
    assert sum(errors[pair] for pair in found) == pytest.approx(best, abs=1e-9)


def test_the_nearest_pair_is_given_up_for_a_better_whole() -> None:
    # Guess .4 is nearest to .5, but then .6 would have to go with 0.
    mine, theirs = torch.tensor([[0.4], [0.6]]), torch.tensor([[0.0], [0.5]])
    assert match(mine, theirs) == [(0, 0), (1, 1)]


@given(seed=SEEDS, private=st.integers(1, 30), shape=st.sampled_from([GREY, COLOUR, TABLE]))
def test_exact_pictures_in_any_order_are_exact(
    seed: int, private: int, shape: tuple[int, ...]
) -> None:
    truth = judge(seed, private, shape)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(private))
    found = truth.score(guess(truth.inputs[order], truth.labels[order]))
    assert (found.psnr, found.worst, found.best) == (PEAK, PEAK, PEAK)
    assert found.labels == 1.0
    assert found.verdict == "exact"
    assert found.ssim is None if shape == TABLE else found.ssim == pytest.approx(1.0)
    assert all(int(order[pair.guess]) == pair.truth for pair in found.matches)
    assert all(pair.label_right for pair in found.matches)


@pytest.mark.parametrize("guesses", [1, 4, 9])
def test_there_are_as_many_matches_as_the_shorter_side_has(guesses: int) -> None:
    truth = judge(private=4)
    found = truth.score(guess(uniform(9, guesses, *GREY), torch.zeros(guesses, dtype=torch.int64)))
    assert len(found.matches) == min(guesses, 4)
    values = {pair.truth: pair.psnr for pair in found.matches}
    best = max(truth.floors(torch.zeros(guesses, dtype=torch.int64)).values(), key=lambda f: f.mean)
    whole = [values.get(place, best.psnr[place]) for place in range(4)]
    assert found.psnr == pytest.approx(np.mean(whole))
    assert found.median == pytest.approx(np.median(whole))
    assert (found.worst, found.best) == (min(whole), max(whole))
    assert found.floor == max(found.floors.values())


# --- labels -------------------------------------------------------------------------------------


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


# --- floors -------------------------------------------------------------------------------------


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


# --- the most similar other example -------------------------------------------------------------


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


# --- the verdict --------------------------------------------------------------------------------


def of_one(found: float, floor: float, nearest: float, luck: float = 1.0) -> str:
    """The verdict on a single example, from its PSNR."""
    gains = found - floor, found - nearest
    return reconstruction_verdict(int(found >= EXACT), 1, *gains, luck, guessed=int(floor >= EXACT))


@pytest.mark.parametrize(
    ("found", "floor", "nearest", "begins"),
    [
        (EXACT, 10, 18, "exact"),
        (nextafter(EXACT, 0), 10, 18, "recognisable"),
        (18.001 + GAIN, 10, 18, "recognisable"),
        (18 + GAIN, 10, 18, "class only"),
        (10.001 + GAIN, 10, 18, "class only"),
        (10 + GAIN, 10, 18, "no better"),
        (5.0, 10, 18, "no better"),
        # A floor above the nearest example is the bar for both.
        (25.001 + GAIN, 25, 18, "recognisable"),
        (25 + GAIN, 25, 18, "no better"),
        # Exact stays exact, even where another example is just the same.
        (PEAK, 10, PEAK, "exact"),
        # What a guess has to the last digit is no leak.
        (PEAK, PEAK, 18, "no better"),
        (40.0, 10, PEAK, "class only"),
    ],
)
def test_the_verdict_at_its_borders(
    found: float, floor: float, nearest: float, begins: str
) -> None:
    assert of_one(found, floor, nearest).startswith(begins)


@given(low=st.floats(0, 120), step=st.floats(0, 40), floor=st.floats(0, 40), near=st.floats(0, 40))
def test_a_better_guess_never_gets_a_milder_verdict(
    low: float, step: float, floor: float, near: float
) -> None:
    def place(found: float) -> int:
        told = of_one(found, floor, near)
        return next(k for k, word in enumerate(VERDICTS) if told.startswith(word))

    assert place(low) <= place(low + step)


def test_a_batch_is_not_exact_because_half_of_it_is() -> None:
    truth = judge(private=2)
    half = truth.inputs.clone()
    half[1] = 0.0
    found = truth.score(guess(half, truth.labels))
    assert found.worst < found.floor
    assert found.verdict == "partly exact: 1 of 2 exact"


def test_the_input_is_left_as_it_was() -> None:
    truth = judge()
    made = guess(uniform(5, 4, *GREY), torch.tensor([1, 2, 3, 4]))
    before = truth.inputs.clone(), truth.others.clone(), truth.public.clone(), made.inputs.clone()
    once, again = truth.score(made), truth.score(made)
    assert once == again
    for now, then in zip(
        (truth.inputs, truth.others, truth.public, made.inputs), before, strict=True
    ):
        assert torch.equal(now, then)


def test_labels_alone_are_the_class_and_no_more() -> None:
    """Three of three right, where one in ten is right by luck."""
    truth = judge(private=3)
    grey = torch.full((3, *GREY), 0.5)
    named = truth.score(guess(grey, truth.labels))
    assert named.verdict.startswith("class only: the labels are right")
    assert truth.score(guess(grey, truth.labels + 4)).verdict == NOT_A_LEAK
    one = judge(private=1)  # right by luck one time in ten: nothing to call a leak
    assert one.score(guess(grey[:1], one.labels)).verdict == NOT_A_LEAK


@pytest.mark.parametrize(
    ("right", "count", "true", "classes", "chance"),
    [
        (0, 5, [3], 10, 1.0),
        (1, 1, [3], 10, 0.1),
        (2, 2, [3, 3], 10, 0.01),
        (2, 2, [3, 4], 10, 0.02),  # in either order
        (2, 3, [0, 0, 0], 2, 0.5),
        (1, 3, [0, 1, 1], 3, 1 - (1 / 3) ** 3),  # all of the third class
    ],
)
def test_luck_by_hand(right: int, count: int, true: list[int], classes: int, chance: float) -> None:
    found = by_luck(right, count, torch.tensor(true), classes)
    assert found == pytest.approx(chance, abs=0.015)
    assert found == by_luck(right, count, torch.tensor(true), classes)


@given(median=st.floats(0, 59), floor=st.floats(0, 40), near=st.floats(0, 40))
def test_every_verdict_is_one_of_five_words(median: float, floor: float, near: float) -> None:
    for luck in (1.0, LUCK, 0.0):
        told = of_one(median, floor, near, luck)
        assert sum(told.startswith(word) for word in VERDICTS) == 1
    assert of_one(PEAK, floor, near) == VERDICTS[-1]
    assert reconstruction_verdict(1, 2, median - floor, median - near).startswith(VERDICTS[-2])


def test_each_pair_has_a_word_of_its_own_from_its_own_neighbour() -> None:
    truth = judge(private=2)
    found = truth.score(guess(torch.stack([truth.inputs[0], torch.zeros(GREY)]), truth.labels))
    assert [found.word(k) for k in range(2)] == ["exact", "no better than a guess"]
    assert [caption.split(", ")[1] for caption in found.captions()] == [
        found.word(0),
        found.word(1),
    ]


# --- whose picture it is ------------------------------------------------------------------------


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


# --- real data ----------------------------------------------------------------------------------


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
