"""Poisons: promises that every one in the table keeps.  Each by hand is in a file of its family."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from attacks import POISONING_ATTACKS
from lab import Experiment, run
from lab.engine.data.federation import federated_dataset, training_data
from lab.engine.data.malicious_clients import malicious_clients
from lab.interfaces.poisoning import AdversaryKnowledge, DataPoisoningContext
from tests.support.poisoning import (
    CLASSES,
    SEEDS,
    SMALL,
    allowed,
    attacked,
    cohort_of,
    first,
    harms_data,
    harms_rows,
    pictures,
    rows_of,
)

PARAMS = 7
GOALS = [
    name
    for name in POISONING_ATTACKS
    if POISONING_ATTACKS[name]().goal(*pictures(0, 5), pictures(1, 4)[0])
]


def scene(seed: int, place: int = 1) -> DataPoisoningContext:
    return DataPoisoningContext(place, pictures(seed + 1, 5)[0])


def insight(seed: int) -> AdversaryKnowledge:
    sent, change, fresh = rows_of(seed + 1, 3, PARAMS)
    return AdversaryKnowledge(sent, change, fresh, lambda rows: rows.mean(dim=0))


# --- of data ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", POISONING_ATTACKS)
@pytest.mark.parametrize("examples", [0, 1, 2, 12])
def test_a_client_keeps_as_many_examples_and_their_kind(name: str, examples: int) -> None:
    inputs, labels = pictures(0, examples)
    for place in range(5):
        changed, taught = POISONING_ATTACKS[name]().data(inputs, labels, CLASSES, scene(0, place))
        assert (changed.shape, changed.dtype) == (inputs.shape, inputs.dtype)
        assert (taught.shape, taught.dtype) == (labels.shape, labels.dtype)


@pytest.mark.parametrize("name", POISONING_ATTACKS)
@given(seed=SEEDS, examples=st.integers(1, 30), place=st.integers(0, 9))
def test_what_is_taught_is_a_class_and_a_picture(
    name: str, seed: int, examples: int, place: int
) -> None:
    inputs, labels = pictures(seed, examples)
    changed, taught = POISONING_ATTACKS[name]().data(inputs, labels, CLASSES, scene(seed, place))
    assert taught.min() >= 0
    assert taught.max() < CLASSES
    assert changed.min() >= 0
    assert changed.max() <= 1


@pytest.mark.parametrize("name", POISONING_ATTACKS)
def test_who_harms_data_teaches_something_wrong(name: str) -> None:
    inputs, labels = pictures(0, 100)
    changed, taught = POISONING_ATTACKS[name]().data(inputs, labels, CLASSES, scene(0))
    same = torch.equal(changed, inputs) and torch.equal(taught, labels)
    assert same != harms_data(name)
    assert torch.equal(taught, labels) == same


@pytest.mark.parametrize("name", GOALS)
def test_the_goal_is_to_have_other_classes_taken_for_one(name: str) -> None:
    """So examples of the wanted class, which would count as a success anyway, are not asked."""
    inputs, labels = pictures(0, 60)
    goal = POISONING_ATTACKS[name]().goal(inputs, labels, pictures(1, 5)[0])
    assert goal is not None
    asked, wanted = goal
    (target,) = wanted.unique().tolist()
    assert wanted.dtype == labels.dtype
    assert asked.shape[1:] == inputs.shape[1:]
    own = labels == target
    again = POISONING_ATTACKS[name]().goal(inputs[own], labels[own])
    assert again is None or len(again[0]) == len(again[1]) == 0


@pytest.mark.parametrize("name", GOALS)
def test_a_goal_of_no_examples_is_empty(name: str) -> None:
    goal = POISONING_ATTACKS[name]().goal(*pictures(0, 0), pictures(0, 0)[0])
    assert goal is not None
    assert len(goal[0]) == len(goal[1]) == 0


@pytest.mark.parametrize("name", POISONING_ATTACKS)
def test_who_trains_on_strangers_says_so(name: str) -> None:
    inputs, labels = pictures(0, 20)
    alone, joined = (
        POISONING_ATTACKS[name]().data(inputs, labels, CLASSES, each)
        for each in (DataPoisoningContext(1), scene(0))
    )
    needs = bool(POISONING_ATTACKS[name]().stranger)
    assert torch.equal(alone[0], joined[0]) != needs
    goals = (
        POISONING_ATTACKS[name]().goal(inputs, labels),
        POISONING_ATTACKS[name]().goal(inputs, labels, inputs),
    )
    assert (goals[0] is None) == (goals[1] is None) or needs


# --- of rows, claims and local steps ------------------------------------------------------------


@pytest.mark.parametrize("name", POISONING_ATTACKS)
@given(seed=SEEDS)
def test_rows_and_claims_of_honest_clients_go_through_untouched(name: str, seed: int) -> None:
    rows, weights = rows_of(seed, 9, PARAMS), torch.arange(9.0)
    bad = torch.from_numpy(np.random.default_rng(seed).random(9) < 0.5)
    for known in (AdversaryKnowledge(), insight(seed)):
        sent = POISONING_ATTACKS[name]().rows(
            rows, cohort_of(bad.tolist(), weights.tolist()), known
        )
        assert torch.equal(sent[~bad], rows[~bad])
    claimed = POISONING_ATTACKS[name]().claims(weights, bad)
    assert torch.equal(claimed[~bad], weights[~bad])
    assert claimed.isfinite().all()
    assert (claimed >= 0).all()


@pytest.mark.parametrize("name", POISONING_ATTACKS)
@pytest.mark.parametrize("bad", [0, 1, 4, 9])
def test_rows_stay_numbers_whoever_is_malicious(name: str, bad: int) -> None:
    """Also where no attacker holds an example, and where nobody is honest."""
    rows = rows_of(0, 9, PARAMS)
    for weights in (None, [0.0] * 9):
        cohort = cohort_of([place < bad for place in range(9)], weights)
        sent = POISONING_ATTACKS[name]().rows(rows, cohort, insight(0))
        assert (sent.shape, sent.dtype) == (rows.shape, rows.dtype)
        assert sent.isfinite().all()


@pytest.mark.parametrize("name", POISONING_ATTACKS)
def test_what_attackers_send_can_be_repeated(name: str) -> None:
    rows, cohort = rows_of(0, 9, PARAMS), cohort_of([place % 2 == 0 for place in range(9)])
    one, other = (POISONING_ATTACKS[name]().rows(rows, cohort, insight(0)) for _ in range(2))
    assert torch.equal(one, other)


@pytest.mark.parametrize("name", POISONING_ATTACKS)
def test_who_uses_the_last_change_of_the_model_says_so(name: str) -> None:
    poison, cohort = POISONING_ATTACKS[name](), cohort_of([True, True, False, False, False])
    known, rows = insight(0), rows_of(0, 5, PARAMS)
    less = AdversaryKnowledge(known.sent, None, known.fresh, known.fold)
    sent, without = (poison.rows(rows, cohort, each) for each in (known, less))
    assert poison.remembers or torch.equal(sent, without)
    restraint = poison.restrain(known)
    assert poison.remembers or restraint is None or restraint.free is None


@pytest.mark.parametrize("name", POISONING_ATTACKS)
def test_a_restraint_has_a_flag_for_each_parameter(name: str) -> None:
    restraint = POISONING_ATTACKS[name]().restrain(insight(0))
    if restraint is not None and restraint.free is not None:
        assert restraint.free.shape == (PARAMS,)
        assert restraint.free.dtype == torch.bool
        assert restraint.free.any()
    assert restraint is None or restraint.pull >= 0


@pytest.mark.parametrize("name", POISONING_ATTACKS)
def test_the_input_is_left_as_it_was(name: str) -> None:
    poison, rows, known, there = POISONING_ATTACKS[name](), rows_of(0, 4), insight(0), scene(0)
    inputs, labels = pictures(0, 12)
    weights, bad = torch.ones(4), torch.ones(4, dtype=torch.bool)
    assert known.change is not None
    assert there.outside is not None
    held = (rows, inputs, labels, weights, bad, known.change, there.outside)
    before = [thing.clone() for thing in held]
    poison.rows(rows, cohort_of([True] * 4), known)
    poison.data(inputs, labels, CLASSES, there)
    poison.goal(inputs, labels, there.outside)
    poison.claims(weights, bad)
    poison.restrain(known)
    for old, new in zip(before, held, strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize("name", POISONING_ATTACKS)
def test_a_poison_says_what_its_attacker_knows(name: str) -> None:
    """It is read as 'Knows ...'."""
    knows = POISONING_ATTACKS[name].knows
    assert len(knows) >= 10
    assert knows[0].islower()
    assert not knows.endswith(".")


# --- of federations -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", POISONING_ATTACKS)
def test_only_malicious_clients_hold_other_data(name: str) -> None:
    experiment = attacked(name)
    bad, honest, harmed = (
        malicious_clients(experiment),
        federated_dataset(experiment),
        training_data(experiment),
    )
    assert len(bad) == 3
    assert torch.equal(honest.sizes, harmed.sizes)
    assert torch.equal(honest.test_inputs, harmed.test_inputs)
    assert torch.equal(honest.test_labels, harmed.test_labels)
    for client in honest.everyone:
        mine, theirs = honest.held(client), harmed.held(client)
        same = torch.equal(honest.inputs[mine], harmed.inputs[theirs]) and torch.equal(
            honest.labels[mine], harmed.labels[theirs]
        )
        assert same == (client not in bad or not harms_data(name))


@pytest.mark.parametrize("name", POISONING_ATTACKS)
def test_the_honest_federation_stays_honest(name: str) -> None:
    before = federated_dataset(SMALL)
    kept = before.inputs.clone(), before.labels.clone(), before.index.clone()
    training_data(attacked(name, 10))
    after = federated_dataset(attacked(name, 10))
    for old, new in zip(kept, (after.inputs, after.labels, after.index), strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize("name", POISONING_ATTACKS)
def test_a_larger_count_only_adds_malicious_clients(name: str) -> None:
    groups = [malicious_clients(attacked(name, count)) for count in range(11)]
    assert [len(group) for group in groups] == list(range(11))
    for smaller, larger in pairwise(groups):
        assert set(smaller) < set(larger)
        assert list(larger) == sorted(larger)


@pytest.mark.parametrize("name", POISONING_ATTACKS)
def test_who_joins_leaves_the_data_of_the_earlier_ones_alone(name: str) -> None:
    few, many = training_data(attacked(name, 2)), training_data(attacked(name, 6))
    for client in malicious_clients(attacked(name, 2)):
        one, other = few.held(client), many.held(client)
        assert torch.equal(few.inputs[one], many.inputs[other])
        assert torch.equal(few.labels[one], many.labels[other])


def test_everybody_is_malicious_equally_often() -> None:
    drawn = [
        malicious_clients(attacked("sign-flip").model_copy(update={"seed": s})) for s in range(1000)
    ]
    counts = np.bincount(np.concatenate(drawn), minlength=10)
    # A sum of 1000 draws of 3 from 10 without replacement varies a little less than chi-square.
    assert chisquare(counts).pvalue > 1e-3


# --- of runs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", POISONING_ATTACKS)
def test_in_a_round_only_the_rows_of_malicious_clients_change(name: str) -> None:
    experiment = attacked(name, 4).changed({"training.clients_per_round": 7})
    honest, harmed = first(experiment.changed({"adversary.count": 0})), first(experiment)
    assert honest.record.clients == harmed.record.clients
    changed = (honest.transcript.delivery.rows != harmed.transcript.delivery.rows).any(dim=1)
    asked = harmed.record.clients
    found = {client for client, differs in zip(asked, changed, strict=True) if differs}
    bad = set(malicious_clients(experiment)) & set(asked)
    assert bad
    assert found == bad if harms_data(name) else found <= bad


def _bounds() -> Iterator[tuple[str, str, object]]:
    """Every setting of every poison at its smallest and its largest that go with the others."""
    for name, part in POISONING_ATTACKS.items():
        for setting, schema in part.model_json_schema()["properties"].items():
            if setting == "kind":
                continue
            values = schema.get("enum") or [False, True]
            if schema["type"] == "integer":
                values = list(range(schema["minimum"], schema["maximum"] + 1))
            if schema["type"] == "number":
                low = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1e-6)
                values = [low, schema["maximum"]]
            fitting = [value for value in values if allowed(name, **{setting: value})]
            yield from ((name, setting, value) for value in (fitting[0], fitting[-1]))


@pytest.mark.parametrize(("name", "setting", "value"), list(_bounds()))
def test_settings_at_their_bounds_run(name: str, setting: str, value: object) -> None:
    experiment = attacked(name, 10, **{setting: value}).changed({"training.rounds": 2})
    for moment in run(experiment):
        assert moment.state.model.isfinite().all()
        assert moment.record.note == ""
        assert (moment.record.backdoor is not None) == (name in GOALS)


@pytest.mark.parametrize("name", POISONING_ATTACKS)
def test_norms_in_the_record_are_true_lengths_before_the_poison(name: str) -> None:
    """The record is the experimenter's eye: what was trained, not what was sent."""
    experiment = attacked(name, 4)
    moment, bad = first(experiment), set(malicious_clients(experiment))
    sent = torch.linalg.vector_norm(moment.transcript.delivery.rows, dim=1).tolist()
    for client, norm, length in zip(moment.record.clients, moment.record.norms, sent, strict=True):
        if client not in bad or not harms_rows(name):
            assert length == pytest.approx(norm, rel=1e-5)
    if not harms_data(name):
        honest = first(experiment.changed({"adversary.count": 0}))
        assert moment.record.norms == honest.record.norms


def test_attackers_who_wake_up_later_leave_the_rounds_before_as_they_were() -> None:
    later = {"round": 3, "set": {"adversary.count": 4}}
    waking = Experiment.read(SMALL.dump() | {"changes": [later]})
    calm, woken = list(run(SMALL)), list(run(waking))
    assert [m.record for m in calm[:2]] == [m.record for m in woken[:2]]
    assert woken[2].record.norms == calm[2].record.norms
    assert woken[4].record.accuracy < calm[4].record.accuracy - 0.3


# --- what attackers know --------------------------------------------------------------------------


def _unknown(rows: Tensor) -> Tensor:
    raise AssertionError("it looked at what the server would make of rows")


def _insight(seed: int) -> AdversaryKnowledge:
    sent, change, fresh = rows_of(seed, 3)
    return AdversaryKnowledge(sent=sent, change=change, fresh=fresh, fold=_unknown)


@pytest.mark.parametrize(
    "name", [name for name in POISONING_ATTACKS if "rule" not in POISONING_ATTACKS[name].knows]
)
@given(seed=SEEDS)
def test_who_does_not_know_the_rule_never_asks_for_its_step(name: str, seed: int) -> None:
    rows, cohort = rows_of(seed, 9), cohort_of([True] * 3 + [False] * 6)
    assert POISONING_ATTACKS[name]().rows(rows, cohort, _insight(seed)).shape == rows.shape


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in POISONING_ATTACKS
        if "all honest" not in POISONING_ATTACKS[name].knows.split(";")[0]
    ],
)
@given(seed=SEEDS)
def test_who_knows_no_honest_update_sends_the_same_whatever_they_are(name: str, seed: int) -> None:
    rows, others = rows_of(seed, 9), rows_of(seed + 1, 9)
    bad = torch.tensor([True] * 3 + [False] * 6)
    mixed = torch.where(bad.unsqueeze(1), rows, others)
    cohort, insight = cohort_of(bad.tolist()), _insight(seed + 2)
    sent, same = (POISONING_ATTACKS[name]().rows(each, cohort, insight) for each in (rows, mixed))
    assert torch.equal(sent[bad], same[bad])
