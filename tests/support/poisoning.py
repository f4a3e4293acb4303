"""What tests of poisons share: a small federation under attack, pictures, rows and cohorts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from hypothesis import strategies as st
from torch import Tensor

from attacks import POISONING_ATTACKS
from lab import Experiment, run
from lab.common.settings import SettingError
from lab.engine.run_state import RoundResult
from lab.interfaces.messages import Cohort
from lab.interfaces.poisoning import PoisoningAttack

SEEDS = st.integers(0, 10**6)
CLASSES = 10
SMALL = Experiment().changed(
    {
        "data.source": "digits",
        "data.clients": 10,
        "model.kind": "logistic",
        "training.rounds": 5,
        "training.epochs": 2,
        "training.rate": 0.5,
    }
)
SHAPE = SMALL.data.source.shape


def harms_data(name: str) -> bool:
    return POISONING_ATTACKS[name].data is not PoisoningAttack.data


def harms_rows(name: str) -> bool:
    return POISONING_ATTACKS[name].rows is not PoisoningAttack.rows


def attacked(kind: str, count: int = 3, **settings: object) -> Experiment:
    poison = {"kind": kind, **settings}
    return SMALL.changed({"adversary.count": count, "adversary.attack": poison})


def allowed(name: str, **settings: object) -> bool:
    """Whether the poison can do with that on those pictures."""
    try:
        poison = POISONING_ATTACKS[name].read(settings)
        poison.check(SHAPE, CLASSES)
    except SettingError:
        return False
    return poison.stranger != SMALL.data.source.kind


def first(experiment: Experiment) -> RoundResult:
    return next(run(experiment))


def last(experiment: Experiment) -> RoundResult:
    return list(run(experiment))[-1]


def pictures(seed: int, examples: int, side: int = 8, colours: int = 1) -> tuple[Tensor, Tensor]:
    """Pictures darker than white, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    inputs = 0.9 * torch.rand(examples, colours, side, side, generator=generator)
    return inputs, torch.randint(0, CLASSES, (examples,), generator=generator)


def rows_of(seed: int, clients: int, params: int = 7) -> Tensor:
    return torch.randn(clients, params, generator=torch.Generator().manual_seed(seed))


def cohort_of(bad: Sequence[bool], weights: Sequence[float] | None = None) -> Cohort:
    return Cohort(
        seed=0,
        round=1,
        clients=tuple(range(len(bad))),
        weights=torch.ones(len(bad)) if weights is None else torch.tensor(weights),
        malicious=torch.tensor(bad, dtype=torch.bool),
        lost=torch.zeros(len(bad), dtype=torch.bool),
        expected=float(len(bad)),
    )
