"""Feature shift: the same classes look different at each client.

Kairouz et al. 2021, arXiv:1912.04977, section 3.1: feature distribution skew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from datasets.partitions.shifted import Shifted
from lab.common.random_streams import normal
from lab.common.settings import SettingError
from lab.interfaces.data import DataSource


class Feature(Shifted):
    """Changes each client's pictures by its own brightness, rotation, blur and noise.

    The changes are drawn once for a client and hold for all its pictures; a setting of 0 switches
    one off.
    """

    kind: Literal["feature"] = "feature"
    title: ClassVar[str] = "Feature shift"
    source: ClassVar[str] = "Kairouz et al. 2021, arXiv:1912.04977, section 3.1"
    rotation: float = Field(
        45.0, ge=0, le=180, description="largest rotation of a client's pictures, in degrees"
    )
    blur: float = Field(
        1.0, ge=0, le=5, description="largest standard deviation of a client's blur, in pixels"
    )
    noise: float = Field(
        0.1, ge=0, le=1, description="largest standard deviation of a client's noise; white is 1"
    )
    ink: float = Field(
        0.5,
        ge=0,
        le=4,
        description="brightness is raised to a client's power, from 1 / (1 + ink) to 1 + ink",
    )

    def check(self, source: DataSource, clients: int, examples: int) -> None:
        if len(source.shape) != 3:
            raise SettingError(
                f"data.partition.kind feature needs pictures and {source.kind} is a table: "
                "use data.source fashion-mnist, or data.partition.kind concept"
            )

    def shift(
        self,
        client: int,
        inputs: Tensor,
        labels: Tensor,
        classes: int,
        stream: Callable[[int], np.random.Generator],
    ) -> tuple[Tensor, Tensor]:
        """Change the pictures as a pen, a page, a lens and a sensor would, in this order."""
        generator = stream(client)
        # All four are drawn even if switched off, so that none of them depends on the others.
        ink, angle = generator.uniform(-1, 1, 2).tolist()
        blur, noise = generator.uniform(0, 1, 2).tolist()
        pictures = inputs.numpy() ** ((1 + self.ink) ** ink)  # (examples, colours, height, width)
        pictures = turned(pictures, angle * self.rotation)
        pictures = blurred(pictures, blur * self.blur)
        grain = normal(generator, *pictures.shape)
        return (torch.from_numpy(pictures) + noise * self.noise * grain).clamp_(0, 1), labels


def turned(pictures: np.ndarray, angle: float) -> np.ndarray:
    """Rotate around the middle, in degrees counterclockwise; the corners become black."""
    from scipy import ndimage  # as late as possible: a fifth of a second

    found: np.ndarray = ndimage.rotate(pictures, angle, axes=(-1, -2), reshape=False, order=1)
    return found


def blurred(pictures: np.ndarray, pixels: float) -> np.ndarray:
    """Blur with mirrored edges, so that no brightness is lost there."""
    from scipy import ndimage

    found: np.ndarray = ndimage.gaussian_filter(pictures, pixels, axes=(-1, -2))
    return found
