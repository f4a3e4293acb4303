"""Data for tests: where it may be looked for, what was loaded, and experiments on digits."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from datasets import DATA_SOURCES
from datasets.sources import adult, chat, digits, faces, fashion_mnist, heart, mnist, photos
from datasets.sources.shared import file_lookup
from lab.engine.data import federation
from lab.experiment.experiment import Experiment
from lab.interfaces.data import Examples
from lab.models.architectures import MODELS

# Models that pictures can be given to.
PICTURE_MODELS = [kind for kind, model in MODELS.items() if "pictures" in model.reads]
FULL = "fashion-mnist-full"
FULL_IS_HERE = (file_lookup.DEBIAN / "fashion-mnist").is_dir()


@pytest.fixture(autouse=True)
def no_data_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEAKLAB_DATA", raising=False)


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any data: every place where files are looked for is an empty folder."""
    empty = tmp_path / "nowhere"
    empty.mkdir()
    for module in (adult, chat, fashion_mnist, heart, mnist, photos):
        monkeypatch.setattr(module, "COMMITTED", empty)
    for module in (digits, faces):
        monkeypatch.setattr(module, "package_folder", lambda *path: empty)
    monkeypatch.setattr(fashion_mnist, "DEBIAN", empty)
    return empty


@pytest.fixture(
    params=[{}, {"data__partition__kind": "dirichlet"}, {"data__partition__kind": "quantity"}]
)
def experiment(request: pytest.FixtureRequest) -> Experiment:
    return with_(data__clients=12, data__examples=300, **request.param)


@cache
def examples_of(kind: str) -> Examples:
    return DATA_SOURCES[kind]().load()


def forget() -> None:
    """Load and share out anew, whatever other tests have left in memory."""
    for kept in (federation._load, federation.whole, federation._poisoned, federation.strangers):
        kept.cache_clear()


def with_(**settings: object) -> Experiment:
    """data_clients=3 -> data.clients = 3"""
    paths = {name.replace("__", "."): value for name, value in settings.items()}
    return Experiment().changed({"data.source": "digits"} | paths)


def of_digits(**settings: Any) -> Experiment:
    usual = {"data.source": "digits", "data.clients": 6}
    return Experiment().changed(usual | {k.replace("__", "."): v for k, v in settings.items()})
