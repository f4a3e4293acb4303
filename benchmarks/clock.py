"""Time: laps within a process, processes as a whole, and how a process tells what it measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from lab import ROOT

WARM_UPS = 2
# Alike for everybody: freed memory is kept, for it comes and goes at every step.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}  # nobody phones home


def laps(act: Callable[[int], object], rounds: int) -> list[float]:
    """Seconds of each round, 1 to `rounds`."""
    found = []
    for round in range(1, rounds + 1):
        began = time.perf_counter()
        act(round)
        found.append(time.perf_counter() - began)
    return found


def answer(seconds: list[float], accuracy: float | None, **more: object) -> None:
    """The last line that a measuring process prints."""
    print(json.dumps({"seconds": seconds, "accuracy": accuracy} | more))  # noqa: T201


def ask(*command: str, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What a measuring process answers.  Raises CalledProcessError."""
    around = os.environ | MALLOC | QUIET | dict(environment or {})
    done = subprocess.run(
        command, cwd=ROOT, env=around, check=True, capture_output=True, text=True, timeout=900
    )
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def launch(*command: str) -> tuple[float, float]:
    """Seconds from the command to its first line, and the most memory it ever held, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        around = os.environ | {"LEAKLAB_DB": f"sqlite:///{folder}/bench.db"}
        began = time.perf_counter()
        with subprocess.Popen(command, cwd=ROOT, env=around, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            seconds = time.perf_counter() - began
            process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return seconds, usage.ru_maxrss / 1024


@contextmanager
def busy() -> Iterator[None]:
    """One process beside that never rests."""
    loop = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        loop.kill()
        loop.wait()


def products(side: int = 2048, times: int = 12) -> float:
    """Floating-point operations a second of the best matrix product on two threads."""
    threads, (one, other) = torch.get_num_threads(), torch.rand(2, side, side)
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    best = min(laps(lambda _: one @ other, times))
    torch.set_num_threads(threads)
    return 2 * side**3 / best
