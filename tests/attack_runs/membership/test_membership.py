"""Membership attacks, every one of them: what epsilon forbids, and what a sweep keeps of them."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np
import pytest

from lab.attack_runs.membership.outsider import run_membership
from lab.attack_runs.shared.attack_request import AttackSpec
from lab.common.settings import SettingError
from lab.engine.run import run
from lab.experiment import presets
from lab.experiment.experiment import Experiment
from lab.interfaces.privacy_attacks import MembershipInferenceAttack, PrivacyAttack
from lab.jobs.local_sweep import run_sweep_locally
from lab.privacy.guarantee import AttackCeiling, ceiling_of
from lab.reports.leak_gallery import legend, told
from lab.scoring.attack_result import AttackResult
from lab.scoring.membership.leakage_by_group import LeakageByGroup
from lab.scoring.membership.membership_score import MembershipScore
from lab.scoring.membership.rates import NEEDED
from lab.storage.store import Store
from lab.storage.sweep_runs import SweepRuns
from lab.sweeps.attacked_run import attacked_at_end
from lab.sweeps.cell_result import AttackSummary
from lab.sweeps.sweep import Sweep
from tests.support.membership_scores import drawn, exposed

SPIES = [
    name for name, spy in PrivacyAttack.table.items() if issubclass(spy, MembershipInferenceAttack)
]
PRIVATE = Experiment.read(
    {
        "data": {"source": "digits", "clients": 3, "examples": 150},
        "model": {"kind": "mlp", "hidden": 16},
        "training": {"rounds": 2, "epochs": 5, "batch_size": 10},
        "privacy": {"kind": "example", "epsilon": 1.0, "delta": 1e-3},
    }
)


def attacked(experiment: Experiment, spy: PrivacyAttack) -> AttackResult:
    *_, last = run(experiment)
    assert isinstance(spy, MembershipInferenceAttack)
    *_, glimpse = run_membership(spy, last.state)
    assert glimpse.result is not None
    return glimpse.result


def lean(name: str) -> PrivacyAttack:
    """With no more shadow models than it needs."""
    fewer = {"shadows": 4} if "shadows" in PrivacyAttack.table[name].model_fields else {}
    try:
        return PrivacyAttack.pick({"kind": name} | fewer)
    except ValueError:
        return PrivacyAttack.pick(name)


def forbidden(found: MembershipScore, ceiling: AttackCeiling) -> list[float]:
    """False-positive rates at which the whole interval lies above what the guarantee allows."""
    rates = np.array(found.curve.false_positives)
    above = np.array(found.curve.low) > ceiling.true_positives(rates)
    return [float(rate) for rate in rates[above] if rate >= NEEDED / found.others]


@pytest.mark.parametrize("name", SPIES)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.deep)])
def test_under_privacy_no_attack_reaches_what_epsilon_forbids(name: str, seed: int) -> None:
    result = attacked(PRIVATE.changed({"seed": seed}), lean(name))
    ceiling, found = ceiling_of(result.guarantee), result.score
    assert ceiling is not None
    assert ceiling.epsilon <= 1.0
    assert found is not None
    assert forbidden(found, ceiling) == []
    assert found.auc_low <= ceiling.auc()


def test_an_attack_that_knows_everything_would_be_caught_by_that_test() -> None:
    assert forbidden(exposed(*drawn(0, 150, 150, shift=3.0)), AttackCeiling(epsilon=1, delta=1e-3))


def test_a_result_says_labels_groups_and_balanced_accuracy_and_is_read_back() -> None:
    result = attacked(
        PRIVATE.changed({"privacy.kind": "none"}), PrivacyAttack.pick("loss-threshold")
    )
    said = "\n".join(result.lines())
    for words in ("membership given the label", "label-distribution leakage", "balanced accuracy"):
        assert words in said
    assert result.find(LeakageByGroup) is not None
    assert result.score is not None
    assert [each.place for each in result.find(LeakageByGroup).most] == list(result.score.most)
    assert [each.number for each in result.find(LeakageByGroup).clients] == [0, 1, 2]
    assert AttackResult.read(result.dump()) == result


# --- sweeps -------------------------------------------------------------------------------------


def small() -> Sweep:
    return Sweep.read(
        {
            "measure": "leak",
            "attack": {"kind": "loss-threshold", "round": 2},
            "experiment": PRIVATE.changed({"privacy.kind": "none"}).dump(),
            "rows": [{"label": "all"}, {"label": "client 1", "set": {"attack.client": 1}}],
            "columns": [{"label": "here"}],
        }
    )


def test_a_sweep_keeps_what_the_attack_by_itself_finds(store: Store) -> None:
    grid = SweepRuns(store, small())
    deque(run_sweep_locally(grid, 1), maxlen=0)
    entry, of_one = (line[0] for line in grid.tally().entries)
    result = attacked(
        PRIVATE.changed({"privacy.kind": "none"}), PrivacyAttack.pick("loss-threshold")
    )
    assert result.score is not None
    (leak,) = entry.leaks.values()
    assert leak == AttackSummary.of(result)
    assert entry.value == leak.auc == result.score.auc
    assert entry.told() == f"AUC {leak.auc:.3f}"
    assert f"AUC {leak.auc:.3f}, given the label {leak.given:.3f}" in told(entry, {})
    assert [one.client for one in of_one.leaks.values()] == [1]
    assert "AUC of the membership attack" in grid.tally().caption()
    assert "members stand out" in legend(grid.tally())


def test_an_attack_whose_score_means_nothing_has_a_sign_of_its_own() -> None:
    result = attacked(PRIVATE, PrivacyAttack.pick("loss-threshold"))
    assert result.score is not None
    verdict = {"verdict": "invalid: members can be told from others without the model"}
    spoilt = result.model_copy(update={"score": result.score.model_copy(update=verdict)})
    leak = AttackSummary.of(spoilt)
    assert leak.unclear
    assert not leak.stopped


def test_a_raid_may_end_on_the_model_of_an_earlier_round() -> None:
    *before, last = attacked_at_end(
        PRIVATE, AttackSpec.read({"kind": "loss-threshold", "round": 1})
    )
    assert before == []
    assert last is not None
    assert last.result is not None
    assert last.result.round == 1


def test_what_neither_rebuilds_nor_infers_is_refused() -> None:
    aim = AttackSpec.read({"kind": "single-out", "round": 1})
    with pytest.raises(SettingError, match="neither rebuilds examples nor infers membership"):
        aim.check(PRIVATE)


@pytest.mark.parametrize("name", ["examples", "skew", "privacy"])
def test_membership_by_skew_epsilon_and_examples_is_one_click_away(name: str) -> None:
    path: Path = presets.leaks()[f"membership-{name}"]
    assert Sweep.from_file(path).infers
