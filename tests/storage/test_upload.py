"""Upload: whatever is given, a picture comes of it or a sentence, and never anything else."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lab.common.settings import SettingError
from lab.storage.uploads import MEGABYTES, decoded, read

COLOUR, GREY = (3, 32, 32), (1, 28, 28)


def saved(image: Image.Image, kind: str = "PNG", **settings: object) -> bytes:
    target = BytesIO()
    image.save(target, kind, **settings)
    return target.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims so many pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    content = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + header + content + chunk(b"IEND", b"")


def halves(left: str = "red", right: str = "blue", size: tuple[int, int] = (64, 64)) -> Image.Image:
    image = Image.new("RGB", size, left)
    image.paste(right, (size[0] // 2, 0, size[0], size[1]))
    return image


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_comes_in_the_size_and_colours_of_the_run(kind: str) -> None:
    found = decoded(saved(halves(), kind), COLOUR)
    assert (found.shape, found.dtype) == ((1, *COLOUR), torch.uint8)
    red, blue = found[0, :, 16, 4].tolist(), found[0, :, 16, 28].tolist()
    assert red[0] > 200 > 50 > red[2]
    assert blue[2] > 200 > 50 > blue[0]
    assert decoded(saved(halves(), kind), GREY).shape == (1, *GREY)


def test_grey_is_the_usual_mean_of_colours() -> None:
    found = decoded(saved(Image.new("RGB", (9, 9), (255, 0, 0))), GREY)
    assert found.unique().tolist() == [round(0.299 * 255)]


def test_the_middle_of_a_wide_picture_is_kept_undistorted() -> None:
    wide = Image.new("RGB", (300, 100), "black")
    wide.paste("white", (90, 0, 210, 100))
    assert int(decoded(saved(wide), COLOUR).min()) == 255


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (1, 1), "white"),
        Image.new("L", (40, 3), 255),
        Image.new("1", (40, 40), 1),
        Image.new("P", (40, 40), 0).convert("P"),
        Image.new("LA", (40, 40), (255, 255)),
        Image.new("RGBA", (40, 40), (0, 0, 0, 0)),  # what is transparent lies on white
        Image.fromarray(np.full((40, 40), 65535, np.uint16)),
    ],
    ids=["1x1", "flat", "bits", "palette", "grey alpha", "clear", "16 bits"],
)
def test_every_kind_of_png_is_read(image: Image.Image) -> None:
    found = decoded(saved(image), COLOUR)
    assert found.shape == (1, *COLOUR)
    if image.mode != "P":
        assert found.unique().tolist() == [255]


def test_sixteen_bits_keep_their_shade() -> None:
    half = Image.fromarray(np.full((40, 40), 0x8080, np.uint16))
    assert decoded(saved(half), GREY).unique().tolist() == [128]


def test_cmyk_is_read_as_colours() -> None:
    found = decoded(saved(Image.new("CMYK", (40, 40), (0, 0, 0, 0)), "JPEG"), COLOUR)
    assert int(found.min()) > 250


def test_of_an_animation_the_first_picture_counts() -> None:
    second = Image.new("RGB", (20, 20), "black")
    content = saved(
        Image.new("RGB", (20, 20), "white"), save_all=True, append_images=[second], duration=10
    )
    assert decoded(content, COLOUR).unique().tolist() == [255]


def test_a_turned_photograph_is_set_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    upright = decoded(saved(halves(), "JPEG", exif=exif.tobytes()), COLOUR)
    assert int(upright[0, 2, 16, 4]) > 200  # blue has come to the left


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "neither PNG nor JPEG"),
        (b"hello, I am a PNG", "neither PNG nor JPEG"),
        (saved(Image.new("RGB", (20, 20)), "GIF"), "neither PNG nor JPEG"),
        (saved(Image.new("RGB", (20, 20)), "BMP"), "neither PNG nor JPEG"),
        (bomb(6000, 6000), "6,000 x 6,000 pixels, which is too many"),
        (bomb(60_000, 60_000), "cannot be read"),
        (bomb(2**31 - 1, 2**31 - 1), "cannot be read"),
        (b"\x89PNG" + b"\0" * (MEGABYTES * 2**20), "too long"),
    ],
    ids=["empty", "text", "gif", "bitmap", "large", "bomb", "huge bomb", "too long"],
)
def test_what_is_no_picture_is_refused_in_words(content: bytes, told: str) -> None:
    with pytest.raises(SettingError, match=told) as refused:
        decoded(content, COLOUR)
    assert "give a PNG or JPEG of 5 megabytes" in str(refused.value)
    assert "BytesIO" not in str(refused.value)


@given(
    cut=st.integers(0, 700), flipped=st.integers(0, 10**6), kind=st.sampled_from(["PNG", "JPEG"])
)
def test_a_broken_file_gives_a_picture_or_a_sentence(cut: int, flipped: int, kind: str) -> None:
    content = bytearray(saved(halves(), kind))
    content[flipped % len(content)] ^= 1 << flipped % 8
    try:
        found = decoded(bytes(content[: len(content) - cut]), COLOUR)
    except SettingError:
        return
    assert found.shape == (1, *COLOUR)


def test_a_table_takes_no_picture() -> None:
    with pytest.raises(SettingError, match="learns from tables"):
        decoded(saved(halves()), (22,))


def test_a_file_is_read_no_further_than_it_may_be_long(tmp_path: Path) -> None:
    path = tmp_path / "long.png"
    path.write_bytes(b"\0" * (MEGABYTES * 2**20 + 1000))
    assert len(read(path)) == MEGABYTES * 2**20 + 1
    with pytest.raises(SettingError, match="cannot be read"):
        read(tmp_path / "nowhere.png")
    with pytest.raises(SettingError, match="cannot be read"):
        read(tmp_path)
