"""Attack requests: what to attack in a run, with which attack."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from lab.attack_runs.shared.run_history import RunHistory
from lab.audits import Audit
from lab.common.settings import SettingError, Settings
from lab.common.settings_text import write_value
from lab.experiment.experiment import Experiment
from lab.interfaces.privacy_attacks import (
    MembershipInferenceAttack,
    PrivacyAttack,
    ReconstructionAttack,
    SecureAggregationAttack,
)


class AttackSpec(Settings):
    """What to attack in a run, and with what."""

    spy: PrivacyAttack = Field(description="the attack")
    round: int = Field(ge=1, description="the round whose messages, or whose model, it gets")
    client: int | None = Field(
        None, ge=0, description="its target; none given: drawn by the seed, or all for membership"
    )

    def changed(self, settings: Mapping[str, Any]) -> AttackSpec:
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
        return AttackSpec.read(tree, "attack")

    def check(self, experiment: Experiment) -> None:
        """Raises SettingError where a run of that experiment gives nothing to attack."""
        if not isinstance(self.spy, (ReconstructionAttack, MembershipInferenceAttack)):
            raise SettingError(
                f"attack.spy is {self.spy.kind}, which neither rebuilds examples nor infers "
                "membership: use one that does, such as first-layer, idlg or loss-threshold"
            )
        if isinstance(self.spy, ReconstructionAttack):
            self.spy.check(experiment.architecture)
        last, clients = experiment.at(self.round).training.rounds, experiment.data.clients
        if self.round > last:
            raise SettingError(
                f"attack.round is {self.round}, and the run ends after training.rounds = {last}: "
                f"give 1 to {last}, or more rounds"
            )
        if self.client is not None and self.client >= clients:
            raise SettingError(f"attack.client is {self.client}: give 0 to {clients - 1}")


class AttackRequest(Settings):
    """What to attack, and with what."""

    spy: PrivacyAttack
    round: int = Field(ge=1)
    client: int | None = Field(None, ge=0)
    picture: str | None = None  # the digest of a picture of the user's own, in place of a client
    label: int = Field(0, ge=0)  # the class that its owner trains it as
    targets: int = Field(0, ge=0, le=256)  # models by the run's recipe to attack besides

    def command(self, run: str) -> str:
        """The command line that does the same."""
        words = ["leaklab attack", self.spy.kind, "--run", run, "--round", str(self.round)]
        if isinstance(self.spy, Audit):
            words[:3] = ["leaklab audit", "--kind", self.spy.kind, "--run"]
        if self.picture is not None:
            words[:2] = ["leaklab invert YOUR_PICTURE --attack", self.spy.kind]
            words += ["--label", str(self.label)]
        if self.client is not None:
            words += ["--client", str(self.client)]
        if self.targets:
            words += ["--targets", str(self.targets)]
        usual = type(self.spy)().dump()
        for name, value in self.spy.dump().items():
            if usual[name] != value:
                words.append(f"-s {shlex.quote(f'{name}={write_value(value)}')}")
        return " ".join(words)


def needs_target(spy: PrivacyAttack) -> bool:
    """Return True for attacks on one client's update."""
    return isinstance(spy, (ReconstructionAttack, SecureAggregationAttack))


def target_of(order: AttackRequest, history: RunHistory) -> int:
    """Return the client whose update is attacked: the first that arrived, if none is named.

    Raises SettingError where nobody's update arrived.
    """
    if order.client is not None:
        return order.client
    arrived = history.arrived(order.round)
    if not arrived:
        raise SettingError(f"nobody's update arrived in round {order.round}: choose another round")
    return arrived[0]
