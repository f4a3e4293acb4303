"""The muster: everybody's part in the step and fate, by the round that was really played."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from defenses import AGGREGATION_RULES
from lab import Experiment
from lab.attack_runs.poisoning.poisoned_round import PoisonedRound, poisoned_round
from lab.common.settings import SettingError
from lab.engine.data.malicious_clients import malicious_clients
from lab.engine.round import run_round
from lab.engine.run import initial_state
from lab.engine.server.server import fates_of
from lab.interfaces.aggregation import NO_CONTEXT, AggregationContext, AggregationDecision

SMALL = Experiment().changed(
    {
        "data.source": "digits",
        "data.clients": 10,
        "data.examples": 200,
        "model.kind": "logistic",
        "training.rounds": 2,
        "adversary.count": 3,
    }
)
BAD = malicious_clients(SMALL)


def shown(**settings: Any) -> PoisonedRound:
    before = initial_state(
        SMALL.changed({path.replace("__", "."): it for path, it in settings.items()})
    )
    return poisoned_round(before, run_round(before))


def test_everybody_has_a_part_in_the_step() -> None:
    found = shown()
    record = found.record
    assert found.clients == record.clients == tuple(range(10))
    assert record.malicious == BAD
    assert [client for client, one in zip(found.clients, found.malicious, strict=True) if one] == [
        *BAD
    ]
    assert sum(record.influence) == pytest.approx(1, abs=1e-5)
    assert sum(record.share) == pytest.approx(1, abs=1e-5)
    assert found.geometry.step is not None
    assert len(found.geometry.detections) == 4
    share = sum(record.share[client] for client in BAD)
    assert f"3 of 10 clients are malicious: they have 30% of the weight, and {share:.0%}" in (
        found.moved()
    )


def test_malicious_clients_who_outweigh_the_others_are_said_to() -> None:
    assert "the others together pulled the other way" in shown(adversary__attack__scale=20).moved()
    assert "made the step against them" in shown(adversary__attack__scale=0.5).moved()
    assert shown(adversary__count=0).moved() == ""


def test_whose_update_was_lost_has_no_part_in_the_step() -> None:
    found = shown(network__dropout=0.4)
    record = found.record
    assert record.lost
    assert found.clients == tuple(record.arrived)
    assert len(found.geometry.lengths) == len(found.clients)
    assert len(record.influence) == len(record.share) == 10
    assert all(record.influence[client] == record.share[client] == 0 for client in record.lost)
    assert sum(record.share) == pytest.approx(1, abs=1e-5)


def test_without_malicious_clients_there_is_a_geometry_and_nothing_to_find() -> None:
    found = shown(adversary__count=0)
    assert found.record.malicious == ()
    assert not any(found.malicious)
    assert found.geometry.detections == ()
    assert len(found.geometry.places) == 10


# --- what the rule did ----------------------------------------------------------------------------


def test_a_verdict_in_words() -> None:
    kept = torch.tensor([True, True, True, False])
    verdict = AggregationDecision(kept, torch.tensor([1.0, 0.25, 1 - 1e-9, 1.0]))
    assert fates_of(verdict) == ("kept", "shortened", "kept", "left out")
    assert fates_of(AggregationDecision.of(kept)) == ("kept", "kept", "kept", "left out")


def test_who_was_left_out_is_counted_by_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    def judge(
        rule: Any, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> AggregationDecision:
        found = rows.norm(dim=1) < 1.5 * rows.norm(dim=1).median()  # who did not boost
        return AggregationDecision(found, 1 - 0.5 * (torch.arange(len(rows)) == 1))

    monkeypatch.setattr(AGGREGATION_RULES["krum"], "judge", judge)
    assert 1 not in BAD
    found = shown(aggregation__rule="krum")
    assert found.record.verdict == found.fates
    assert [found.fates[client] for client in BAD] == ["left out"] * 3
    assert found.judged() == [
        "Kept: 0 of 3 malicious and 6 of 7 honest",
        "Shortened: 0 of 3 malicious and 1 of 7 honest",
        "Left out: 3 of 3 malicious and 0 of 7 honest",
    ]
    lossy = shown(aggregation__rule="krum", network__dropout=0.2)
    assert lossy.record.lost
    assert len(lossy.record.verdict) == 10
    assert len(lossy.fates) == len(lossy.clients) < 10


def test_a_rule_that_takes_something_of_everybody_judges_nobody() -> None:
    found = shown(aggregation__rule="median")
    assert found.fates == found.record.verdict == ()
    assert found.judged() == []


# --- rounds that tell less ------------------------------------------------------------------------


def test_clients_who_train_several_models_share_no_step() -> None:
    found = shown(training__algorithm="ifca")
    assert found.record.influence == found.record.share == ()
    assert found.geometry.step is None
    assert found.moved() == ""
    assert len(found.clients) == 10


def test_too_few_updates_for_the_rule_make_no_step() -> None:
    settings = {
        "aggregation__rule": "krum",
        "aggregation__rule__faulty": 3,
        "network__dropout": 0.4,
    }
    found = shown(**settings)
    assert len(found.clients) < 9
    assert found.record.influence == ()


def test_sums_show_no_single_update() -> None:
    with pytest.raises(SettingError, match="sums under masks and cannot see single updates"):
        shown(secure_aggregation__enabled=True)


def test_without_any_update_there_is_nothing_to_show() -> None:
    with pytest.raises(SettingError, match="the server got nobody's update"):
        shown(training__algorithm="centralised", adversary__count=0)
