"""Fixed-point numbers modulo 2^32, sized so that the sum of a cohort cannot wrap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lab.settings import SettingError

HALF = 2**31  # sums below it in size keep their sign
FEWEST_LEVELS = 2**10  # coarser than this, an update is not worth sending


@dataclass(frozen=True)
class Ring:
    """How weighted updates become words; the last word of a client is its weight."""

    clients: int
    bound: float  # largest coordinate; larger ones are clipped to it
    heaviest: float  # largest weight; public

    def __post_init__(self) -> None:
        if self.levels < FEWEST_LEVELS or self.clients * self.heaviest >= HALF:
            bits = 1 + (self.clients * max(FEWEST_LEVELS, int(self.heaviest))).bit_length()
            raise SettingError(
                f"training.clients_per_round is {self.clients}: their sum needs {bits} bits and "
                "the ring of secure aggregation has 32; ask fewer clients"
            )

    @property
    def levels(self) -> int:
        """Steps from 0 to the bound at full weight: all clients together stay below HALF."""
        return (HALF - 1) // max(1, self.clients)

    def encode(self, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """rows (clients, params), whole weights (clients,) -> words (clients, params + 1)"""
        if weights.max(initial=0) > self.heaviest or weights.min(initial=0) < 0:
            raise ValueError(f"weights {weights} do not lie between 0 and {self.heaviest}")
        share = (weights / self.heaviest)[:, None]  # (clients, 1)
        scaled = np.clip(rows.astype(np.float64) / self.bound, -1, 1) * share * self.levels
        words = np.concatenate([np.rint(scaled), weights[:, None]], axis=1)
        return words.astype(np.int64).astype(np.uint32)

    def decode(self, total: np.ndarray) -> tuple[np.ndarray, float]:
        """The summed words (params + 1,) -> the weighted mean (params,) and the sum of weights."""
        signed, weight = total[:-1].view(np.int32).astype(np.float64), float(total[-1])
        step = self.bound / self.levels * self.heaviest
        return signed * step / max(weight, 1.0), weight

    def error(self, clients: int, weight: float) -> float:
        """Largest error of a coordinate of the mean, when nothing was clipped to the bound.

        Each of the clients rounds by half a step at most.
        """
        return clients * 0.5 * self.bound / self.levels * self.heaviest / max(weight, 1.0)
