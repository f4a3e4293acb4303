"""What `make test` takes of a long table of cases; `make test-all` takes the whole of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def few(values: Iterable[Any], *kept: Any) -> list[Any]:
    """Mark all values as deep but the kept ones, which must be among them.

    A tuple holds the values of several arguments.
    """
    table = list(values)
    strangers = [each for each in kept if each not in table]
    if strangers:
        raise ValueError(f"{strangers} are not among {table}")
    marked = []
    for each in table:
        values = each if isinstance(each, tuple) else (each,)
        marked.append(pytest.param(*values, marks=[] if each in kept else [pytest.mark.deep]))
    return marked
