"""Poisons of labels, of weights, and one attacker under many names: by hand, and whole runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attacks import POISONING_ATTACKS
from defenses import AGGREGATION_RULES
from lab.common.settings import SettingError
from tests.support.poisoning import CLASSES, SEEDS, SMALL, attacked, cohort_of, last, rows_of

# --- labels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "labels", "taught"),
    [(10, [0, 3, 9, 5], [9, 6, 0, 4]), (2, [0, 1], [1, 0]), (3, [0, 1, 2], [2, 1, 0])],
)
@pytest.mark.parametrize("name", ["label-flip", "inflated-weight"])
def test_the_label_flip_teaches_the_class_at_the_other_end(
    name: str, classes: int, labels: list[int], taught: list[int]
) -> None:
    inputs = torch.rand(len(labels), 4)
    same, flipped = POISONING_ATTACKS[name]().data(inputs, torch.tensor(labels), classes)
    assert flipped.tolist() == taught
    assert torch.equal(same, inputs)


@given(seed=SEEDS, classes=st.integers(2, 40))
def test_the_label_flip_undoes_itself(seed: int, classes: int) -> None:
    labels = torch.from_numpy(np.random.default_rng(seed).integers(0, classes, 30))
    poison, inputs = POISONING_ATTACKS["label-flip"](), torch.zeros(30, 1)
    once = poison.data(inputs, labels, classes)[1]
    assert torch.equal(poison.data(inputs, once, classes)[1], labels)


@pytest.mark.parametrize("name", ["targeted-flip", "sybil"])
def test_a_targeted_flip_teaches_one_class_as_another_and_no_other(name: str) -> None:
    inputs, labels = torch.rand(5, 4), torch.tensor([5, 3, 0, 5, 9])
    same, flipped = POISONING_ATTACKS[name](origin=5, target=3).data(inputs, labels, CLASSES)
    assert flipped.tolist() == [3, 3, 0, 3, 9]
    assert torch.equal(same, inputs)


@pytest.mark.parametrize("name", ["targeted-flip", "sybil"])
def test_success_is_measured_on_the_class_that_was_flipped(name: str) -> None:
    inputs, labels = torch.rand(5, 4), torch.tensor([5, 3, 0, 5, 9])
    goal = POISONING_ATTACKS[name](origin=5, target=3).goal(inputs, labels)
    assert goal is not None
    assert torch.equal(goal[0], inputs[[0, 3]])
    assert goal[1].tolist() == [3, 3]


@pytest.mark.parametrize("name", ["targeted-flip", "sybil"])
@pytest.mark.parametrize(
    ("origin", "target", "remedy"),
    [
        (10, 3, "origin is 10: there are 10 classes, give 0 to 9"),
        (3, 12, "target is 12: there are 10 classes, give 0 to 9"),
        (4, 4, "target is 4, and so is origin.*give another class"),
    ],
)
def test_a_flip_that_there_is_not_is_refused(
    name: str, origin: int, target: int, remedy: str
) -> None:
    with pytest.raises(SettingError, match=f"adversary.attack.{remedy}"):
        attacked(name, origin=origin, target=target)


@pytest.mark.parametrize("name", ["targeted-flip", "sybil"])
def test_a_flip_goes_with_two_classes_as_it_is(name: str) -> None:
    POISONING_ATTACKS[name]().check((13,), 2)


# --- rows -----------------------------------------------------------------------------------------


def test_the_sign_flip_sends_the_own_update_backwards() -> None:
    rows = torch.tensor([[1.0, -2.0], [3.0, 4.0]])
    sent = POISONING_ATTACKS["sign-flip"](scale=3).rows(rows, cohort_of([True, False]))
    assert sent.tolist() == [[-3.0, 6.0], [3.0, 4.0]]


@given(seed=SEEDS, scale=st.floats(1e-3, 100))
def test_the_sign_flip_is_minus_scale_times_the_own_row(seed: int, scale: float) -> None:
    rows, bad = rows_of(seed, 5), [False, True, True, False, True]
    sent = POISONING_ATTACKS["sign-flip"](scale=scale).rows(rows, cohort_of(bad))
    assert torch.equal(sent[[0, 3]], rows[[0, 3]])
    assert torch.allclose(sent[[1, 2, 4]], -scale * rows[[1, 2, 4]], rtol=1e-4)


def test_sybils_send_the_mean_of_what_they_trained() -> None:
    """Whatever each of them weighs."""
    rows = torch.tensor([[1.0, -2.0], [3.0, 4.0], [5.0, 0.0]])
    sent = POISONING_ATTACKS["sybil"]().rows(rows, cohort_of([True, False, True], [9.0, 1.0, 1.0]))
    assert sent.tolist() == [[3.0, -1.0], [3.0, 4.0], [3.0, -1.0]]


def test_jitter_is_noise_in_lengths_of_the_update_and_of_each_identity() -> None:
    rows = rows_of(0, 4, 20_000)
    cohort = cohort_of([True, True, False, True])
    update = rows[cohort.malicious].mean(dim=0)
    noise = POISONING_ATTACKS["sybil"](jitter=0.5).rows(rows, cohort)[cohort.malicious] - update
    lengths = torch.linalg.vector_norm(noise, dim=1) / torch.linalg.vector_norm(update)
    assert torch.allclose(lengths, torch.tensor(0.5), rtol=0.03)
    cosines = torch.corrcoef(noise)[[0, 0, 1], [1, 2, 2]]
    assert cosines.abs().max() < 5 / math.sqrt(20_000)


def test_the_noise_of_an_identity_does_not_depend_on_who_else_there_is() -> None:
    rows, poison = rows_of(0, 1).expand(4, -1), POISONING_ATTACKS["sybil"](jitter=0.5)
    few = poison.rows(rows, cohort_of([False, True, False, False]))
    many = poison.rows(rows, cohort_of([True, True, False, True]))
    assert torch.allclose(few[1], many[1])


# --- weights --------------------------------------------------------------------------------------


def test_liars_report_a_multiple_of_their_examples() -> None:
    """And who holds none reports as if it held one."""
    weights, bad = torch.tensor([10.0, 20.0, 0.0, 0.0]), torch.tensor([False, True, True, False])
    claimed = POISONING_ATTACKS["inflated-weight"](factor=50).claims(weights, bad)
    assert claimed.tolist() == [10.0, 1000.0, 50.0, 0.0]
    assert POISONING_ATTACKS["inflated-weight"](factor=1).claims(weights, bad)[1] == 20.0


def test_the_mean_comes_to_the_row_of_whoever_lies_most() -> None:
    rows, bad = torch.tensor([[1.0], [1.0], [-1.0]]), torch.tensor([False, False, True])
    weights = POISONING_ATTACKS["inflated-weight"](factor=98).claims(torch.ones(3), bad)
    assert AGGREGATION_RULES["mean"]()(rows, weights).item() == pytest.approx((2 - 98) / 100)


# --- whole runs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_median_stands_where_sign_flips_destroy_the_mean(seed: int) -> None:
    calm = SMALL.changed({"seed": seed})
    storm = attacked("sign-flip", 4, scale=3).changed({"seed": seed})
    assert last(calm).record.accuracy > 0.85
    assert last(storm).record.accuracy < 0.2
    assert last(storm.changed({"aggregation.rule.kind": "median"})).record.accuracy > 0.75


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_majority_that_flips_labels_is_believed(seed: int) -> None:
    few, most = (attacked("label-flip", count).changed({"seed": seed}) for count in (2, 6))
    assert last(few).record.accuracy > 0.8
    assert last(most).record.accuracy < 0.2


@pytest.mark.parametrize("name", ["targeted-flip", "sybil"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_targeted_flip_misreads_one_class_and_spares_the_others(name: str, seed: int) -> None:
    few, most = (
        last(attacked(name, count, origin=6, target=4).changed({"seed": seed})).record
        for count in (1, 7)
    )
    assert few.backdoor is not None
    assert most.backdoor is not None
    assert few.backdoor < 0.1
    assert most.backdoor > 0.5
    assert most.accuracy > 0.75
