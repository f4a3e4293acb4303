"""A view of one client alone, and the check that clients train nothing but what they are sent."""

from __future__ import annotations

from dataclasses import replace

from lab.common.settings import SettingError
from lab.experiment.experiment import Experiment
from lab.interfaces.privacy_attacks import PrivacyAttack
from lab.interfaces.views import ServerView


def only(view: ServerView, target: int) -> ServerView:
    """The view with a single row, if that client sent something; as it is otherwise."""
    try:
        row = view.row_of(target)
    except LookupError:  # which the trial says in words
        return view
    those = slice(row, row + 1)
    return replace(
        view, rows=view.rows[those], weights=view.weights[those], senders=view.senders[those]
    )


def check_memory(spy: PrivacyAttack, now: Experiment) -> None:
    """Raises SettingError where clients train anything but the model that they are sent."""
    algorithm = now.training.algorithm
    usual = not algorithm.asynchronous and algorithm.talks and algorithm.models == 1
    if (
        usual
        and not algorithm.begin(1, 1)
        and algorithm.shared(now.architecture) == (now.architecture.size)
    ):
        return
    raise SettingError(
        f"{spy.kind} plants a model, and under training.algorithm.kind {algorithm.kind} clients "
        "remember models of their own or of rounds before: choose a run of fedavg or fedprox"
    )
