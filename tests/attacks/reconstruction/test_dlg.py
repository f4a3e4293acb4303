"""DLG: labels are found, not guessed; pictures come back from smooth models; budgets hold."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from attacks.reconstruction.optimisation.dlg import Dlg
from attacks.reconstruction.shared.lbfgs_search import FOUND, STRIDE, descend
from lab import Experiment, run
from lab.attack_runs.reconstruction.reconstruction import run_reconstruction
from lab.common.settings import SettingError
from lab.engine.client.batches import touched
from lab.engine.data.federation import federated_dataset
from lab.engine.run_state import RoundResult
from lab.interfaces.views import AuxiliaryInfo, server_view
from lab.scoring.attack_result import AttackProgress
from tests.support.depth import few


@cache
def attacked_round(batch: int = 1, source: str = "mnist-5k", **privacy: float) -> RoundResult:
    now = Experiment.read(
        {
            "data": {"source": source, "clients": 10},
            "model": {"kind": "lenet"},
            "training": {"rounds": 1, "steps": 1, "batch_size": batch},
            "privacy": {"kind": "client", **privacy} if privacy else {},
        }
    )
    (moment,) = run(now)
    return moment


def labels_of(moment: RoundResult, client: int) -> torch.Tensor:
    now = moment.state.experiment
    federation = federated_dataset(now)
    held = federation.held(client)
    return federation.labels[held[torch.from_numpy(touched(now, 1, client, len(held)))]]


def last(moment: RoundResult, spy: Dlg, client: int = 0) -> AttackProgress:
    *_, glimpse = run_reconstruction(spy, moment, client)
    return glimpse


def test_a_bowl_of_two_numbers_is_descended_to_its_bottom() -> None:
    """By hand: x (1, 2) causes (2, 4), at distance 0."""
    free = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    seen = torch.tensor([2.0, 4.0], dtype=torch.float64)
    *_, objective = descend([free], lambda: 2 * free, seen, iterations=50)
    assert objective < 1e-8
    assert torch.allclose(free.detach(), seen / 2)


@cache
def found(client: int) -> AttackProgress:
    return last(attacked_round(), Dlg(iterations=5000, restarts=20), client)


def test_the_label_is_the_one_that_was_found_not_the_one_it_began_with() -> None:
    """The published code returns its random template: right one time in ten."""
    view, began = server_view(attacked_round().transcript), []
    likeness = found(0).score
    assert likeness is not None
    assert likeness.labels == 1
    for client in range(2):
        _, scores = Dlg()._start(view, 1, restart=0)
        began.append(torch.equal(scores.argmax(dim=1), labels_of(attacked_round(), client)))
    assert not any(began)


@pytest.mark.parametrize("client", few(range(2), 0))
def test_pictures_come_back_from_lenet_above_30_db(client: int) -> None:
    likeness = found(client).score
    assert likeness is not None
    assert likeness.psnr > 30


@pytest.mark.deep
def test_two_examples_are_found_together() -> None:
    glimpse = last(attacked_round(batch=2), Dlg(iterations=300, restarts=2))
    assert glimpse.score is not None
    assert len(glimpse.score.matches) == 2
    assert glimpse.score.labels == 1
    assert glimpse.score.psnr > glimpse.score.floor + 5


def test_noise_leaves_no_more_than_a_guess() -> None:
    glimpse = last(attacked_round(noise=1.0), Dlg(iterations=60, restarts=1))
    assert glimpse.score is not None
    assert glimpse.score.verdict.startswith("no better than a guess")


def test_the_search_ends_where_the_match_is_perfect() -> None:
    glimpse = found(0)
    assert glimpse.objective is not None
    assert glimpse.objective < FOUND
    assert glimpse.step < glimpse.steps / 2


def test_a_search_keeps_to_its_steps() -> None:
    view = server_view(attacked_round().transcript)
    steps = [
        guess.step
        for guess in Dlg(iterations=20, restarts=2)(view, 0, AuxiliaryInfo.nothing(view.network))
    ]
    assert steps == [STRIDE, 2 * STRIDE, 3 * STRIDE, 4 * STRIDE]


def test_a_search_keeps_to_its_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(
        "attacks.reconstruction.optimisation.dlg.thread_seconds", lambda: next(clock)
    )
    view = server_view(attacked_round(batch=8).transcript)
    assert (
        len(list(Dlg(seconds=10)(view, 0, AuxiliaryInfo.nothing(view.network)))) == 3
    )  # at 4, 8 and 12 seconds


def test_guesses_never_get_worse() -> None:
    view = server_view(attacked_round().transcript)
    heights = [
        guess.objective
        for guess in Dlg(iterations=100, restarts=2)(view, 1, AuxiliaryInfo.nothing(view.network))
    ]
    numbers = [height for height in heights if height is not None]
    assert len(numbers) == len(heights) > 5
    assert numbers == sorted(numbers, reverse=True)


def test_pixels_of_a_guess_are_pixels() -> None:
    view = server_view(attacked_round(batch=8).transcript)
    for guess in Dlg(iterations=20, restarts=1)(view, 0, AuxiliaryInfo.nothing(view.network)):
        assert guess.inputs.shape == (8, 1, 28, 28)
        assert 0 <= float(guess.inputs.min()) <= float(guess.inputs.max()) <= 1


def test_layers_that_never_leave_the_client_stop_it() -> None:
    now = Experiment.read(
        {
            "data": {"source": "mnist-5k", "clients": 4},
            "model": {"kind": "lenet"},
            "training": {"rounds": 1, "steps": 1, "algorithm": "fedper"},
        }
    )
    (moment,) = run(now)
    with pytest.raises(SettingError, match="dlg needs the gradient of every layer"):
        last(moment, Dlg())
