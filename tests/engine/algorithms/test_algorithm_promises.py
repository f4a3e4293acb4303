"""Promises of every algorithm: no order of clients matters, no setting at its bound breaks it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin

import pytest
import torch

from lab import Experiment, run
from lab.engine.algorithms import ALGORITHMS
from lab.engine.participation import async_schedule
from lab.engine.participation.async_schedule import AsyncRound
from lab.engine.participation.cohort_sampling import select_cohort
from lab.engine.run_state import RoundResult

TINY = Experiment.read(
    {
        "data": {
            "source": "digits", "clients": 4, "examples": 120,
            "partition": {"kind": "dirichlet", "alpha": 0.5},
        },
        "training": {"rounds": 3, "batch_size": 8, "rate": 0.1, "clients_per_round": 3},
    }
)  # fmt: skip


def last(now: Experiment) -> RoundResult:
    *_, moment = run(now)
    return moment


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_the_order_of_the_clients_does_not_matter(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = TINY.changed({"training.algorithm": kind})
    forward = last(now)

    def turned(experiment: Experiment, round: int) -> AsyncRound:
        found = async_schedule.async_round(experiment, round)
        return replace(found, flights=found.flights[::-1], waiting=found.waiting[::-1])

    monkeypatch.setattr(
        "lab.engine.round.select_cohort", lambda *given: select_cohort(*given)[::-1]
    )
    monkeypatch.setattr("lab.engine.client.cohort_trainer.async_round", turned)
    backward = last(now)
    assert backward.record.clients == forward.record.clients[::-1]
    assert torch.allclose(backward.state.model, forward.state.model, atol=1e-5)
    for name, value in forward.state.carried.algorithm.items():
        found = backward.state.carried.algorithm[name]
        assert torch.allclose(found, value, atol=1e-4, equal_nan=True), name


def at_bounds() -> Iterator[Any]:
    """Every setting of every algorithm at its least and its greatest, or at each of its choices."""
    for kind, part in ALGORITHMS.items():
        for name, field in part.model_fields.items():
            if name == "kind":
                continue
            values: tuple[Any, ...]
            if get_origin(field.annotation) is Literal:
                values = get_args(field.annotation)
            elif field.annotation is bool:
                values = (False, True)
            else:
                known = {
                    key: getattr(rule, key)
                    for rule in field.metadata
                    for key in ("ge", "gt", "le", "lt")
                    if getattr(rule, key, None) is not None
                }
                values = (known.get("ge", known.get("gt", 0) + 1e-6), known["le"])
            for value in values:
                yield pytest.param(kind, name, value, id=f"{kind} {name}={value}")


@pytest.mark.parametrize(("kind", "name", "value"), list(at_bounds()))
def test_a_setting_at_its_bound_breaks_nothing(kind: str, name: str, value: Any) -> None:
    """It may learn nothing: rates of ten lead away from anything."""
    large = {"model.kind": "cnn", "model.channels": 1, "model.hidden": 4}
    base = TINY.changed(large) if name == "layers" else TINY
    base = base.changed({"training.rounds": 2, "data.examples": 60})
    record = last(base.changed({f"training.algorithm.{name}": value}
                               | {"training.algorithm.kind": kind})).record  # fmt: skip
    assert record.round == 2
    assert 0 <= record.accuracy <= 1
