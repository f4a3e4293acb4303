"""The stock: shadow models outlive a process, within bounds."""

from __future__ import annotations

import pytest
import torch
from sqlalchemy import select

from lab.storage.database import cached_shadows, reading
from lab.storage.shadow_cache import ShadowModelCache
from lab.storage.store import Store

ONE, OTHER, THIRD = (letter * 64 for letter in "abc")


def model(seed: int) -> torch.Tensor:
    return torch.rand(1000, generator=torch.Generator().manual_seed(seed))


def test_what_is_kept_is_recalled_to_the_last_bit_by_another_process(store: Store) -> None:
    assert store.stock.recall(ONE) is None
    store.stock.keep(ONE, model(1))
    found = Store(store.url).stock.recall(ONE)
    assert found is not None
    assert torch.equal(found, model(1))
    assert store.stock.recall(OTHER) is None


def test_what_is_kept_twice_stays_as_it_was(store: Store) -> None:
    store.stock.keep(ONE, model(1))
    store.stock.keep(ONE, model(1))
    assert torch.equal(store.stock.recall(ONE), model(1))


def test_beyond_the_limit_the_longest_unused_goes(store: Store) -> None:
    stock = ShadowModelCache(store.engine, store.arrays, most=8000)  # two models
    stock.keep(ONE, model(1))
    stock.keep(OTHER, model(2))
    stock.recall(ONE)
    stock.keep(THIRD, model(3))
    assert stock.recall(OTHER) is None
    assert torch.equal(stock.recall(ONE), model(1))
    assert torch.equal(stock.recall(THIRD), model(3))
    files = list(store.arrays.folder.rglob("*.safetensors"))
    assert len(files) == 2, "what is forgotten leaves no file"


def test_a_file_of_two_keys_goes_with_the_second(store: Store) -> None:
    stock = ShadowModelCache(store.engine, store.arrays, most=4000)
    stock.keep(ONE, model(1))
    stock.keep(OTHER, model(1))  # too much by a model: the first is forgotten
    assert stock.recall(ONE) is None
    assert torch.equal(stock.recall(OTHER), model(1))


@pytest.mark.parametrize("harm", ["lost", "changed"])
def test_a_file_that_cannot_be_read_is_as_good_as_none(store: Store, harm: str) -> None:
    store.stock.keep(ONE, model(1))
    with reading(store.engine) as connection:
        digest = connection.execute(select(cached_shadows.c.arrays)).scalar_one()
    path = store.arrays._path(digest)
    path.unlink() if harm == "lost" else path.write_bytes(b"nothing of use")
    assert store.stock.recall(ONE) is None
    store.stock.keep(ONE, model(1))
    assert torch.equal(store.stock.recall(ONE), model(1))
