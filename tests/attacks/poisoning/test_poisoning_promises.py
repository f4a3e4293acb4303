"""Poisons of updates: promises that every one in the table keeps."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest
import torch

from attacks import POISONING_ATTACKS
from lab.interfaces.poisoning import NO_KNOWLEDGE, AdversaryKnowledge, PoisoningAttack
from tests.support.poisoned_rounds import COPIES, folding, insight_of, party, rows_of

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("sign-flip", {}),
    ("sign-flip", {"reading": "mean"}),
    ("gaussian", {"mean": 0.5}),
    ("alie", {}),
    ("alie", {"z": 1.5, "sign": "minus"}),
    ("ipm", {}),
    *((name, {"deviation": way}) for name in ("min-max", "min-sum") for way in ("unit", "sign")),
    ("min-max", {}),
    ("min-sum", {}),
    ("fang", {}),
    ("fang", {"against": "krum"}),
    ("mimic", {}),
    ("mpaf", {}),
    ("opt-alie", {}),
    ("opt-ipm", {"evaluations": 7}),
    *(("free-rider", {"what": what}) for what in ("nothing", "last", "noise")),
]
POISONED = [POISONING_ATTACKS[name](**settings) for name, settings in VARIANTS]
NAMES = ["-".join([name, *map(str, settings.values())]) for name, settings in VARIANTS]
every_poison = pytest.mark.parametrize("poison", POISONED, ids=NAMES)


@every_poison
@pytest.mark.parametrize("faulty", [0, 1, 4, 8, 9])
@pytest.mark.parametrize("insight", [NO_KNOWLEDGE, insight_of()], ids=["ignorant", "knowing"])
def test_only_malicious_rows_change_and_all_stay_numbers(
    poison: PoisoningAttack, faulty: int, insight: AdversaryKnowledge
) -> None:
    rows = rows_of(1)
    before = rows.clone()
    sent = poison.rows(rows, party(faulty), insight)
    assert torch.equal(rows, before)
    assert torch.equal(sent[: 9 - faulty], rows[: 9 - faulty])
    assert (sent.shape, sent.dtype) == (rows.shape, torch.float32)
    assert sent.isfinite().all()
    assert (sent[9 - faulty :] != rows[9 - faulty :]).any() == (faulty > 0)


@every_poison
@pytest.mark.parametrize("clients", [1, 2, 3, 9])
@pytest.mark.parametrize("value", [0.0, 1e-30, 1.0])
def test_updates_that_are_all_alike_make_no_trouble(
    poison: PoisoningAttack, clients: int, value: float
) -> None:
    for faulty in range(1, clients + 1):
        sent = poison.rows(torch.full((clients, 7), value), party(faulty, clients), insight_of())
        assert sent.isfinite().all()


@every_poison
@pytest.mark.parametrize("trouble", [inf, -inf, nan])
def test_a_client_that_diverged_does_not_spoil_the_lie(
    poison: PoisoningAttack, trouble: float
) -> None:
    rows = rows_of(2)
    rows[0, 3] = trouble
    assert poison.rows(rows, party(3), insight_of())[6:].isfinite().all()
    rows[1:6] = trouble
    assert poison.rows(rows, party(3), insight_of())[6:].isfinite().all()
    mean = replace(insight_of(), fold=lambda each: each.mean(dim=0))
    assert poison.rows(rows, party(3), mean)[6:].isfinite().all()


def test_a_client_that_diverged_does_not_hide_the_step() -> None:
    rows, mean = rows_of(2), AdversaryKnowledge(fold=lambda each: each.mean(dim=0))
    rows[0] = nan
    assert (POISONING_ATTACKS["fang"]().rows(rows, party(3), mean)[6:] != 0).all()
    assert POISONING_ATTACKS["opt-ipm"]().rows(rows, party(3), mean)[6:].abs().max() > 100


@every_poison
def test_a_round_is_the_same_when_it_is_done_again(poison: PoisoningAttack) -> None:
    once, again = (poison.rows(rows_of(3), party(4), insight_of()) for _ in range(2))
    assert torch.equal(once, again)


@every_poison
def test_order_of_clients_does_not_matter(poison: PoisoningAttack) -> None:
    cohort, order = party(4), [5, 3, 8, 0, 1, 7, 2, 6, 4]
    sent = poison.rows(rows_of(4), cohort, insight_of())
    mixed = poison.rows(rows_of(4)[order], cohort.part(order), insight_of())
    assert torch.allclose(mixed, sent[order], rtol=1e-4, atol=1e-5)


@every_poison
def test_what_others_say_they_weigh_does_not_matter(poison: PoisoningAttack) -> None:
    heavy = replace(party(4), weights=torch.arange(9.0))
    sent = poison.rows(rows_of(5), party(4), insight_of())
    assert torch.equal(poison.rows(rows_of(5), heavy, insight_of()), sent)


@pytest.mark.parametrize("name", [*COPIES, "fang"])
def test_larger_updates_make_a_lie_that_is_as_much_larger(name: str) -> None:
    poison, insight = POISONING_ATTACKS[name](), folding("median")
    sent = poison.rows(rows_of(6), party(4), insight)
    assert torch.allclose(poison.rows(8 * rows_of(6), party(4), insight), 8 * sent, rtol=1e-4)


@pytest.mark.parametrize("name", COPIES)
def test_what_attackers_trained_does_not_matter(name: str) -> None:
    poison, rows = POISONING_ATTACKS[name](), rows_of(7)
    sent = poison.rows(rows, party(4), folding("median"))
    rows[5:] = 100.0
    assert torch.equal(poison.rows(rows, party(4), folding("median")), sent)


def test_nobody_but_poisons_of_noise_says_something_of_its_own() -> None:
    own = set()
    for poison, name in zip(POISONED, NAMES, strict=True):
        sent = poison.rows(rows_of(8), party(4), insight_of())[5:]
        if (sent != sent[0]).any():
            own.add(name)
    assert own == {"sign-flip", "gaussian-0.5", "fang", "free-rider-noise"}
