"""The contest in whole runs: who acts when, what attackers mind, what the server has and keeps."""

from __future__ import annotations

import pytest
import torch

from lab import Experiment, run
from lab.common.settings import SettingError
from lab.engine.data import public_examples
from lab.engine.data.federation import federated_dataset, training_data
from lab.engine.data.malicious_clients import active_attackers, malicious_clients
from lab.engine.run_state import RoundResult, RunState
from lab.jobs.run_job import carry_out_run
from lab.storage.replay import StoredRun
from lab.storage.store import Store
from lab.storage.worker_store import WorkerStore
from tests.support.experiment_files import refusal

SMALL = Experiment().changed(
    {
        "data.source": "digits",
        "data.clients": 10,
        "model.kind": "logistic",
        "training.rounds": 4,
        "training.rate": 0.5,
        "adversary.count": 3,
    }
)


def moments(**settings: object) -> list[RoundResult]:
    changed = {name.replace("__", "."): value for name, value in settings.items()}
    return list(run(SMALL.changed(changed)))


# --- who acts, and when ---------------------------------------------------------------------------


def test_named_clients_are_malicious_and_others_are_drawn_after_them() -> None:
    drawn = malicious_clients(SMALL)
    named = SMALL.changed({"adversary.clients": [8, 1]})
    assert {8, 1} < set(malicious_clients(named))
    assert set(malicious_clients(named)) <= {8, 1, *drawn}
    assert malicious_clients(named.changed({"adversary.count": 1})) == (8,)


@pytest.mark.parametrize(
    ("settings", "rounds"),
    [
        ({}, [1, 2, 3, 4]),
        ({"adversary__start": 3}, [3, 4]),
        ({"adversary__start": 2, "adversary__once": True}, [2]),
        ({"adversary__count": 0}, []),
    ],
)
def test_attackers_act_in_the_rounds_that_are_asked_for(
    settings: dict[str, object], rounds: list[int]
) -> None:
    seen = [moment.record for moment in moments(**settings)]
    assert [record.round for record in seen if record.malicious] == rounds


def test_in_a_round_in_which_they_do_not_act_they_are_as_honest_as_anybody() -> None:
    honest = moments(adversary__count=0)
    for kind in ("sign-flip", "label-flip"):
        idle = moments(adversary__attack=kind, adversary__start=3)
        for calm, quiet in zip(honest[:2], idle[:2], strict=True):
            assert torch.equal(calm.state.model, quiet.state.model)
        assert not torch.equal(honest[2].state.model, idle[2].state.model)


def test_attackers_act_about_as_often_as_their_chance_says() -> None:
    often = SMALL.changed({"adversary.chance": 0.3})
    acts = [bool(active_attackers(often, round)) for round in range(1, 1001)]
    assert 250 < sum(acts) < 350  # 3.5 standard deviations
    assert acts == [bool(active_attackers(often, round)) for round in range(1, 1001)]


def test_data_are_clean_again_where_nobody_acts() -> None:
    flips = SMALL.changed({"adversary.attack": "label-flip", "adversary.start": 2})
    assert torch.equal(training_data(flips, 1).labels, federated_dataset(flips).labels)
    assert not torch.equal(training_data(flips, 2).labels, federated_dataset(flips).labels)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"adversary.clients": [3, 3]}, "adversary.clients is"),
        ({"adversary.clients": [-1]}, "adversary.clients.0 is -1"),
        ({"adversary.clients": [10]}, "names 10, and data.clients is 10: .* 0 to 9"),
        ({"adversary.chance": 0}, "adversary.chance is 0"),
        ({"aggregation.pre_aggregators": ["nothing"]}, "there is no such kind"),
        ({"aggregation.pre_aggregators": [{"kind": "nnm", "faulty": 5}]}, "faulty is 5.*10"),
        ({"aggregation.rule": {"kind": "bulyan", "faulty": 2}}, "faulty is 2.*10"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        SMALL.changed(settings)


def test_identity_kind_and_rule_can_change_in_mid_run() -> None:
    later = {
        "adversary.clients": [0],
        "adversary.count": 1,
        "adversary.attack.kind": "ipm",
        "aggregation.rule.kind": "median",
        "aggregation.pre_aggregators": ["nnm"],
    }
    first = next(run(SMALL))
    changed = SMALL.changed_from(2, later)
    second = next(run(changed, first.state))
    assert first.record.malicious == malicious_clients(SMALL)
    assert second.record.malicious == (0,)
    assert second.state.model.isfinite().all()
    assert [moment.record for moment in run(changed)][1] == second.record


# --- what attackers mind --------------------------------------------------------------------------


def test_what_neurotoxin_may_not_move_stays_where_it_was() -> None:
    settings = {"kind": "neurotoxin", "free": 0.5}
    first, second = moments(adversary__attack=settings, training__rounds=2)
    change = first.state.carried.last_change.abs()
    largest = change > change.median()
    rows = second.transcript.delivery.rows
    bad = [second.record.clients.index(one) for one in second.record.malicious]
    assert (rows[bad][:, largest] == 0).all()
    assert (rows[bad][:, ~largest] != 0).any()
    honest = [place for place in range(10) if place not in bad]
    assert (rows[honest][:, largest] != 0).any()


@pytest.mark.parametrize("steps", [0, 1])
def test_a_pull_keeps_the_attackers_update_short(steps: int) -> None:
    def length(constrain: float) -> float:
        poison = {"kind": "model-replacement", "boost": 1.0, "constrain": constrain}
        moment = moments(
            adversary__attack=poison, training__rounds=1, training__epochs=3, training__steps=steps
        )[0]
        rows = moment.transcript.delivery.rows
        bad = [moment.record.clients.index(one) for one in moment.record.malicious]
        return float(rows[bad].norm())

    if steps == 1:  # the first step from the model itself feels no pull
        assert length(1.0) == pytest.approx(length(0.0))
    else:
        assert length(1.0) < 0.8 * length(0.0)


def test_the_last_change_is_the_difference_of_two_models() -> None:
    first, second, *_ = moments(adversary__attack={"kind": "free-rider", "what": "last"})
    change = second.state.model - first.state.model
    assert torch.equal(second.state.carried.last_change, change)
    third = moments(adversary__attack={"kind": "free-rider", "what": "last"})[2]
    for one in third.record.malicious:
        row = third.transcript.delivery.rows[third.record.clients.index(one)]
        assert torch.allclose(row, change)


# --- the server -----------------------------------------------------------------------------------


def test_the_server_trains_on_examples_that_nobody_holds_where_there_are_enough() -> None:
    now = SMALL.changed(
        {"aggregation.rule.kind": "fltrust", "aggregation.rule.root": 50, "data.examples": 1000}
    )
    root, whole = public_examples.root_dataset(now), federated_dataset(now)
    assert root.clients == 1
    assert len(root.labels) == 50
    assert torch.equal(public_examples.test_data(now).test_labels, whole.test_labels)
    assert len(public_examples.outsiders(now)) == len(whole.outsiders()) - 50


def test_otherwise_it_takes_test_examples_which_then_do_not_count() -> None:
    now = SMALL.changed({"aggregation.rule.kind": "fltrust", "aggregation.rule.root": 50})
    root, whole = public_examples.root_dataset(now), federated_dataset(now)
    kept = public_examples.test_data(now).test_inputs
    assert len(kept) == len(whole.test_inputs) - 50
    seen = {picture.numpy().tobytes() for picture in kept}
    both = sum(picture.numpy().tobytes() in seen for picture in root.inputs)
    assert both <= sum(
        1
        for picture in whole.test_inputs
        if (whole.test_inputs == picture).flatten(1).all(dim=1).sum() > 1
    )


def test_more_public_examples_than_there_are_is_told() -> None:
    now = SMALL.changed({"aggregation.rule.kind": "fltrust", "aggregation.rule.root": 5000})
    with pytest.raises(SettingError, match=r"aggregation.rule.root is 5000.*give \d+ at most"):
        next(run(now))


def test_fltrust_holds_where_the_mean_is_lost() -> None:
    lies = {"adversary__attack": {"kind": "sign-flip", "scale": 10.0}}
    lost = moments(**lies)[-1].record.accuracy
    held = moments(**lies, aggregation__rule__kind="fltrust")[-1].record
    assert lost < 0.3
    assert held.accuracy > 0.6
    assert {held.verdict[held.clients.index(one)] for one in held.malicious} == {"left out"}


@pytest.mark.parametrize("lie", [1e30, float("nan"), float("inf")])
def test_a_row_of_another_scale_is_reported_and_not_averaged_in(
    lie: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    from attacks.poisoning.updates.sign_flip import SignFlip

    monkeypatch.setattr(
        SignFlip,
        "rows",
        lambda self, rows, cohort, insight: torch.where(
            cohort.malicious.unsqueeze(1), torch.tensor(lie), rows
        ),
    )
    moment = moments(training__rounds=1)[0]
    gone = ", ".join(str(one) for one in malicious_clients(SMALL))
    assert moment.record.note.endswith(f"left out: client {gone}")
    assert moment.record.lost == malicious_clients(SMALL)
    assert moment.record.accuracy > 0.3


def test_a_hundred_million_fold_is_no_reason_to_look_away() -> None:
    """A guard of the arithmetic only: whoever wants a defence chooses one."""
    moment = moments(adversary__attack={"kind": "mpaf", "scale": 1e6}, training__rounds=1)[0]
    assert moment.record.lost == ()
    assert moment.state.model.abs().max() > 1e3


# --- what stages remember -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["foolsgold", "centered-clipping"])
def test_what_a_stage_remembers_is_stored_and_carried_on(kind: str, store: Store) -> None:
    experiment = SMALL.changed(
        {"aggregation.pre_aggregators": [kind], "training.clients_per_round": 6}
    )
    ledger = WorkerStore(store)
    job = ledger.start(experiment)
    whole = [each.record for each in carry_out_run(ledger, job)]
    state = StoredRun(store, job.id).state(
        2
    )  # its memory was thinned out, and comes back by training on
    assert [kept.kind for kept in state.carried.pre_aggregation] == [kind]
    assert [moment.record for moment in run(experiment, state)] == whole[2:]
    assert experiment.remembers


def test_the_last_change_is_stored_and_carried_on(store: Store) -> None:
    experiment = SMALL.changed({"adversary.attack": {"kind": "free-rider", "what": "last"}})
    ledger = WorkerStore(store)
    job = ledger.start(experiment)
    whole = [each.record for each in carry_out_run(ledger, job)]
    assert [
        moment.record for moment in run(experiment, StoredRun(store, job.id).state(2))
    ] == whole[2:]


def test_other_stages_begin_afresh() -> None:
    first = next(run(SMALL.changed({"aggregation.pre_aggregators": ["foolsgold"]})))
    turned = SMALL.changed_from(2, {"aggregation.pre_aggregators": ["centered-clipping"]})
    second = next(run(turned, RunState(1, first.state.model, turned, first.state.carried)))
    (kept,) = second.state.carried.pre_aggregation
    assert kept.kind == "centered-clipping"
    assert set(kept.tensors) == {"centre"}


def test_too_few_rows_after_bucketing_are_told_before_the_run() -> None:
    with pytest.raises(SettingError, match="5 clients a round"):
        SMALL.changed(
            {
                "aggregation.pre_aggregators": ["bucketing"],
                "aggregation.rule": {"kind": "krum", "faulty": 2},
            }
        )


def test_lost_updates_leave_a_rule_too_few_and_the_round_says_so() -> None:
    settings = {"network.dropout": 0.6, "aggregation.rule": {"kind": "bulyan", "faulty": 1}}
    notes = [moment.record.note for moment in run(SMALL.changed(settings))]
    assert any("bulyan" in note and "no step" in note for note in notes)


# --- who moved the model --------------------------------------------------------------------------


def test_the_record_tells_who_moved_the_model() -> None:
    record = moments(aggregation__rule={"kind": "krum", "faulty": 3}, training__rounds=1)[0].record
    assert sorted(record.verdict) == ["kept"] + ["left out"] * 9
    picked = record.verdict.index("kept")
    assert record.influence[picked] == pytest.approx(1)
    assert sum(record.influence) == pytest.approx(1)
    assert record.clients[picked] not in record.malicious


def test_three_tripled_flips_outweigh_seven_honest_clients_who_pull_against_them() -> None:
    record = moments(training__rounds=1)[0].record
    assert sum(record.influence) == pytest.approx(1, abs=1e-4)
    assert sum(record.share) == pytest.approx(1, abs=1e-4)
    bad = [record.share[record.clients.index(one)] for one in record.malicious]
    honest = set(record.share) - set(bad)
    assert min(bad) > 0 > max(honest)


def test_in_a_calm_run_nobody_is_watched() -> None:
    """Autograd through the rule takes time, and everybody counts by examples."""
    record = moments(adversary__count=0, training__rounds=1)[0].record
    assert (record.influence, record.verdict, record.malicious) == ((), (), ())


@pytest.mark.parametrize("stage", ["norm-bound", "nnm", "foolsgold"])
def test_masks_and_a_stage_that_sees_rows_are_refused_with_what_works(stage: str) -> None:
    text = refusal(
        lambda: SMALL.changed(
            {"aggregation.pre_aggregators": [stage], "secure_aggregation.enabled": True}
        )
    )
    assert f"aggregation.pre_aggregators, kind {stage}, must see single updates" in text
    assert "secure_aggregation.norm" in text
