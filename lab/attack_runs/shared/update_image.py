"""A window on an update: a few hundred of its numbers as a picture in grey."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lab.models.network import Network

SIDE = 24  # numbers in a row of the window, where the model suggests no other


@dataclass(frozen=True)
class UpdateImage:
    """Numbers one after the other, of a flat vector, as a picture."""

    start: int = 0
    height: int = SIDE
    width: int = SIDE

    @classmethod
    def on(cls, network: Network, mean: Tensor) -> UpdateImage:
        """The weights of one first neuron, where those form a picture; else the first numbers.

        The neuron that moves most in the mean update, which everybody knows.  mean (params,)
        """
        place, shape = next(iter(network.slots.values()))
        if len(shape) != 2 or len(network.shape) != 3:
            return cls()
        strongest = int(mean[place].view(shape).norm(dim=1).argmax())
        return cls(place.start + strongest * shape[1], *network.shape[1:])

    def grey(self, vector: Tensor, scale: float = 0.0) -> Tensor:
        """From -scale to scale as black to white, by default to its own largest number.

        (params,) -> (1, height, width)
        """
        seen = self._seen(vector)
        scale = scale or self.scale(vector)
        return (seen / (2 * scale) + 0.5).clamp(0, 1).view(1, self.height, self.width)

    def scale(self, vector: Tensor) -> float:
        """The largest number that it shows of a vector, in size."""
        return float(self._seen(vector).abs().max()) or 1.0

    def words(self, words: np.ndarray) -> Tensor:
        """Numbers of the ring from 0 to 2^32 as black to white.  -> (1, height, width)"""
        seen = self._seen(torch.from_numpy(words.astype(np.float64) / 2**32))
        return seen.view(1, self.height, self.width)

    def _seen(self, vector: Tensor) -> Tensor:
        size = self.height * self.width
        seen = vector[self.start : self.start + size].float()
        return F.pad(seen, (0, size - len(seen)))
