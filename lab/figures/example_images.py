"""Examples as pictures: PNG from tensors."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

SIDE = 112  # pixels, at least, of a picture that is shown
PAIRS = 4  # pairs beside each other on a contact sheet


def png(picture: Tensor, side: int = SIDE) -> bytes:
    """picture (1 or 3 colours, height, width) in [0, 1] -> PNG, enlarged by whole pixels"""
    shades = picture.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
    grey = shades.shape[2] == 1
    image = Image.fromarray(shades[:, :, 0] if grey else np.ascontiguousarray(shades))
    factor = max(1, -(-side // image.height))
    enlarged = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    target = BytesIO()
    enlarged.save(target, "PNG")
    return target.getvalue()


def side_by_side(left: Tensor, right: Tensor) -> Tensor:
    """Two pictures of one size as one, with a white pixel between.  -> (colours, height, 2w + 1)"""
    return torch.cat([left, torch.ones_like(left[..., :1]), right], dim=-1)


def contact_sheet(private: Tensor, guesses: Tensor) -> bytes:
    """All pairs, private on the left of each, as one PNG.  (pairs, colours, height, width) twice"""
    pairs = [framed(side_by_side(*pair)) for pair in zip(private, guesses, strict=True)]
    across = min(len(pairs), PAIRS)
    blank = torch.ones_like(pairs[0])
    pairs += [blank] * (-len(pairs) % across)
    rows = [torch.cat(pairs[k : k + across], dim=-1) for k in range(0, len(pairs), across)]
    return png(torch.cat(rows, dim=-2), side=SIDE * len(rows))


def framed(picture: Tensor) -> Tensor:
    """With a grey rim of a pixel, so that a white corner shows on a white page, too."""
    return F.pad(picture, (1, 1, 1, 1), value=0.5)


def data_uri(picture: Tensor, side: int = SIDE) -> str:
    """The picture as an address that a page can carry within itself.

    What is redrawn often is shown so: a server forgets a picture as soon as the next has come, and
    a slow browser would ask for it in vain.
    """
    return f"data:image/png;base64,{b64encode(png(picture, side)).decode()}"
