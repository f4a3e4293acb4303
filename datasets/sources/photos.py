"""Colour photographs of scikit-image, cut into crops.

The data set is small.  It shows what an update leaks, but it is no benchmark for models.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F

from datasets.sources.shared.file_lookup import COMMITTED, arrays, holdout, read
from lab.interfaces.data import DataSource, Examples
from lab.models.inputs import like
from lab.models.layers import Shape

DIGEST = "0d013307f15024c7992afabc054a9396237e42fda3354002ea5776a9905d5973"
SIDE = 32  # of a crop, once scaled
CUTS = ((64, 1), (56, 3), (48, 5))  # side of a cut, and how many positions along each axis


class Photos(DataSource):
    """Crops and mirror images of seven photographs, 32 x 32 colour; the photograph is the class."""

    kind: Literal["photos"] = "photos"
    title: ClassVar[str] = "Photographs"
    source: ClassVar[str] = "scikit-image 0.26, skimage.data; see datasets/files/README.md"
    licence: ClassVar[str] = "public domain, CC0 or no known restrictions, picture by picture"
    shape: ClassVar[Shape] = (3, SIDE, SIDE)
    classes: ClassVar[tuple[str, ...]] = (
        "astronaut",
        "cat",
        "coffee",
        "rocket",
        "retina",
        "galaxies",
        "tissue",
    )
    size: ClassVar[int] = 392

    def load(self) -> Examples:
        remedy = "restore datasets/files from the repository"
        photos = arrays(read("photos_64.npz", DIGEST, [COMMITTED], remedy))["images"]
        whole = torch.from_numpy(photos).permute(0, 3, 1, 2).float().div(255)  # (7, 3, 64, 64)
        crops = [F.interpolate(cut, (SIDE, SIDE), mode="area") for cut in _cuts(whole)]
        inputs = like(torch.cat([*crops, *(crop.flip(-1) for crop in crops)]), whole.byte())
        labels = torch.arange(7).repeat(2 * len(crops))
        train, test = holdout(labels.numpy(), 0.2)
        return Examples(inputs[train], labels[train], inputs[test], labels[test])


def _cuts(whole: torch.Tensor) -> list[torch.Tensor]:
    """Return all crops of all photographs."""
    cuts = []
    for side, positions in CUTS:
        for top in range(positions):
            for left in range(positions):
                cuts.append(whole[..., 4 * top : 4 * top + side, 4 * left : 4 * left + side])
    return cuts
