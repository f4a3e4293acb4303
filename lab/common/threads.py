"""Workers: one thread a core, each running its operations alone.

Two operations side by side on a thread each stay fast beside another busy process, where one
operation on two threads waits for the slower of them at every step.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The results in order, whoever was first."""
    return list(_pool().map(work, items))


def start_threads() -> None:
    """Start the threads, and keep freed memory: buffers come and go at every step."""
    if sys.platform == "linux":
        heap = ctypes.CDLL(None)
        if hasattr(heap, "mallopt"):  # glibc
            heap.mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD, the most that it takes
            heap.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
    run_in_threads(abs, range(os.cpu_count() or 1))


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, initializer=lambda: torch.set_num_threads(1))
