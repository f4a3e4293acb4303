"""Fixed-point numbers modulo 2^32, sized so that the sum of a cohort cannot wrap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lab.common.settings import SettingError
from lab.common.threads import run_in_threads
from lab.privacy.fixed_point import HALF

FEWEST_LEVELS = 2**10  # coarser than this, an update is not worth sending
BLOCK = 2**14  # coordinates that are encoded at a time
DEVIATIONS = 8  # that noise never passes: the chance is below 2^-49


@dataclass(frozen=True)
class Ring:
    """The encoding of weighted updates as words; the last word of a client is its weight."""

    clients: int
    bound: float  # largest coordinate; larger ones are clipped to it
    heaviest: float  # largest weight; public
    noise: float = 0.0  # standard deviation of the noise on the sum, in units of an update

    def __post_init__(self) -> None:
        if self.levels < FEWEST_LEVELS or self.clients * self.heaviest >= HALF:
            most = max(self._height * FEWEST_LEVELS, self.clients * int(self.heaviest))
            noisy = " with its noise" if self.noise else ""
            raise SettingError(
                f"training.clients_per_round is {self.clients}: their sum{noisy} needs "
                f"{1 + int(most).bit_length()} bits and the ring of secure aggregation has 32; "
                "ask fewer clients"
            )

    @property
    def _height(self) -> float:
        """Return the largest sum, noise included, in bounds at full weight."""
        noise = DEVIATIONS * self.noise / (self.bound * self.heaviest) if self.noise else 0
        return max(1, self.clients) + noise

    @property
    def levels(self) -> int:
        """Return the steps from 0 to the bound at full weight; the largest sum stays below HALF."""
        return int((HALF - 1) // self._height)

    @property
    def step(self) -> float:
        """Return the value of one step in the weighted sum of updates."""
        return self.bound / self.levels * self.heaviest

    def encode(self, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Encode rows (clients, params), integer weights (clients,) as (clients, params + 1)."""
        if weights.max(initial=0) > self.heaviest or weights.min(initial=0) < 0:
            raise ValueError(f"weights {weights} do not lie between 0 and {self.heaviest}")
        words = np.empty((len(rows), rows.shape[1] + 1), np.uint32)
        words[:, -1] = np.rint(weights).astype(np.uint32)

        def row(client: int) -> None:
            scaled = np.empty(min(BLOCK, rows.shape[1]))  # float64, and never out of the cache
            for first in range(0, rows.shape[1], BLOCK):
                part = rows[client, first : first + BLOCK]
                now = np.divide(part, self.bound, out=scaled[: len(part)], dtype=np.float64)
                np.clip(now, -1, 1, out=now)
                now *= weights[client] / self.heaviest
                now *= self.levels
                whole = np.rint(now, out=now).astype(np.int32)
                words[client, first : first + len(part)] = whole.view(np.uint32)

        run_in_threads(row, range(len(rows)))
        return words

    def decode(self, total: np.ndarray) -> tuple[np.ndarray, float]:
        """Decode summed words (params + 1,) to the weighted mean (params,) and the total weight."""
        signed, weight = total[:-1].view(np.int32).astype(np.float64), float(total[-1])
        return signed * self.step / max(weight, 1.0), weight

    def error(self, clients: int, weight: float) -> float:
        """Return the largest error of a coordinate of the mean, if nothing was clipped.

        Each of the clients rounds by half a step at most; noise is no error.
        """
        return clients * 0.5 * self.step / max(weight, 1.0)
