"""Verdicts on a reconstruction: at their borders, of labels alone, and what luck gives."""

from __future__ import annotations

from math import nextafter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lab.scoring.reconstruction.image_metrics import PEAK
from lab.scoring.reconstruction.label_score import by_luck
from lab.scoring.reconstruction.verdict import EXACT, GAIN, LUCK, VERDICTS, reconstruction_verdict
from tests.support.scored_images import GREY, NOT_A_LEAK, guess, judge, uniform


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
