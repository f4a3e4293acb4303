"""Upload: a picture of the user's own, read as the hostile file that it may be."""

from __future__ import annotations

import zlib
from io import BytesIO
from pathlib import Path
from struct import error as StructError

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from lab.common.settings import SettingError
from lab.models.layers import Shape

FORMATS = ("PNG", "JPEG")  # no other decoder is ever reached
MEGABYTES = 5
PIXELS = 25_000_000  # 75 megabytes once decoded; a few kilobytes can claim many more
BROKEN = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
    OSError,
    SyntaxError,  # what Pillow makes of a broken PNG
    ValueError,
    EOFError,
    StructError,
    zlib.error,
)
REMEDY = f"give a PNG or JPEG of {MEGABYTES} megabytes and {PIXELS // 10**6} megapixels at most"


def read(path: Path) -> bytes:
    """A file's content, if it is not too long.  Raises SettingError."""
    try:
        with path.open("rb") as file:
            return file.read(MEGABYTES * 2**20 + 1)
    except OSError as error:
        raise SettingError(f"{path} cannot be read: {error.strerror}; {REMEDY}") from None


def decoded(content: bytes, shape: Shape) -> Tensor:
    """The middle of the picture, in that many colours and of that size.

    -> (1, *shape) uint8.  Raises SettingError for whatever is no picture, or too large a one.
    """
    if len(shape) != 3:
        raise SettingError(
            "the run learns from tables or text, and no picture is one: choose another run"
        )
    if len(content) > MEGABYTES * 2**20:
        raise SettingError(f"the picture is too long: {REMEDY}")
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            _check_size(image)  # as the header says, before a single pixel is decoded
            image.load()
            upright = ImageOps.exif_transpose(image)
            fitted = _fitted(_opaque(upright), shape)
    except SettingError:
        raise
    except BROKEN as error:
        reason = str(error)[:80].splitlines() or ["it is empty"]
        raise SettingError(f"the picture cannot be read ({_told(reason[0])}): {REMEDY}") from None
    return torch.from_numpy(fitted).permute(2, 0, 1).unsqueeze(0).contiguous()


def _told(reason: str) -> str:
    """Without Python's name for the file, which tells nobody anything."""
    return "it is neither PNG nor JPEG" if "BytesIO" in reason else reason


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > PIXELS:
        raise SettingError(
            f"the picture is {image.width:,} x {image.height:,} pixels, which is too many: {REMEDY}"
        )


def _opaque(image: Image.Image) -> Image.Image:
    """In RGB of 8 bits a colour; what is transparent lies on white."""
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would cut off at 255
        shades = np.asarray(image).astype(np.float32) / 257
        image = Image.fromarray(shades.round().clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")


def _fitted(image: Image.Image, shape: Shape) -> np.ndarray:
    """The largest part around the middle of those proportions.  -> (height, width, colours)"""
    colours, height, width = shape
    image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    if colours == 1:
        return np.array(image.convert("L"))[:, :, None]
    return np.array(image)
