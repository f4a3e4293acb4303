"""What an attack's result states beside its score: protection, model attacked, accuracy."""

from __future__ import annotations

from torch import Tensor

from lab.engine.data.public_examples import test_data
from lab.experiment.experiment import Experiment
from lab.experiment.sections import PrivacySettings
from lab.interfaces.views import ServerView
from lab.models.metrics import evaluate


def protection(privacy: PrivacySettings) -> str:
    if privacy.kind != "client":
        return "none" if privacy.kind == "none" else "example-level"
    noise = {
        "distributed": "each update carries its share of the noise",
        "central": "the server adds all noise, after it has seen the updates",
        "local": "each update carries all of the noise",
    }
    return f"client-level, {noise[privacy.place]}"


def model_attacked(now: Experiment, view: ServerView) -> dict[str, str]:
    """Of what kind, how it began, and how long it was trained before that round."""
    wide, narrow = now.model.spread(1), now.model.spread(4)
    even = f"+-{wide:g}" if wide == narrow else "+-1 / sqrt(inputs), PyTorch's default"
    training, past = now.training, view.round - 1
    each = f"epochs a round: {training.epochs}"
    capped = f", local steps at most: {training.steps}" if training.steps else ""
    return {
        "model": f"{now.model.kind}, activation {now.model.activation}",
        "initialisation": f"uniform in {even}",
        "trained before": f"rounds: {past}, {each}{capped}" if past else "not at all",
    }


def accuracy_of(now: Experiment, model: Tensor) -> float:
    """On public test examples."""
    federation = test_data(now)
    return evaluate(now.architecture, model, federation.test_inputs, federation.test_labels)[0]
