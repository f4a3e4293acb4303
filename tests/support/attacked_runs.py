"""Runs to attack, and attacks on them, which tests of spies share."""

from __future__ import annotations

from functools import cache

from attacks import PRIVACY_ATTACKS
from lab import Experiment, run
from lab.attack_runs.reconstruction.model_manipulation import run_active_reconstruction
from lab.attack_runs.reconstruction.reconstruction import run_reconstruction
from lab.engine.run import initial_state
from lab.engine.run_state import RoundResult
from lab.interfaces.privacy_attacks import ActiveReconstructionAttack, ReconstructionAttack
from lab.scoring.attack_result import AttackResult

# One picture an update: the setting of the published attacks.
FEDSGD = {
    "data": {"source": "fashion-mnist", "clients": 10},
    "model": {"kind": "lenet"},
    "training": {"rounds": 1, "steps": 1, "batch_size": 1},
}
OVERFITTED = {
    "data": {"source": "fashion-mnist", "clients": 4, "examples": 120},
    "model": {"kind": "mlp", "hidden": 256},
    "training": {"rounds": 12, "epochs": 15, "batch_size": 10, "rate": 0.2},
}

TYPED: dict[str, object] = {
    "data.source": "chat",
    "data.clients": 10,
    "model": "transformer",
    "training.steps": 1,
    "training.batch_size": 2,
}
# What an attack works on, where that is not a picture behind a dense layer.
SUITED: dict[str, dict[str, object]] = {
    "tabular": {"data.source": "adult", "training.batch_size": 4},
    "tokens": TYPED,
    "sentences": TYPED,
}


def experiment(base: dict[str, object] = FEDSGD, **settings: object) -> Experiment:
    return Experiment.read(base).changed(
        {path.replace("__", "."): value for path, value in settings.items()}
    )


def suited(name: str) -> Experiment:
    return experiment(model__kind="mlp").changed(SUITED.get(name, {}))


@cache
def last(now: Experiment) -> RoundResult:
    *_, moment = run(now)
    return moment


def attack(name: str, moment: RoundResult, client: int = 0, **settings: object) -> AttackResult:
    spy = PRIVACY_ATTACKS[name].read({"kind": name, **settings})
    assert isinstance(spy, ReconstructionAttack)
    if isinstance(spy, ActiveReconstructionAttack):
        *_, glimpse = run_active_reconstruction(
            spy, initial_state(moment.state.experiment), moment, client
        )
    else:
        *_, glimpse = run_reconstruction(spy, moment, client)
    assert glimpse.result is not None
    return glimpse.result


def psnr(result: AttackResult) -> float:
    assert result.score is not None
    return result.score.psnr


def gain(result: AttackResult) -> float:
    """dB over the best guess without the gradient."""
    assert result.score is not None
    return result.score.psnr - result.score.floor
