"""Sources: every one gives what it declares, counted by hand, and nothing on both sides."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import torch
from torch import Tensor

from datasets import DATA_SOURCES
from datasets.sources import faces, heart
from datasets.sources.shared import file_lookup
from lab.interfaces.data import Examples
from lab.models.inputs import as_floats
from tests.support.data import FULL, FULL_IS_HERE, examples_of
from tests.support.data import no_data_of_the_user as no_data_of_the_user

HERE = [kind for kind in DATA_SOURCES if kind != FULL or FULL_IS_HERE]
PICTURES = [kind for kind in HERE if len(DATA_SOURCES[kind].shape) == 3]
# Two pairs of patients have the same 22 columns, and somebody typed "ink" over and over; all else
# is found on one side only.
SAME_ON_BOTH_SIDES = {"heart": 2, "chat": 1}


def tensors(examples: Examples) -> list[Tensor]:
    found = [examples.inputs, examples.labels, examples.test_inputs, examples.test_labels]
    return found if examples.groups is None else [*found, examples.groups]


def contents(inputs: Tensor) -> set[bytes]:
    return {row.tobytes() for row in inputs.flatten(1).numpy()}


# --- by hand ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "train", "test"),
    [
        ("fashion-mnist", [1000] * 10, [200] * 10),
        ("mnist-5k", [400] * 10, [100] * 10),
        ("heart", [271, 336], [140, 173]),
        ("adult", [5974, 2026], [1522, 478]),
        ("photos", [56] * 7, [14] * 7),
        ("faces", [80, 80], [20, 20]),
    ],
)
def test_classes_have_the_sizes_that_were_counted(
    kind: str, train: list[int], test: list[int]
) -> None:
    assert torch.bincount(examples_of(kind).labels).tolist() == train
    assert torch.bincount(examples_of(kind).test_labels).tolist() == test


def test_hospitals_have_the_patients_that_were_counted() -> None:
    """303, 294, 123 and 200 patients in all, of whom 34 % of each diagnosis are held out."""
    assert torch.bincount(examples_of("heart").groups).tolist() == [200, 194, 81, 132]
    assert heart.HOSPITALS == ("Cleveland", "Hungary", "Switzerland", "VA Long Beach")


def test_patients_are_measured_in_units_of_the_training_patients() -> None:
    measured = examples_of("heart").inputs[:, : len(heart.MEASURED)]
    age = measured[:, 0]  # everybody's is known
    assert age.mean().item() == pytest.approx(0, abs=1e-6)
    assert age.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    answers = examples_of("heart").inputs[:, len(heart.MEASURED) :]
    assert set(answers.unique().tolist()) == {0.0, 1.0}


def test_switzerland_measured_no_cholesterol() -> None:
    swiss = examples_of("heart").inputs[examples_of("heart").groups == 2]
    missing = len(swiss[0]) - len(heart.OFTEN_MISSING) + heart.OFTEN_MISSING.index("chol")
    assert (swiss[:, missing] == 1).all()
    assert (swiss[:, heart.MEASURED.index("chol")] == 0).all()  # the mean, in standard units


def test_a_small_digit_has_seventeen_shades() -> None:
    assert examples_of("digits").inputs.unique().tolist() == [
        round(k * 255 / 16) for k in range(17)
    ]


def test_a_face_is_one_of_the_first_hundred_of_its_file() -> None:
    folder = file_lookup.package_folder("skimage", "data")
    content = file_lookup.read("lfw_subset.npy", faces.DIGEST, [folder], "")
    pixels = np.rint(np.load(BytesIO(content)) * 255).astype(np.uint8)
    examples = examples_of("faces")
    inputs = torch.cat([examples.inputs, examples.test_inputs])
    labels = torch.cat([examples.labels, examples.test_labels])
    assert contents(inputs[labels == 1]) == contents(torch.from_numpy(pixels[:100]))
    assert contents(inputs[labels == 0]) == contents(torch.from_numpy(pixels[100:]))


def test_a_crop_of_a_photograph_is_one_of_seventy() -> None:
    """One, nine and twenty-five cuts of each photograph, and the mirror image of each."""
    examples = examples_of("photos")
    assert len(examples.labels) + len(examples.test_labels) == 7 * 2 * (1 + 9 + 25)
    both = torch.cat([examples.inputs, examples.test_inputs])
    assert contents(both) == contents(both.flip(-1))


def test_the_held_out_share_is_taken_of_every_class() -> None:
    train, test = file_lookup.holdout(np.repeat([3, 1], [10, 20]), 0.2)
    assert (len(train), len(test)) == (24, 6)
    assert np.sort(np.concatenate([train, test])).tolist() == list(range(30))
    assert (test < 10).sum() == 2


def test_the_head_of_examples_keeps_test_and_owners() -> None:
    examples = examples_of("heart")
    head = examples.head(np.array([5, 2]))
    assert torch.equal(head.inputs, examples.inputs[[5, 2]])
    assert torch.equal(head.labels, examples.labels[[5, 2]])
    assert torch.equal(head.groups, examples.groups[[5, 2]])
    assert head.test_inputs is examples.test_inputs


# --- promises -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", HERE)
def test_a_source_gives_what_it_declares(kind: str) -> None:
    source, examples = DATA_SOURCES[kind](), examples_of(kind)
    assert tuple(examples.inputs.shape) == (source.size, *source.shape)
    assert tuple(examples.labels.shape) == (source.size,)
    assert tuple(examples.test_inputs.shape[1:]) == source.shape
    assert len(examples.test_inputs) == len(examples.test_labels) > 0
    for labels in (examples.labels, examples.test_labels):
        assert labels.dtype == torch.int64
        every = list(range(len(source.classes)))
        # Of three thousand words, not each one comes next somewhere.
        assert set(labels.tolist()) <= set(every)
        assert source.content == "text" or labels.unique().tolist() == every
    if source.groups:
        assert examples.groups.shape == examples.labels.shape
        assert examples.groups.unique().tolist() == list(range(len(source.groups)))
    else:
        assert examples.groups is None


@pytest.mark.parametrize("kind", HERE)
def test_pictures_are_bytes_and_tables_are_finite_floats(kind: str) -> None:
    examples = examples_of(kind)
    pictures = kind in PICTURES
    for inputs in (examples.inputs, examples.test_inputs):
        assert inputs.dtype == (torch.uint8 if pictures else torch.float32)
        floats = as_floats(inputs[:500])
        assert floats.isfinite().all()
        assert floats.std() > 0.05
        assert not pictures or 0 <= floats.min() < floats.max() <= 1


@pytest.mark.parametrize("kind", HERE)
def test_no_test_example_was_trained_on(kind: str) -> None:
    """Exact copies, that is; crops of one photograph overlap, and the source says so."""
    examples = examples_of(kind)
    both = contents(examples.inputs) & contents(examples.test_inputs)
    assert len(both) == SAME_ON_BOTH_SIDES.get(kind, 0)


@pytest.mark.parametrize("kind", HERE)
def test_every_load_gives_the_same_in_memory_of_its_own(kind: str) -> None:
    again = DATA_SOURCES[kind]().load()
    for one, other in zip(tensors(examples_of(kind)), tensors(again), strict=True):
        assert torch.equal(one, other)
        assert one.data_ptr() != other.data_ptr()
