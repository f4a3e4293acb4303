"""The exhibit: what the server saw, what was underneath, who was lost and when."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lab import Experiment
from lab.attack_runs.secure_aggregation.masked_round import MaskedRound, evenness, masked_round
from lab.attack_runs.shared.update_image import SIDE, UpdateImage
from lab.common.settings import SettingError
from lab.engine.round import run_round
from lab.engine.run import initial_state
from lab.models.network import Network

SMALL = Experiment().changed(
    {
        "data.source": "digits",
        "data.clients": 10,
        "data.examples": 200,
        "training.rounds": 1,
        "secure_aggregation.enabled": True,
        "secure_aggregation.threshold": 0.51,
    }
)


def shown(**settings: Any) -> MaskedRound:
    before = initial_state(
        SMALL.changed({path.replace("__", "."): it for path, it in settings.items()})
    )
    return masked_round(before, run_round(before))


def test_masked_rows_look_random_and_updates_do_not() -> None:
    found = shown()
    assert [each.client for each in found.seen] == list(range(8))
    assert min(each.chance for each in found.seen) > 1e-6
    assert found.bare < 1e-6
    told = " ".join(found.sentences())
    assert "No masked row can be told from random bytes" in told
    assert "8 of 10 clients are shown" in told
    assert "Nobody was lost" in told


@pytest.mark.parametrize(
    ("silent", "when"),
    [
        ("keys", "before its keys were there"),
        ("shares", "before it shared its secrets"),
        ("input", "before its masked row came"),
        ("unmasking", "after its masked row had come"),
    ],
)
def test_who_was_lost_is_told_with_the_stage(silent: str, when: str) -> None:
    found = shown(network__dropout=0.2, secure_aggregation__silent=silent)
    assert found.fates
    assert all(when in fate for fate in found.fates)


def test_a_round_that_was_broken_off_says_why() -> None:
    found = shown(network__dropout=0.9)
    assert (found.seen, found.mean) == ((), None)
    assert "secure aggregation aborted" in found.note


def test_without_masks_there_is_nothing_to_show() -> None:
    with pytest.raises(SettingError, match="ran without secure aggregation"):
        shown(secure_aggregation__enabled=False)


def test_constant_bytes_are_not_random() -> None:
    assert evenness(np.zeros(1000, np.uint32)) < 1e-6
    assert evenness(np.random.default_rng(0).integers(0, 2**32, 5000, np.uint32)) > 1e-3


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_the_window_shows_a_neurons_weights_where_they_are_a_picture(kind: str) -> None:
    network: Network = SMALL.changed({"model": kind}).architecture
    mean = torch.zeros(network.size)
    mean[3 * 64 + 5] = 1.0
    window = UpdateImage.on(network, mean)
    assert window == (UpdateImage(3 * 64, 8, 8) if kind == "mlp" else UpdateImage(0, SIDE, SIDE))
    picture = window.grey(mean)
    assert float(picture.flatten()[5 if kind == "mlp" else 197]) == 1.0
    assert window.words(np.full(network.size, 2**31, np.uint32)).unique().tolist()[-1] == 0.5


def test_a_window_larger_than_the_model_is_filled_with_grey() -> None:
    assert UpdateImage().grey(torch.ones(10)).flatten()[9:12].tolist() == [1.0, 0.5, 0.5]
