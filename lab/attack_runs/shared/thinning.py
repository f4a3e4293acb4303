"""Fewer looks at an attack than it gives: enough for somebody who watches."""

from __future__ import annotations

import time
from collections.abc import Iterator

from lab.scoring.attack_result import AttackProgress


def thinned(steps: Iterator[AttackProgress], apart: float) -> Iterator[AttackProgress]:
    """Yield the steps that are `apart` seconds from each other at least, and the result."""
    shown = float("-inf")
    for step in steps:
        if step.result or time.monotonic() - shown >= apart:
            shown = time.monotonic()
            yield step
