"""Precision: local gradients in bfloat16, while models, sums and scores stay in float32."""

from __future__ import annotations

import pytest
import torch

from lab import Experiment, run
from lab.engine import begin
from lab.local import cohort
from lab.settings import SettingError
from lab.wire import Task
from tests.data import PICTURE_MODELS

NOW = Experiment.read(
    {
        "data": {"source": "digits", "clients": 4},
        "training": {"rounds": 6, "batch_size": 16, "rate": 0.1},
    }
)
ROUNDED = NOW.changed({"training.precision": "bfloat16"})


@pytest.mark.parametrize("kind", PICTURE_MODELS)
def test_a_rounded_step_points_where_the_exact_one_does(kind: str) -> None:
    model = begin(NOW.changed({"model.kind": kind})).model
    once = {"model.kind": kind, "training.steps": 1}
    exact, rounded = (
        cohort(now.changed(once), 1, range(4), Task(model)).rows for now in (NOW, ROUNDED)
    )
    assert rounded.dtype == torch.float32
    assert torch.cosine_similarity(exact, rounded, dim=1).min() > 0.99
    assert not torch.equal(exact, rounded), "otherwise nothing was rounded"


def test_small_steps_are_not_lost_to_large_weights() -> None:
    """They would be, if the model itself were kept in bfloat16: it has three digits."""
    slow = {"training.rate": 1e-4, "training.steps": 4}
    model = begin(NOW).model
    exact, rounded = (
        cohort(now.changed(slow), 1, range(4), Task(model)).rows for now in (NOW, ROUNDED)
    )
    assert torch.cosine_similarity(exact, rounded, dim=1).min() > 0.99


@pytest.mark.parametrize("norm", ["none", pytest.param("group", marks=pytest.mark.deep)])
def test_it_learns_as_well(norm: str) -> None:
    pictures = {"model.kind": "cnn", "model.channels": 4, "model.norm": norm, "training.rounds": 10}
    found = []
    for now in (NOW, ROUNDED):
        *_, moment = run(now.changed(pictures))
        found.append(moment.record.accuracy)
    assert found[0] > 0.5
    assert abs(found[0] - found[1]) < 0.03


def test_the_same_run_gives_the_same_records() -> None:
    assert [one.record for one in run(ROUNDED)] == [one.record for one in run(ROUNDED)]


def test_gradients_that_are_clipped_must_be_exact() -> None:
    with pytest.raises(
        SettingError, match=r"training.precision is bfloat16 with privacy.kind exam"
    ):
        ROUNDED.changed({"privacy.kind": "example"})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, so auto is not the CPU")
def test_without_a_gpu_auto_is_the_processor() -> None:
    here, anywhere = (
        [one.record for one in run(now)] for now in (NOW, NOW.changed({"training.device": "auto"}))
    )
    assert here == anywhere


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", ["mlp", "cnn"])
@pytest.mark.parametrize("algorithm", ["fedavg", "scaffold", "apfl"])
def test_a_gpu_trains_as_the_processor_does(kind: str, algorithm: str) -> None:
    now = NOW.changed({"model.kind": kind, "training.algorithm": algorithm, "training.rounds": 1})
    here, there = next(run(now)), next(run(now.changed({"training.device": "auto"})))
    assert there.state.model.device.type == "cpu"
    assert torch.allclose(here.state.model, there.state.model, atol=1e-4)
