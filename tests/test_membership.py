"""Membership attacks, every one of them: what epsilon forbids, and what a sweep keeps of them."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np
import pytest

from lab import presets
from lab.aim import Aim
from lab.engine import run
from lab.experiment import Experiment
from lab.gallery import legend, told
from lab.grid import Grid
from lab.hands import carried_out
from lab.inference import infer
from lab.leak import Leak
from lab.parts import Inference, Spy
from lab.raid import raided
from lab.rates import NEEDED
from lab.roc import Ceiling, Exposure
from lab.settings import SettingError
from lab.store import Store
from lab.sweep import Sweep
from lab.trial import Result, ceiling_of
from tests.depth import few
from tests.scores import drawn, exposed

SPIES = [name for name, spy in Spy.table.items() if issubclass(spy, Inference)]
PRIVATE = Experiment.read(
    {
        "data": {"source": "digits", "clients": 3, "examples": 150},
        "model": {"kind": "mlp", "hidden": 16},
        "training": {"rounds": 2, "epochs": 5, "batch_size": 10},
        "privacy": {"kind": "example", "epsilon": 1.0, "delta": 1e-3},
    }
)


def attacked(experiment: Experiment, spy: Spy) -> Result:
    *_, last = run(experiment)
    assert isinstance(spy, Inference)
    *_, glimpse = infer(spy, last.state)
    assert glimpse.result is not None
    return glimpse.result


def lean(name: str) -> Spy:
    """With no more shadow models than it needs."""
    fewer = {"shadows": 4} if "shadows" in Spy.table[name].model_fields else {}
    try:
        return Spy.pick({"kind": name} | fewer)
    except ValueError:
        return Spy.pick(name)


def forbidden(found: Exposure, ceiling: Ceiling) -> list[float]:
    """False-positive rates at which the whole interval lies above what the guarantee allows."""
    rates = np.array(found.curve.false_positives)
    above = np.array(found.curve.low) > ceiling.true_positives(rates)
    return [float(rate) for rate in rates[above] if rate >= NEEDED / found.others]


@pytest.mark.parametrize(
    "name", few(SPIES, "loss-threshold", "lira-online", "rmia", "gradient-norm")
)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.deep)])
def test_under_privacy_no_attack_reaches_what_epsilon_forbids(name: str, seed: int) -> None:
    result = attacked(PRIVATE.changed({"seed": seed}), lean(name))
    ceiling, found = ceiling_of(result.guarantee), result.exposure
    assert ceiling is not None
    assert ceiling.epsilon <= 1.0
    assert found is not None
    assert forbidden(found, ceiling) == []
    assert found.auc_low <= ceiling.auc()


def test_an_attack_that_knows_everything_would_be_caught_by_that_test() -> None:
    assert forbidden(exposed(*drawn(0, 150, 150, shift=3.0)), Ceiling(epsilon=1, delta=1e-3))


def test_a_result_says_labels_groups_and_balanced_accuracy_and_is_read_back() -> None:
    result = attacked(PRIVATE.changed({"privacy.kind": "none"}), Spy.pick("loss-threshold"))
    said = "\n".join(result.lines())
    for words in ("membership given the label", "label-distribution leakage", "balanced accuracy"):
        assert words in said
    assert result.breakdown is not None
    assert result.exposure is not None
    assert [each.place for each in result.breakdown.most] == list(result.exposure.most)
    assert [each.number for each in result.breakdown.clients] == [0, 1, 2]
    assert Result.read(result.dump()) == result


# --- sweeps -------------------------------------------------------------------------------------


def small() -> Sweep:
    return Sweep.read(
        {
            "measure": "leak",
            "attack": {"spy": "loss-threshold", "round": 2},
            "experiment": PRIVATE.changed({"privacy.kind": "none"}).dump(),
            "rows": [{"label": "all"}, {"label": "client 1", "set": {"attack.client": 1}}],
            "columns": [{"label": "here"}],
        }
    )


def test_a_sweep_keeps_what_the_attack_by_itself_finds(store: Store) -> None:
    grid = Grid(store, small())
    deque(carried_out(grid, 1), maxlen=0)
    entry, of_one = (line[0] for line in grid.tally().entries)
    result = attacked(PRIVATE.changed({"privacy.kind": "none"}), Spy.pick("loss-threshold"))
    assert result.exposure is not None
    (leak,) = entry.leaks.values()
    assert leak == Leak.of(result)
    assert entry.value == leak.auc == result.exposure.auc
    assert entry.told() == f"AUC {leak.auc:.3f}"
    assert f"AUC {leak.auc:.3f}, given the label {leak.given:.3f}" in told(entry, {})
    assert [one.client for one in of_one.leaks.values()] == [1]
    assert "AUC of the membership attack" in grid.tally().caption()
    assert "members stand out" in legend(grid.tally())


def test_an_attack_whose_score_means_nothing_has_a_sign_of_its_own() -> None:
    result = attacked(PRIVATE, Spy.pick("loss-threshold"))
    assert result.exposure is not None
    verdict = {"verdict": "invalid: members can be told from others without the model"}
    spoilt = result.model_copy(update={"exposure": result.exposure.model_copy(update=verdict)})
    leak = Leak.of(spoilt)
    assert leak.unclear
    assert not leak.stopped


def test_a_raid_may_end_on_the_model_of_an_earlier_round() -> None:
    *before, last = raided(PRIVATE, Aim.read({"spy": "loss-threshold", "round": 1}))
    assert before == []
    assert last is not None
    assert last.result is not None
    assert last.result.round == 1


def test_what_neither_rebuilds_nor_infers_is_refused() -> None:
    aim = Aim.read({"spy": "single-out", "round": 1})
    with pytest.raises(SettingError, match="neither rebuilds examples nor infers membership"):
        aim.check(PRIVATE)


@pytest.mark.parametrize("name", ["examples", "skew", "privacy"])
def test_membership_by_skew_epsilon_and_examples_is_one_click_away(name: str) -> None:
    path: Path = presets.leaks()[f"membership-{name}"]
    assert Sweep.from_file(path).infers
