"""Embeddings: a vector for each word, and one for each place.  Inputs are word numbers as floats.

Bengio et al. 2003, JMLR 3: a table of word vectors that is learnt with the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lab.models.layers.layer import Parameters, ParametrisedLayer, Shape


@dataclass(frozen=True)
class Embedding(ParametrisedLayer):
    """Looks every word up.  Nothing passes back through it: words have no slopes."""

    name: str
    words: int
    width: int

    def shapes(self) -> dict[str, Shape]:
        return {"weight": (self.words, self.width)}

    def initial(
        self, drawn: dict[str, Tensor], spread: Callable[[int], float]
    ) -> dict[str, Tensor]:
        """As drawn: a lookup sums over nothing, so there is no fan-in to make up for."""
        return drawn

    def products(self, outputs: Tensor) -> int:
        return 0

    def __call__(self, own: Parameters, inputs: Tensor) -> Tensor:
        return own[0][inputs.long()]

    def forward(self, own: Parameters, inputs: Tensor) -> tuple[Tensor, Tensor]:
        places = self._places(inputs)
        return own[0].flatten(0, 1)[places], places

    def backward(self, own: Parameters, kept: Tensor, slopes: Tensor) -> Tensor:
        return torch.zeros_like(kept, dtype=slopes.dtype)

    def descend(self, own: Parameters, kept: Tensor, slopes: Tensor, rate: float) -> None:
        rows = slopes.to(own[0].dtype).reshape(-1, self.width)
        own[0].view(-1, self.width).index_add_(0, kept.flatten(), rows, alpha=-rate)

    def each(self, kept: Tensor, slopes: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Slopes of the same word add up before their length is taken."""
        same = kept.unsqueeze(3) == kept.unsqueeze(2)  # (clients, examples, words, words)
        products = slopes @ slopes.mT
        return (products * same).sum(dim=(2, 3)), (kept, slopes)

    def descend_weighted(
        self, own: Parameters, evidence: tuple[Tensor, Tensor], weights: Tensor, rate: float
    ) -> None:
        kept, slopes = evidence
        self.descend(own, kept, slopes * weights[..., None, None], rate)

    def _places(self, inputs: Tensor) -> Tensor:
        """Rows in the tables of all clients, one below the other.  -> (clients, examples, words)"""
        first = torch.arange(len(inputs), device=inputs.device) * self.words
        return inputs.long() + first.view(-1, 1, 1)


@dataclass(frozen=True)
class Positions(ParametrisedLayer):
    """Adds to each word's vector one that says where it stands."""

    name: str
    length: int
    width: int

    def shapes(self) -> dict[str, Shape]:
        return {"weight": (self.length, self.width)}

    def initial(
        self, drawn: dict[str, Tensor], spread: Callable[[int], float]
    ) -> dict[str, Tensor]:
        """As the words' own vectors."""
        return drawn

    def products(self, outputs: Tensor) -> int:
        return 0

    def __call__(self, own: Parameters, inputs: Tensor) -> Tensor:
        return inputs + own[0]

    def forward(self, own: Parameters, inputs: Tensor) -> tuple[Tensor, None]:
        return inputs + own[0].unsqueeze(1), None

    def backward(self, own: Parameters, kept: None, slopes: Tensor) -> Tensor:
        return slopes

    def descend(self, own: Parameters, kept: None, slopes: Tensor, rate: float) -> None:
        own[0].sub_(slopes.sum(dim=1), alpha=rate)

    def each(self, kept: None, slopes: Tensor) -> tuple[Tensor, Tensor]:
        return slopes.square().sum(dim=(2, 3)), slopes

    def descend_weighted(
        self, own: Parameters, evidence: Tensor, weights: Tensor, rate: float
    ) -> None:
        own[0].sub_(torch.einsum("ce,cetw->ctw", weights, evidence), alpha=rate)
