"""What every peer is given and what it answers.  A peer imports nothing of Leaklab's."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Task:
    """One workload: `peer.py TASK.npz THREADS`."""

    path: str
    threads: int
    settings: dict[str, Any]  # kind, hidden, channels, batch, rate
    inputs: np.ndarray  # (clients, examples of each, 1, 28, 28) bytes
    labels: np.ndarray  # (clients, examples of each)
    test_inputs: np.ndarray
    test_labels: np.ndarray
    cohorts: np.ndarray  # (rounds, asked) the clients of each round
    laps: list[float] = field(default_factory=list)

    @classmethod
    def read(cls, path: str, threads: int) -> Task:
        with np.load(path) as held:
            arrays = {name: held[name] for name in held.files if name != "settings"}
            return cls(path, threads, json.loads(str(held["settings"])), **arrays)

    @classmethod
    def given(cls) -> Task:
        return cls.read(sys.argv[1], int(sys.argv[2]))

    def floats(self, client: int) -> np.ndarray:
        return self.inputs[client].astype(np.float32) / 255

    def lap(self) -> None:
        """Call once when ready, then at the end of each round."""
        self.laps.append(time.perf_counter())

    def answer(self, predict: Callable[[np.ndarray], np.ndarray]) -> None:
        """One line of JSON.  predict: float pictures -> logits"""
        parts = np.array_split(self.test_inputs, 20)
        logits = np.concatenate([predict(part.astype(np.float32) / 255) for part in parts])
        right = float((logits.argmax(axis=1) == self.test_labels).mean())
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        seconds = np.diff(self.laps).tolist()
        print(json.dumps({"seconds": seconds, "accuracy": right, "megabytes": memory}))  # noqa: T201
