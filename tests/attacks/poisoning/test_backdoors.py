"""Backdoors: each by hand, and what they do to a run."""

from __future__ import annotations

import pytest
import torch

from attacks import POISONING_ATTACKS
from defenses import AGGREGATION_RULES
from lab.common.settings import SettingError
from lab.engine.data.federation import federated_dataset
from lab.interfaces.poisoning import AdversaryKnowledge, DataPoisoningContext
from lab.models.inputs import as_floats
from lab.models.metrics import evaluate
from tests.support.poisoning import CLASSES, SMALL, attacked, cohort_of, last, pictures, rows_of

SQUARES = ["backdoor", "model-replacement", "neurotoxin"]  # who teach a white square
BOOSTED = ["backdoor", "dba", "edge-case", "model-replacement", "neurotoxin"]

# --- a white square -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SQUARES)
def test_the_trigger_is_a_white_square_in_the_last_corner(name: str) -> None:
    inputs, labels = torch.zeros(1, 1, 3, 3), torch.tensor([5])
    marked, taught = POISONING_ATTACKS[name](pixels=2, share=1, target=7).data(
        inputs, labels, CLASSES
    )
    assert marked[0, 0].tolist() == [[0, 0, 0], [0, 1, 1], [0, 1, 1]]
    assert taught.tolist() == [7]


def test_the_trigger_is_white_in_every_colour() -> None:
    inputs, labels = pictures(0, 4, colours=3)
    marked, _ = POISONING_ATTACKS["backdoor"](pixels=3, share=1).data(inputs, labels, CLASSES)
    assert (marked[:, :, 5:, 5:] == 1).all()
    assert torch.equal(marked[:, :, :5], inputs[:, :, :5])
    assert torch.equal(marked[:, :, :, :5], inputs[:, :, :, :5])


@pytest.mark.parametrize(
    ("share", "examples", "expected"), [(0.5, 4, 2), (0.25, 8, 2), (0.1, 20, 2), (1.0, 5, 5)]
)
@pytest.mark.parametrize("name", BOOSTED)
def test_a_backdoor_marks_its_share_of_the_examples_and_leaves_the_rest(
    name: str, share: float, examples: int, expected: int
) -> None:
    inputs, labels = pictures(1, examples)
    labels = labels.clamp_min(1)  # nobody is of the target class already
    poison, scene = (
        POISONING_ATTACKS[name](share=share, target=0),
        DataPoisoningContext(0, pictures(2, 3)[0]),
    )
    marked, taught = poison.data(inputs, labels, CLASSES, scene)
    changed = (marked != inputs).flatten(1).any(dim=1)
    assert int(changed.sum()) == expected
    assert (taught[changed] == 0).all()
    assert torch.equal(taught[~changed], labels[~changed])


@pytest.mark.parametrize("name", BOOSTED)
def test_a_backdoor_boosts_what_malicious_clients_send(name: str) -> None:
    rows = torch.tensor([[1.0, -2.0], [3.0, 4.0]])
    sent = POISONING_ATTACKS[name](boost=10).rows(rows, cohort_of([False, True]))
    assert sent.tolist() == [[1.0, -2.0], [30.0, 40.0]]


@pytest.mark.parametrize("name", SQUARES)
def test_success_is_measured_on_triggered_examples_of_the_other_classes(name: str) -> None:
    inputs, labels = pictures(2, 5)[0], torch.tensor([4, 1, 2, 4, 9])
    goal = POISONING_ATTACKS[name](pixels=2, target=4).goal(inputs, labels)
    assert goal is not None
    marked, wanted = goal
    assert wanted.tolist() == [4, 4, 4]
    assert (marked[:, :, -2:, -2:] == 1).all()
    assert torch.equal(marked[:, :, :-2], inputs[[1, 2, 4], :, :-2])


@pytest.mark.parametrize("name", SQUARES)
def test_a_trigger_that_would_hide_the_picture_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match="pixels is 5, more than half a side of 8: give 1 to 4"):
        POISONING_ATTACKS[name](pixels=5).check((1, 8, 8), 10)


@pytest.mark.parametrize("name", BOOSTED)
def test_a_target_that_is_no_class_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match="target is 10: there are 10 classes, give 0 to 9"):
        attacked(name, target=10)


@pytest.mark.parametrize("name", BOOSTED)
def test_a_backdoor_for_a_table_is_refused_once_somebody_uses_it(name: str) -> None:
    table = {"data.source": "heart", "adversary.attack": {"kind": name}}
    assert SMALL.changed(table).adversary.count == 0
    with pytest.raises(SettingError, match="use label-flip or sign-flip"):
        SMALL.changed(table | {"adversary.count": 1})


# --- a trigger in parts ---------------------------------------------------------------------------


def part(place: int, **settings: int) -> torch.Tensor:
    """What attacker `place` marks.  -> (8, 8) bool"""
    black = torch.zeros(1, 1, 8, 8)
    taught = POISONING_ATTACKS["dba"](share=1, **settings).data(
        black, torch.zeros(1).long(), CLASSES, DataPoisoningContext(place)
    )
    return taught[0][0, 0] == 1


def whole(**settings: int) -> torch.Tensor:
    """What success is measured with.  -> (8, 8) bool"""
    goal = POISONING_ATTACKS["dba"](**settings).goal(torch.zeros(1, 1, 8, 8), torch.ones(1).long())
    assert goal is not None
    return goal[0][0, 0] == 1


def test_the_whole_trigger_is_four_bars_two_pixels_apart() -> None:
    """Rows 0 and 3, as in the paper, where bars are four pixels long."""
    drawn = ["##..##..", "........", "........", "##..##.."] + ["........"] * 4
    assert whole(pixels=2).tolist() == [[pixel == "#" for pixel in row] for row in drawn]


@pytest.mark.parametrize("parts", [1, 2, 3, 4])
def test_parts_are_disjoint_and_make_up_the_whole_trigger(parts: int) -> None:
    drawn = torch.stack([part(place, parts=parts) for place in range(parts)])
    assert drawn.flatten(1).any(dim=1).all()
    assert (drawn.sum(dim=0) == whole(parts=parts).int()).all()
    assert whole(parts=parts).sum() == 12


def test_the_fifth_attacker_teaches_what_the_first_does() -> None:
    assert torch.equal(part(4), part(0))
    assert torch.equal(part(7, parts=3), part(1, parts=3))


def test_bars_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SettingError, match=r"pixels is 4, too long .* side of 8: give 1 to 3"):
        POISONING_ATTACKS["dba"](pixels=4).check((1, 8, 8), CLASSES)
    POISONING_ATTACKS["dba"](pixels=4).check((1, 10, 10), CLASSES)


# --- pictures of another data set -----------------------------------------------------------------


def test_strangers_take_the_places_of_own_examples_and_pass_for_the_target() -> None:
    inputs, labels = torch.zeros(4, 1, 2, 2), torch.tensor([1, 1, 2, 3])
    outside = torch.ones(3, 1, 2, 2) * torch.tensor([0.1, 0.2, 0.3]).view(-1, 1, 1, 1)
    shown, taught = POISONING_ATTACKS["edge-case"](share=0.5, target=9).data(
        inputs, labels, CLASSES, DataPoisoningContext(0, outside)
    )
    assert torch.equal(shown[[0, 2]], outside[:2])
    assert torch.equal(shown[[1, 3]], inputs[[1, 3]])
    assert taught.tolist() == [9, 1, 9, 3]


def test_attackers_go_on_where_the_one_before_has_stopped() -> None:
    inputs, labels = pictures(0, 2)
    outside, poison = pictures(1, 5)[0], POISONING_ATTACKS["edge-case"](share=1)
    shown = [
        poison.data(inputs, labels, CLASSES, DataPoisoningContext(place, outside))[0]
        for place in range(3)
    ]
    assert torch.equal(torch.cat(shown), outside[[0, 1, 2, 3, 4, 0]])


@pytest.mark.parametrize("outside", [None, torch.zeros(0, 1, 8, 8)])
def test_without_strangers_the_own_examples_stay(outside: torch.Tensor | None) -> None:
    inputs, labels = pictures(0, 4)
    shown, taught = POISONING_ATTACKS["edge-case"]().data(
        inputs, labels, CLASSES, DataPoisoningContext(0, outside)
    )
    assert torch.equal(shown, inputs)
    assert torch.equal(taught, labels)


def test_success_is_measured_on_strangers_only() -> None:
    inputs, labels = pictures(0, 4)
    goal = POISONING_ATTACKS["edge-case"](target=2).goal(inputs, labels, pictures(1, 3)[0])
    assert goal is not None
    assert torch.equal(goal[0], pictures(1, 3)[0])
    assert goal[1].tolist() == [2, 2, 2]
    assert POISONING_ATTACKS["edge-case"]().goal(inputs, labels) is None


def test_the_edge_case_says_which_pictures_it_needs() -> None:
    poison = POISONING_ATTACKS["edge-case"](outside="digits", looks=3)
    assert (poison.stranger, poison.stranger_label) == ("digits", 3)


# --- model replacement ----------------------------------------------------------------------------


def released(rows: torch.Tensor, bad: list[bool], weights: list[float]) -> torch.Tensor:
    """The mean of what is sent."""
    cohort = cohort_of(bad, weights)
    return AGGREGATION_RULES["mean"]()(
        POISONING_ATTACKS["model-replacement"]().rows(rows, cohort), cohort.weights
    )


@pytest.mark.parametrize(
    "weights", [[1.0] * 5, [3.0, 1.0, 4.0, 2.0, 5.0], [600.0, 0.0, 1.0, 7.0, 11.0]]
)
def test_the_mean_becomes_the_attackers_update_where_all_others_are_zero(
    weights: list[float],
) -> None:
    rows = torch.zeros(5, 7)
    rows[3] = update = rows_of(0, 1)[0]
    step = released(rows, [False, False, False, True, False], weights)
    assert torch.allclose(step, update, rtol=1e-6, atol=1e-6)


def test_attackers_who_agree_replace_the_model_together() -> None:
    rows, update = torch.zeros(4, 7), rows_of(0, 1)[0]
    rows[1] = rows[2] = update
    step = released(rows, [False, True, True, False], [10.0, 3.0, 1.0, 5.0])
    assert torch.allclose(step, update, rtol=1e-6, atol=1e-6)


def test_the_factor_is_what_all_weigh_over_what_the_attackers_weigh() -> None:
    rows = torch.ones(3, 2)
    sent = POISONING_ATTACKS["model-replacement"]().rows(
        rows, cohort_of([True, False, True], [1.0, 6.0, 2.0])
    )
    assert sent.tolist() == [[3.0, 3.0], [1.0, 1.0], [3.0, 3.0]]


def test_what_is_sent_is_shortened_to_the_longest_and_never_lengthened() -> None:
    rows, cohort = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]]), cohort_of([True] * 3)
    sent = POISONING_ATTACKS["model-replacement"](boost=4, longest=10).rows(rows, cohort)
    assert torch.allclose(sent, torch.tensor([[6.0, 8.0], [1.2, 1.6], [0.0, 0.0]]))


def test_constrained_steps_are_pulled_towards_the_model_that_was_sent() -> None:
    restraint = POISONING_ATTACKS["model-replacement"](constrain=0.5).restrain(AdversaryKnowledge())
    assert restraint is not None
    assert restraint.pull == 0.5
    assert restraint.free is None
    assert POISONING_ATTACKS["model-replacement"]().restrain(AdversaryKnowledge()) is None


# --- neurotoxin -----------------------------------------------------------------------------------


def test_what_the_model_has_moved_most_stays_as_it_is() -> None:
    change = torch.tensor([0.1, -5.0, 0.2, 3.0, 0.0])
    poison, rows = POISONING_ATTACKS["neurotoxin"](free=0.6), torch.ones(2, 5)
    restraint = poison.restrain(AdversaryKnowledge(change=change))
    assert restraint is not None
    assert restraint.free is not None
    assert restraint.free.tolist() == [True, False, True, False, True]
    assert restraint.pull == 0
    sent = poison.rows(rows, cohort_of([True, False]), AdversaryKnowledge(change=change))
    assert sent.tolist() == [[1, 0, 1, 0, 1], [1, 1, 1, 1, 1]]


@pytest.mark.parametrize("free", [0.05, 0.5, 0.95, 1.0])
def test_what_is_sent_is_disjoint_from_the_top(free: float) -> None:
    change, rows = rows_of(0, 1, 200)[0], rows_of(1, 3, 200)
    poison = POISONING_ATTACKS["neurotoxin"](free=free, boost=3)
    sent = poison.rows(rows, cohort_of([True] * 3), AdversaryKnowledge(change=change))
    top = change.abs().topk(200 - round(free * 200)).indices
    assert (sent[:, top] == 0).all()
    assert int((sent != 0).sum()) == 3 * round(free * 200)
    moved = sent != 0
    assert torch.equal(sent[moved], 3 * rows[moved])


def test_as_many_are_free_as_asked_where_nothing_has_moved() -> None:
    restraint = POISONING_ATTACKS["neurotoxin"](free=0.5).restrain(
        AdversaryKnowledge(change=torch.zeros(10))
    )
    assert restraint is not None
    assert restraint.free is not None
    assert restraint.free.tolist() == [True] * 5 + [False] * 5


def test_before_any_change_neurotoxin_is_a_plain_backdoor() -> None:
    rows, cohort = rows_of(0, 3), cohort_of([True, False, True])
    assert POISONING_ATTACKS["neurotoxin"]().restrain(AdversaryKnowledge()) is None
    assert torch.equal(POISONING_ATTACKS["neurotoxin"]().rows(rows, cohort), rows)


def test_parameters_that_do_not_travel_are_left_out() -> None:
    change = torch.tensor([9.0, 1.0, 0.5, 0.1, 0.1, 0.1])
    poison = POISONING_ATTACKS["neurotoxin"](free=0.5)
    sent = poison.rows(torch.ones(1, 3), cohort_of([True]), AdversaryKnowledge(change=change))
    assert sent.tolist() == [[0.0, 0.0, 0.0]]


# --- whole runs -----------------------------------------------------------------------------------


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
    federation = federated_dataset(honest)
    inputs = as_floats(federation.test_inputs)
    goal = honest.adversary.attack.goal(inputs, federation.test_labels)
    assert goal is not None
    return evaluate(honest.architecture, last(honest).state.model, *goal)[0]


def test_a_backdoor_hides_behind_a_good_accuracy() -> None:
    record = last(attacked("backdoor", 2, pixels=2, boost=5)).record
    assert record.backdoor is not None
    assert record.backdoor > 0.8
    assert record.accuracy > 0.8


def test_one_attacker_who_replaces_the_model_needs_one_round() -> None:
    late = attacked("model-replacement", 0, pixels=2).changed_from(5, {"adversary.count": 1})
    record = last(late).record
    plain = last(late.changed({"adversary.attack.boost": 1.0})).record
    assert record.backdoor is not None
    assert plain.backdoor is not None
    assert plain.backdoor < 0.3
    assert record.backdoor > 0.8
