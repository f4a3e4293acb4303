"""Poisons: worked out by hand, promises that every one keeps, and what they do to a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from attacks import POISONS
from lab import Experiment, run
from lab.assembly import assemble, malicious, poisoned
from lab.engine import Moment
from lab.evaluate import evaluate
from lab.federation import as_floats
from lab.settings import SettingError
from lab.wire import Cohort

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
HARM_DATA = ("label-flip", "backdoor")


def attacked(kind: str, count: int = 3, **settings: float) -> Experiment:
    poison = {"kind": kind, **settings}
    return SMALL.changed({"adversary.count": count, "adversary.poison": poison})


def pictures(seed: int, examples: int, side: int = 8, colours: int = 1) -> tuple[Tensor, Tensor]:
    """Pictures darker than white, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    inputs = 0.9 * torch.rand(examples, colours, side, side, generator=generator)
    return inputs, torch.randint(0, CLASSES, (examples,), generator=generator)


def rows_of(seed: int, clients: int, params: int = 7) -> Tensor:
    return torch.randn(clients, params, generator=torch.Generator().manual_seed(seed))


def cohort_of(bad: Sequence[bool]) -> Cohort:
    return Cohort(
        seed=0,
        round=1,
        clients=tuple(range(len(bad))),
        weights=torch.ones(len(bad)),
        malicious=torch.tensor(bad, dtype=torch.bool),
        lost=torch.zeros(len(bad), dtype=torch.bool),
        expected=float(len(bad)),
    )


# --- by hand --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "labels", "taught"),
    [(10, [0, 3, 9, 5], [9, 6, 0, 4]), (2, [0, 1], [1, 0]), (3, [0, 1, 2], [2, 1, 0])],
)
def test_the_label_flip_teaches_the_class_at_the_other_end(
    classes: int, labels: list[int], taught: list[int]
) -> None:
    inputs = torch.rand(len(labels), 4)
    same, flipped = POISONS["label-flip"]().data(inputs, torch.tensor(labels), classes)
    assert flipped.tolist() == taught
    assert torch.equal(same, inputs)


def test_the_sign_flip_sends_the_own_update_backwards() -> None:
    rows = torch.tensor([[1.0, -2.0], [3.0, 4.0]])
    sent = POISONS["sign-flip"](scale=3).rows(rows, cohort_of([True, False]))
    assert sent.tolist() == [[-3.0, 6.0], [3.0, 4.0]]


def test_the_trigger_is_a_white_square_in_the_last_corner() -> None:
    inputs, labels = torch.zeros(1, 1, 3, 3), torch.tensor([5])
    marked, taught = POISONS["backdoor"](pixels=2, share=1, target=7).data(inputs, labels, CLASSES)
    assert marked[0, 0].tolist() == [[0, 0, 0], [0, 1, 1], [0, 1, 1]]
    assert taught.tolist() == [7]


def test_the_trigger_is_white_in_every_colour() -> None:
    inputs, labels = pictures(0, 4, colours=3)
    marked, _ = POISONS["backdoor"](pixels=3, share=1).data(inputs, labels, CLASSES)
    assert (marked[:, :, 5:, 5:] == 1).all()
    assert torch.equal(marked[:, :, :5], inputs[:, :, :5])
    assert torch.equal(marked[:, :, :, :5], inputs[:, :, :, :5])


@pytest.mark.parametrize(
    ("share", "examples", "expected"), [(0.5, 4, 2), (0.25, 8, 2), (0.1, 20, 2), (1.0, 5, 5)]
)
def test_the_backdoor_marks_its_share_of_the_examples_and_leaves_the_rest(
    share: float, examples: int, expected: int
) -> None:
    inputs, labels = pictures(1, examples)
    labels = labels.clamp_min(1)  # nobody is of the target class already
    marked, taught = POISONS["backdoor"](share=share, target=0).data(inputs, labels, CLASSES)
    changed = (marked != inputs).flatten(1).any(dim=1)
    assert int(changed.sum()) == expected
    assert (taught[changed] == 0).all()
    assert torch.equal(taught[~changed], labels[~changed])


def test_the_backdoor_boosts_what_malicious_clients_send() -> None:
    rows = torch.tensor([[1.0, -2.0], [3.0, 4.0]])
    sent = POISONS["backdoor"](boost=10).rows(rows, cohort_of([False, True]))
    assert sent.tolist() == [[1.0, -2.0], [30.0, 40.0]]


def test_success_is_measured_on_triggered_examples_of_the_other_classes() -> None:
    inputs, labels = pictures(2, 5)[0], torch.tensor([4, 1, 2, 4, 9])
    goal = POISONS["backdoor"](pixels=2, target=4).goal(inputs, labels)
    assert goal is not None
    marked, wanted = goal
    assert wanted.tolist() == [4, 4, 4]
    assert (marked[:, :, -2:, -2:] == 1).all()
    assert torch.equal(marked[:, :, :-2], inputs[[1, 2, 4], :, :-2])


def test_only_the_backdoor_has_a_goal() -> None:
    inputs, labels = pictures(3, 5)
    goals = {name: POISONS[name]().goal(inputs, labels) for name in POISONS}
    assert {name for name, goal in goals.items() if goal} == {"backdoor"}


def test_a_trigger_that_would_hide_the_picture_is_refused() -> None:
    with pytest.raises(SettingError, match="pixels is 5, more than half a side of 8: give 1 to 4"):
        POISONS["backdoor"](pixels=5).check((1, 8, 8), 10)


def test_a_target_that_is_no_class_is_refused() -> None:
    with pytest.raises(SettingError, match="target is 10: there are 10 classes, give 0 to 9"):
        attacked("backdoor", target=10)


def test_a_trigger_for_a_table_is_refused_once_somebody_uses_it() -> None:
    table = {"data.source": "heart", "adversary.poison": {"kind": "backdoor"}}
    assert SMALL.changed(table).adversary.count == 0
    with pytest.raises(SettingError, match="use label-flip or sign-flip"):
        SMALL.changed(table | {"adversary.count": 1})


# --- promises -------------------------------------------------------------------------------------


@given(seed=SEEDS, classes=st.integers(2, 40))
def test_the_label_flip_undoes_itself(seed: int, classes: int) -> None:
    labels = torch.from_numpy(np.random.default_rng(seed).integers(0, classes, 30))
    poison, inputs = POISONS["label-flip"](), torch.zeros(30, 1)
    once = poison.data(inputs, labels, classes)[1]
    assert int(once.min()) >= 0
    assert int(once.max()) < classes
    assert torch.equal(poison.data(inputs, once, classes)[1], labels)


@given(seed=SEEDS, scale=st.floats(0.01, 100))
def test_the_sign_flip_is_minus_scale_times_the_own_row(seed: int, scale: float) -> None:
    rows, bad = rows_of(seed, 5), [False, True, True, False, True]
    sent = POISONS["sign-flip"](scale=scale).rows(rows, cohort_of(bad))
    assert torch.equal(sent[[0, 3]], rows[[0, 3]])
    assert torch.allclose(sent[[1, 2, 4]], -scale * rows[[1, 2, 4]], rtol=1e-4)


@pytest.mark.parametrize("name", POISONS)
@given(seed=SEEDS)
def test_rows_of_honest_clients_go_through_untouched(name: str, seed: int) -> None:
    rows = rows_of(seed, 9)
    bad = np.random.default_rng(seed).random(9) < 0.5
    sent = POISONS[name]().rows(rows, cohort_of(bad.tolist()))
    assert torch.equal(sent[~bad], rows[~bad])


@pytest.mark.parametrize("name", POISONS)
def test_the_input_is_left_as_it_was(name: str) -> None:
    poison, rows = POISONS[name](), rows_of(0, 4)
    inputs, labels = pictures(0, 12)
    before = [thing.clone() for thing in (rows, inputs, labels)]
    poison.rows(rows, cohort_of([True] * 4))
    poison.data(inputs, labels, CLASSES)
    poison.goal(inputs, labels)
    for old, new in zip(before, (rows, inputs, labels), strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize("name", POISONS)
@pytest.mark.parametrize("examples", [0, 1, 2])
def test_a_client_with_hardly_any_examples_keeps_as_many(name: str, examples: int) -> None:
    inputs, labels = pictures(0, examples)
    changed, taught = POISONS[name]().data(inputs, labels, CLASSES)
    assert (changed.shape, changed.dtype) == (inputs.shape, inputs.dtype)
    assert (taught.shape, taught.dtype) == (labels.shape, labels.dtype)


@pytest.mark.parametrize("name", POISONS)
def test_only_malicious_clients_hold_other_data(name: str) -> None:
    experiment = attacked(name)
    bad, honest, harmed = malicious(experiment), assemble(experiment), poisoned(experiment)
    assert len(bad) == 3
    assert torch.equal(honest.sizes, harmed.sizes)
    assert torch.equal(honest.test_inputs, harmed.test_inputs)
    assert torch.equal(honest.test_labels, harmed.test_labels)
    for client in honest.everyone:
        mine, theirs = honest.held(client), harmed.held(client)
        same = torch.equal(honest.inputs[mine], harmed.inputs[theirs]) and torch.equal(
            honest.labels[mine], harmed.labels[theirs]
        )
        assert same == (client not in bad or name not in HARM_DATA)


@pytest.mark.parametrize("name", POISONS)
def test_the_honest_federation_stays_honest(name: str) -> None:
    before = assemble(SMALL)
    kept = before.inputs.clone(), before.labels.clone(), before.index.clone()
    poisoned(attacked(name, 10))
    after = assemble(attacked(name, 10))
    for old, new in zip(kept, (after.inputs, after.labels, after.index), strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize("name", POISONS)
def test_a_larger_count_only_adds_malicious_clients(name: str) -> None:
    groups = [malicious(attacked(name, count)) for count in range(11)]
    assert [len(group) for group in groups] == list(range(11))
    for smaller, larger in pairwise(groups):
        assert set(smaller) < set(larger)
        assert list(larger) == sorted(larger)


@pytest.mark.parametrize("name", POISONS)
def test_who_joins_leaves_the_data_of_the_earlier_ones_alone(name: str) -> None:
    few, many = poisoned(attacked(name, 2)), poisoned(attacked(name, 6))
    for client in malicious(attacked(name, 2)):
        one, other = few.held(client), many.held(client)
        assert torch.equal(few.inputs[one], many.inputs[other])
        assert torch.equal(few.labels[one], many.labels[other])


def test_everybody_is_malicious_equally_often() -> None:
    drawn = [malicious(attacked("sign-flip").model_copy(update={"seed": s})) for s in range(1000)]
    counts = np.bincount(np.concatenate(drawn), minlength=10)
    # A sum of 1000 draws of 3 from 10 without replacement varies a little less than chi-square.
    assert chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("name", POISONS)
def test_in_a_round_only_the_rows_of_malicious_clients_change(name: str) -> None:
    experiment = attacked(name, 4).changed({"training.clients_per_round": 7})
    honest, harmed = first(experiment.changed({"adversary.count": 0})), first(experiment)
    assert honest.record.clients == harmed.record.clients
    changed = (honest.transcript.delivery.rows != harmed.transcript.delivery.rows).any(dim=1)
    asked = harmed.record.clients
    found = {client for client, differs in zip(asked, changed, strict=True) if differs}
    assert found == set(malicious(experiment)) & set(asked)
    assert found


def _bounds() -> Iterator[tuple[str, str, float]]:
    """Every setting of every poison at its smallest and its largest."""
    for name, part in POISONS.items():
        for setting, schema in part.model_json_schema()["properties"].items():
            if setting == "kind":
                continue
            low = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1e-6)
            high = schema.get("maximum")
            # There are ten classes here, and a target that is none of them is refused.
            yield from ((name, setting, low), (name, setting, 9 if setting == "target" else high))


@pytest.mark.parametrize(("name", "setting", "value"), list(_bounds()))
def test_settings_at_their_bounds_run(name: str, setting: str, value: float) -> None:
    value = min(value, 4) if setting == "pixels" else value  # half a side of these digits
    experiment = attacked(name, 10, **{setting: value}).changed({"training.rounds": 2})
    for moment in run(experiment):
        assert moment.state.model.isfinite().all()
        assert moment.record.note == ""
        assert (moment.record.backdoor is not None) == (name == "backdoor")


# --- whole runs -----------------------------------------------------------------------------------


def first(experiment: Experiment) -> Moment:
    return next(run(experiment))


def last(experiment: Experiment) -> Moment:
    return list(run(experiment))[-1]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_median_stands_where_sign_flips_destroy_the_mean(seed: int) -> None:
    calm = SMALL.changed({"seed": seed})
    storm = attacked("sign-flip", 4, scale=3).changed({"seed": seed})
    assert last(calm).record.accuracy > 0.85
    assert last(storm).record.accuracy < 0.2
    assert last(storm.changed({"rule.kind": "median"})).record.accuracy > 0.75


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_majority_that_flips_labels_is_believed(seed: int) -> None:
    few, most = (attacked("label-flip", count).changed({"seed": seed}) for count in (2, 6))
    assert last(few).record.accuracy > 0.8
    assert last(most).record.accuracy < 0.2


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_backdoor_obeys_more_the_more_teach_it(seed: int) -> None:
    def success(count: int) -> float | None:
        return last(attacked("backdoor", count, pixels=2).changed({"seed": seed})).record.backdoor

    assert success(0) is None
    one, three = success(1), success(3)
    strong = attacked("backdoor", 3, pixels=2, boost=5).changed({"seed": seed})
    boosted = last(strong).record.backdoor
    assert one is not None
    assert three is not None
    assert boosted is not None
    assert honest_success(seed) <= one + 0.02
    assert honest_success(seed) + 0.3 < three < boosted
    assert boosted > 0.9


def honest_success(seed: int) -> float:
    """How often a model that nobody attacked falls for the trigger."""
    honest = attacked("backdoor", 0, pixels=2).changed({"seed": seed})
    federation = assemble(honest)
    inputs = as_floats(federation.test_inputs)
    goal = honest.adversary.poison.goal(inputs, federation.test_labels)
    assert goal is not None
    return evaluate(honest.architecture, last(honest).state.model, *goal)[0]


def test_a_backdoor_hides_behind_a_good_accuracy() -> None:
    record = last(attacked("backdoor", 2, pixels=2, boost=5)).record
    assert record.backdoor is not None
    assert record.backdoor > 0.8
    assert record.accuracy > 0.8


def test_attackers_who_wake_up_later_leave_the_rounds_before_as_they_were() -> None:
    later = {"round": 3, "set": {"adversary.count": 4}}
    waking = Experiment.read(SMALL.dump() | {"changes": [later]})
    calm, woken = list(run(SMALL)), list(run(waking))
    assert [m.record for m in calm[:2]] == [m.record for m in woken[:2]]
    assert woken[2].record.norms == calm[2].record.norms
    assert woken[4].record.accuracy < calm[4].record.accuracy - 0.3


@pytest.mark.parametrize("name", POISONS)
def test_norms_in_the_record_are_true_lengths_before_the_poison(name: str) -> None:
    """The record is the experimenter's eye: what was trained, not what was sent."""
    experiment = attacked(name, 4)
    moment, bad = first(experiment), set(malicious(experiment))
    sent = torch.linalg.vector_norm(moment.transcript.delivery.rows, dim=1).tolist()
    factor = {"sign-flip": 3.0}.get(name, 1.0)
    for client, norm, length in zip(moment.record.clients, moment.record.norms, sent, strict=True):
        assert length == pytest.approx(norm * (factor if client in bad else 1.0), rel=1e-5)
