"""A child process that counts for a server: see `lab.privacy.accounting.child_process`.

It reads questions from its standard input and writes replies to its standard output, each a line of
JSON.  A question is a list: its kind, and what the function of that kind takes.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from lab.common.settings import SettingError
from lab.privacy.accounting.in_process import Accountant, deltas_of, epsilon_of
from lab.privacy.accounting.noise_calibration import noise_for
from lab.privacy.accounting.releases import GaussianReleases

TOO_LARGE = (
    "the accountant needs too much memory for these settings: give fewer rounds, more noise, or "
    "fewer stretches with different settings"
)


def main(memory: int) -> None:
    """Answer questions until there are no more.

    memory: bytes that this process may allocate
    """
    _limit(memory)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is no answer
    for line in sys.stdin:
        print(json.dumps(answered(json.loads(line))), file=answers, flush=True)


def answered(question: list[Any]) -> dict[str, Any]:
    """The reply to one question: its answer, or in words why there is none."""
    kinds: dict[str, Callable[..., Any]] = {"epsilon": _epsilon, "deltas": _deltas, "noise": _noise}
    kind, *given = question
    try:
        return {"answer": kinds[kind](*given)}
    except SettingError as error:
        return {"refused": str(error)}
    except MemoryError:
        return {"refused": TOO_LARGE}


def _epsilon(rows: list[list[float]], delta: float, accountant: Accountant) -> float:
    return epsilon_of(_spendings(rows), delta, accountant)


def _deltas(rows: list[list[float]], epsilons: list[float]) -> Any:
    return deltas_of(_spendings(rows), np.array(epsilons)).tolist()


def _noise(
    rows: list[list[float]],
    epsilon: float,
    delta: float,
    accountant: Accountant,
    before: list[list[float]],
) -> float:
    return noise_for(_spendings(rows)[0], epsilon, delta, accountant, _spendings(before))


def _spendings(rows: list[Any]) -> tuple[GaussianReleases, ...]:
    return tuple(GaussianReleases(*row) for row in rows)


def _limit(memory: int) -> None:
    """Bound what this process may allocate, where the system can: libraries do not count."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
