"""What all tests share: a store of their own, and one thread for each operation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from lab.schema import DATABASE
from lab.store import Store

# A machine that is busy with other things is slow now and then, and that is no failure.
settings.register_profile("lab", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("lab")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def store_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Nobody's real store is touched."""
    url = f"sqlite:///{tmp_path / 'store' / 'leaklab.db'}"
    monkeypatch.setenv(DATABASE, url)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    opened = Store(store_url)
    yield opened
    opened.engine.dispose()
