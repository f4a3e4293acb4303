"""Changes: what a new setting leaves alone, from which round it holds, and what must stay."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defenses import AGGREGATION_RULES
from lab.experiment.experiment import Experiment
from lab.experiment.sections import TrainingSettings
from tests.support.experiment_files import EXAMPLE, refusal, with_
from tests.support.experiment_strategies import TWEAKS, experiments, pairs

# --- by hand: changed settings ------------------------------------------------------------------


def test_changed_settings_leave_the_others_and_the_old_experiment_alone() -> None:
    before = Experiment.from_toml(EXAMPLE)
    after = before.changed({"training.rate": 0.5})
    assert after.training == before.training.model_copy(update={"rate": 0.5})
    assert after.changed({"training.rate": 0.1}) == before == Experiment.from_toml(EXAMPLE)


def test_a_new_kind_takes_its_own_defaults() -> None:
    narrow = with_({"model.kind": "cnn", "model.hidden": 8})
    assert narrow.changed({"model.kind": "mlp"}).model.dump() == {"kind": "mlp", "hidden": 64}
    assert narrow.changed({"model.kind": "cnn"}) == narrow
    assert narrow.changed({"model.channels": 4}).model.dump()["hidden"] == 8


def test_the_unit_of_privacy_is_no_part_and_resets_nothing() -> None:
    private = with_({"privacy.kind": "example", "privacy.epsilon": 2.0})
    assert private.changed({"privacy.kind": "client"}).privacy.epsilon == 2.0


def test_a_whole_section_that_is_given_starts_from_the_defaults() -> None:
    changed = with_({"training.rate": 0.5}).changed({"training": {"rounds": 3}})
    assert changed.training == TrainingSettings(rounds=3)


def test_the_kind_may_come_after_its_settings() -> None:
    assert with_(
        {"aggregation.rule.faulty": 2, "aggregation.rule.kind": "krum"}
    ).aggregation.rule == AGGREGATION_RULES["krum"](faulty=2)


def test_a_part_that_is_named_whole_may_come_after_its_settings() -> None:
    assert with_(
        {"aggregation.rule.faulty": 2, "aggregation.rule": "krum"}
    ).aggregation.rule == AGGREGATION_RULES["krum"](faulty=2)


def test_a_part_that_is_named_whole_may_come_before_its_settings() -> None:
    assert with_(
        {"aggregation.rule": "krum", "aggregation.rule.faulty": 2}
    ).aggregation.rule == AGGREGATION_RULES["krum"](faulty=2)


# --- by hand: changes in mid-run ----------------------------------------------------------------


def rates(experiment: Experiment, last: int = 7) -> list[float]:
    return [experiment.at(round).training.rate for round in range(1, last + 1)]


def test_settings_hold_from_their_round_on() -> None:
    run = Experiment().changed_from(3, {"training.rate": 0.2})
    run = run.changed_from(5, {"training.rate": 0.3, "training.epochs": 2})
    assert rates(run) == [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.3]
    assert [run.at(round).training.epochs for round in (4, 5)] == [1, 2]
    assert run.at(1) == Experiment()
    assert run.at(7).changes == ()


def test_a_change_in_the_first_round_is_no_change_in_mid_run() -> None:
    assert Experiment().changed_from(1, {"training.rate": 0.2}) == with_({"training.rate": 0.2})
    later = Experiment().changed_from(3, {"training.rate": 0.3})
    assert rates(later.changed_from(1, {"training.rate": 0.2}), 4) == [0.2, 0.2, 0.3, 0.3]


def test_the_last_of_two_changes_in_one_round_wins() -> None:
    run = Experiment().changed_from(3, {"training.rate": 0.2})
    assert rates(run.changed_from(3, {"training.rate": 0.3}), 3) == [0.1, 0.1, 0.3]


def test_a_new_kind_in_mid_run_takes_its_own_defaults() -> None:
    run = with_({"adversary.attack.scale": 9.0}).changed_from(2, {"adversary.attack": "label-flip"})
    back = run.changed_from(4, {"adversary.attack.kind": "sign-flip"})
    assert [back.at(round).adversary.attack.dump() for round in (1, 2, 4)] == [
        {"kind": "sign-flip", "scale": 9.0, "reading": "own"},
        {"kind": "label-flip"},
        {"kind": "sign-flip", "scale": 3.0, "reading": "own"},
    ]


def test_the_later_round_wins_however_changes_are_listed() -> None:
    listed = [
        {"round": 5, "set": {"training.rate": 0.3}},
        {"round": 3, "set": {"training.rate": 0.2}},
    ]
    run = Experiment.read({"changes": listed})
    assert rates(run, 6) == [0.1, 0.1, 0.2, 0.2, 0.3, 0.3]


def test_a_run_that_goes_over_keeps_its_past() -> None:
    past = Experiment().changed_from(3, {"training.rate": 0.2})
    past = past.changed_from(6, {"training.rate": 0.9})
    new = with_({"training.rate": 0.4}).changed_from(6, {"training.rate": 0.5})
    assert rates(past.continued_by(new, after=4)) == [0.1, 0.1, 0.2, 0.2, 0.4, 0.5, 0.5]
    assert rates(past.continued_by(new, after=3)) == [0.1, 0.1, 0.2, 0.4, 0.4, 0.5, 0.5]
    assert rates(past.continued_by(new, after=2)) == [0.1, 0.1, 0.4, 0.4, 0.4, 0.5, 0.5]


def test_a_run_that_has_not_begun_is_the_new_experiment() -> None:
    new = with_({"data.clients": 10})
    assert Experiment().continued_by(new, after=0) == new


def test_a_run_that_goes_over_to_itself_stays_the_same() -> None:
    run = Experiment().changed_from(3, {"training.rate": 0.2})
    assert run.continued_by(run, after=5) == run
    assert Experiment().continued_by(Experiment(), after=5) == Experiment()


# --- by hand: changes that are refused ----------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"seed": 1},
        {"data.clients": 10},
        {"data.source": "digits"},
        {"data": {"clients": 10}},
        {"model.kind": "logistic"},
        {"model.hidden": 8},
        {"training.rate": 0.2, "data.partition.kind": "dirichlet"},
        {"changes": []},
    ],
)
def test_what_a_run_is_made_of_cannot_change_in_its_course(settings: dict[str, Any]) -> None:
    message = refusal(lambda: Experiment().changed_from(3, settings))
    assert message.endswith("cannot change in mid-run (round 3): start a new run")
    assert any(message.startswith(path) for path in settings)


def test_a_run_cannot_go_over_to_other_data() -> None:
    message = refusal(lambda: Experiment().continued_by(with_({"data.clients": 10}), after=3))
    assert message == "data.clients cannot change in mid-run (round 4): start a new run"


def test_a_change_that_contradicts_what_was_there_is_refused() -> None:
    masked = with_({"secure_aggregation.enabled": True})
    message = refusal(lambda: masked.changed_from(5, {"aggregation.rule.kind": "median"}))
    assert "secure_aggregation.enabled hides" in message
    both = masked.changed_from(
        5, {"aggregation.rule.kind": "median", "secure_aggregation.enabled": False}
    )
    assert both.at(5).aggregation.rule.kind == "median"


@pytest.mark.parametrize(
    ("round", "settings"), [(0, {"training.rate": 0.2}), (-3, {"training.rate": 0.2}), (3, {})]
)
def test_a_change_that_is_none_is_refused_in_our_words(
    round: int, settings: dict[str, Any]
) -> None:
    refusal(lambda: Experiment().changed_from(round, settings))


# --- promises over drawn experiments ------------------------------------------------------------


@given(pairs(), st.integers(0, 13))
def test_past_rounds_stay_and_the_rest_follows_the_new_experiment(
    pair: tuple[Experiment, Experiment], after: int
) -> None:
    old, new = pair
    whole = old.continued_by(new, after)
    for round in range(1, 16):
        assert whole.at(round) == (old if round <= after else new).at(round)


@given(pairs(), st.integers(0, 13))
def test_to_go_over_twice_is_to_go_over_once(
    pair: tuple[Experiment, Experiment], after: int
) -> None:
    old, new = pair
    once = old.continued_by(new, after)
    assert once.continued_by(new, after) == once
    assert once.continued_by(once, after) == once


@given(experiments(), TWEAKS, st.integers(2, 12))
def test_rounds_before_a_change_stay_as_they_were(
    experiment: Experiment, tweaks: dict[str, Any], first: int
) -> None:
    changed = experiment.changed_from(first, tweaks)
    for round in range(1, first):
        assert changed.at(round) == experiment.at(round)


@given(experiments(), TWEAKS, st.integers(1, 12))
def test_rounds_after_a_change_are_changed(
    experiment: Experiment, tweaks: dict[str, Any], first: int
) -> None:
    plain = experiment.at(1)
    assert plain.changed_from(first, tweaks).at(first) == plain.changed(tweaks)
    assert plain.changed_from(first, tweaks).at(99) == plain.changed(tweaks)
