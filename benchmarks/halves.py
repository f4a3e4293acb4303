"""Many models of random halves of one pool of pictures, each trained by one machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from datasets import DATA_SOURCES
from lab import Experiment
from lab.common.random_streams import random_stream
from lab.engine.client.local_training import FederationTask, train_federations
from lab.interfaces.attack_data import Candidates
from lab.interfaces.data import Examples, FederatedDataset
from lab.models.inputs import as_floats
from lab.models.network import Network

POOL, PUBLIC = 2000, 2000


@dataclass(frozen=True, eq=False)
class Trained:
    """Models of one pool, in pairs that share it out."""

    network: Network
    pool: Candidates
    public: Candidates
    models: Tensor  # (models, params)
    inside: Tensor  # (models, pool) bool

    def accuracy(self) -> tuple[float, float]:
        """On what each model was trained on, and on the rest of the pool."""
        with torch.no_grad():
            logits = torch.stack([self.network(model, self.pool.inputs) for model in self.models])
        right = logits.argmax(dim=2) == self.pool.labels
        inside, outside = right[self.inside].float(), right[~self.inside].float()
        return float(inside.mean()), float(outside.mean())


@cache
def pictures() -> Examples:
    """All of them, standardised."""
    raw = DATA_SOURCES["fashion-mnist-full"]().load()
    inputs = as_floats(raw.inputs)
    inputs = (inputs - inputs.mean()) / inputs.std()
    return Examples(inputs, raw.labels, inputs[:0], raw.labels[:0])


def trained(seed: int, count: int, settings: Mapping[str, Any]) -> Trained:
    """One machine holds all of a model's examples, as in the papers."""
    now = Experiment().changed(
        {
            "seed": seed,
            "data.source": "fashion-mnist-full",
            "data.examples": POOL,
            "training.batch_size": 50,
            "training.rounds": 1,
            **settings,
        }
    )
    order = random_stream(seed, "pool").permutation(len(pictures().labels))
    pool, public = pictures().head(order[:POOL]), pictures().head(order[POOL : POOL + PUBLIC])
    lots, inside = [], torch.zeros(count, POOL, dtype=torch.bool)
    for number, mine in enumerate(inside):
        halves = random_stream(seed, "halves", number // 2).permutation(POOL)
        mine[torch.from_numpy(halves[number % 2 :: 2].copy())] = True
        twin = now.model_copy(
            update={"seed": int(random_stream(seed, "model", number).integers(2**31))}
        )
        start = now.architecture.initial(random_stream(twin.seed, "model"))
        alone = FederatedDataset.of(pool, [mine.nonzero().flatten().numpy()])
        lots.append(FederationTask(twin, alone, (0,), start))
    rows = train_federations(lots, 1)
    models = torch.stack([lot.start + row[0] for lot, row in zip(lots, rows, strict=True)])
    asked = [Candidates(part.inputs, part.labels) for part in (pool, public)]
    return Trained(now.architecture, asked[0], asked[1], models, inside)
