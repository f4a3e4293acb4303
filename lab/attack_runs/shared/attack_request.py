"""Aim: the attack that every run of a sweep ends with, on one of its rounds or on its model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from lab.common.settings import SettingError, Settings
from lab.experiment.experiment import Experiment
from lab.interfaces.privacy_attacks import Inference, Reconstruction, Spy


class Aim(Settings):
    """What to attack in a run, and with what."""

    spy: Spy = Field(description="the attack")
    round: int = Field(ge=1, description="the round whose messages, or whose model, it gets")
    client: int | None = Field(
        None, ge=0, description="its target; none given: drawn by the seed, or all for membership"
    )

    def changed(self, settings: Mapping[str, Any]) -> Aim:
        """The same aim with settings replaced, such as round, spy, spy.seed.

        Another spy takes its own defaults.  Raises SettingError.
        """
        tree = self.dump()
        # The spy before its settings, in whatever order they were given.
        for path in sorted(settings, key=lambda path: (path.count("."), path != "spy.kind")):
            section, _, name = path.partition(".")
            value = settings[path]
            if section != "spy":
                tree[path] = value
            elif name and name != "kind":
                tree["spy"][name] = value
            else:
                tree["spy"] = dict(value) if isinstance(value, Mapping) else {"kind": value}
        return Aim.read(tree, "attack")

    def check(self, experiment: Experiment) -> None:
        """Raises SettingError where a run of that experiment gives nothing to attack."""
        if not isinstance(self.spy, (Reconstruction, Inference)):
            raise SettingError(
                f"attack.spy is {self.spy.kind}, which neither rebuilds examples nor infers "
                "membership: use one that does, such as first-layer, idlg or loss-threshold"
            )
        if isinstance(self.spy, Reconstruction):
            self.spy.check(experiment.architecture)
        last, clients = experiment.at(self.round).training.rounds, experiment.data.clients
        if self.round > last:
            raise SettingError(
                f"attack.round is {self.round}, and the run ends after training.rounds = {last}: "
                f"give 1 to {last}, or more rounds"
            )
        if self.client is not None and self.client >= clients:
            raise SettingError(f"attack.client is {self.client}: give 0 to {clients - 1}")
