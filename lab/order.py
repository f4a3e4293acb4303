"""Order: what to attack, and with what."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from lab.experiment import Experiment
from lab.parts import Reconstruction, Spy
from lab.settings import SettingError, Settings


class Order(Settings):
    """What to attack, and with what."""

    spy: Spy = Field(description="the attack")
    round: int = Field(ge=1, description="the round whose messages it gets")
    client: int | None = Field(None, ge=0, description="its target; none given: drawn by the seed")

    def command(self, run: str) -> str:
        """The command line that does the same."""
        words = ["leaklab attack", self.spy.kind, "--run", run, "--round", str(self.round)]
        if self.client is not None:
            words += ["--client", str(self.client)]
        usual = type(self.spy)().dump()
        changed = {name: value for name, value in self.spy.dump().items() if usual[name] != value}
        words += [f"-s {shlex.quote(f'{name}={value}')}" for name, value in changed.items()]
        return " ".join(words)

    def changed(self, settings: Mapping[str, Any]) -> Order:
        """The same order with settings replaced, such as round, spy, spy.seed.

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
        return Order.read(tree, "attack")

    def check(self, experiment: Experiment) -> None:
        """Raises SettingError where a run of that experiment gives nothing to rebuild."""
        if not isinstance(self.spy, Reconstruction):
            known = [name for name, spy in Spy.table.items() if issubclass(spy, Reconstruction)]
            raise SettingError(
                f"attack.spy is {self.spy.kind}, which rebuilds nothing: use {', '.join(known)}"
            )
        self.spy.check(experiment.architecture)
        last, clients = experiment.at(self.round).training.rounds, experiment.data.clients
        if self.round > last:
            raise SettingError(
                f"attack.round is {self.round}, and the run ends after training.rounds = {last}: "
                f"give 1 to {last}, or more rounds"
            )
        if self.client is not None and self.client >= clients:
            raise SettingError(f"attack.client is {self.client}: give 0 to {clients - 1}")
