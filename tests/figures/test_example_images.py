"""Pictures: a PNG shows every pixel as it was, only larger."""

from __future__ import annotations

from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lab.figures.example_images import SIDE, data_uri, framed, png, side_by_side


def opened(content: bytes) -> Image.Image:
    with Image.open(BytesIO(content)) as image:
        assert image.format == "PNG"
        image.load()
        return image


@pytest.mark.parametrize(
    ("shape", "side", "size", "mode"),
    [
        ((1, 8, 8), SIDE, (112, 112), "L"),
        ((1, 28, 28), SIDE, (112, 112), "L"),
        ((3, 32, 32), SIDE, (128, 128), "RGB"),  # by whole pixels: 3.5 times becomes 4
        ((3, 5, 9), 10, (18, 10), "RGB"),
        ((1, 200, 100), SIDE, (100, 200), "L"),  # never smaller than it is
    ],
)
def test_a_png_has_the_right_size_and_colours(
    shape: tuple[int, ...], side: int, size: tuple[int, int], mode: str
) -> None:
    image = opened(png(torch.rand(shape, generator=torch.Generator().manual_seed(0)), side))
    assert (image.size, image.mode) == (size, mode)


@given(seed=st.integers(0, 10**6), colours=st.sampled_from([1, 3]), factor=st.integers(1, 4))
def test_a_png_is_the_picture_in_larger_pixels(seed: int, colours: int, factor: int) -> None:
    bytes_ = np.random.default_rng(seed).integers(0, 256, (colours, 6, 7), dtype=np.uint8)
    shown = np.asarray(opened(png(torch.from_numpy(bytes_).float() / 255, side=6 * factor)))
    expected = bytes_.repeat(factor, axis=1).repeat(factor, axis=2).transpose(1, 2, 0)
    assert np.array_equal(shown.reshape(expected.shape), expected)


def test_what_lies_outside_black_and_white_is_clamped() -> None:
    shown = np.asarray(opened(png(torch.tensor([[[-3.0, 0.0, 0.5, 1.0, 7.5]]]), side=1)))
    assert shown.tolist() == [[0, 0, 128, 255, 255]]


def test_a_picture_is_left_as_it_was() -> None:
    picture = torch.tensor([[[-1.0, 2.0]]])
    png(picture)
    assert picture.tolist() == [[[-1.0, 2.0]]]


def test_two_pictures_stand_side_by_side() -> None:
    left, right = torch.zeros(3, 4, 5), torch.full((3, 4, 5), 0.5)
    both = side_by_side(left, right)
    assert both.shape == (3, 4, 11)
    assert torch.equal(both[..., :5], left)
    assert torch.equal(both[..., 5], torch.ones(3, 4))
    assert torch.equal(both[..., 6:], right)


def test_a_data_uri_holds_the_png() -> None:
    picture = torch.linspace(0, 1, 64).view(1, 8, 8)
    start, _, content = data_uri(picture).partition(",")
    assert start == "data:image/png;base64"
    assert b64decode(content) == png(picture)


def test_a_frame_is_a_grey_rim_around_the_picture() -> None:
    picture = torch.rand(3, 2, 4)
    found = framed(picture)
    assert found.shape == (3, 4, 6)
    assert torch.equal(found[:, 1:-1, 1:-1], picture)
    rim = torch.ones(4, 6, dtype=torch.bool)
    rim[1:-1, 1:-1] = False
    assert (found[:, rim] == 0.5).all()
