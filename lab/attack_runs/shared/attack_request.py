"""Attack requests: what to attack in a run, with which attack."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, model_serializer, model_validator

from lab.attack_runs.shared.run_history import RunHistory
from lab.audits import Audit
from lab.common.settings import SettingError, Settings, nearest, trouble
from lab.common.settings_text import write_value
from lab.experiment.experiment import Experiment
from lab.interfaces.privacy_attacks import (
    MembershipInferenceAttack,
    PrivacyAttack,
    ReconstructionAttack,
    SecureAggregationAttack,
)


class TargetedAttack(Settings):
    """An attack and its target.  Abstract.

    A file writes the attack's own settings beside the target, as in
    `{ kind = "idlg", iterations = 300, round = 3 }`.
    """

    renamed: ClassVar[Mapping[str, str]] = {"spy": "kind"}

    attack: PrivacyAttack = Field(description="the attack")
    round: int = Field(ge=1, description="the round whose messages, or whose model, it gets")
    client: int | None = Field(
        None, ge=0, description="its target; none given: drawn by the seed, or all for membership"
    )

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, values: Any) -> Any:
        """Take the attack's own settings together."""
        if not isinstance(values, Mapping) or "attack" in values or "spy" in values:
            return values
        own = {name: value for name, value in values.items() if name in cls.model_fields}
        settings = {name: value for name, value in values.items() if name not in own}
        family = PrivacyAttack.table.get(str(settings.get("kind")))
        if family is None:
            return own | {"attack": settings}
        known = [*family.model_fields, *cls.model_fields]
        for name in settings:
            if name not in known:
                raise trouble(f"{name} is not a setting: {nearest(str(name), known)}")
        try:
            return own | {"attack": family.read(settings)}
        except SettingError as error:
            raise trouble(str(error)) from None

    @model_serializer(mode="plain")
    def _spread(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in type(self).model_fields if name != "attack"}
        given = {name: one for name, one in own.items() if one is not None}
        return dict(self.attack.dump()) | given


class AttackSpec(TargetedAttack):
    """The attack on each run of a sweep, or one of the attacks on the way."""

    def changed(self, settings: Mapping[str, Any]) -> AttackSpec:
        """Return a copy with settings replaced, such as round, kind, seed.

        Another kind of attack takes its own defaults.  Raises SettingError.
        """
        tree = self.dump()
        kind = settings.get("kind", self.attack.kind)
        if kind != self.attack.kind:
            target = {name: tree[name] for name in tree if name in AttackSpec.model_fields}
            tree = {"kind": kind} | target
        return AttackSpec.read(tree | dict(settings), "attack")

    def check(self, experiment: Experiment) -> None:
        """Raises SettingError where a run of that experiment gives nothing to attack."""
        if not isinstance(self.attack, (ReconstructionAttack, MembershipInferenceAttack)):
            raise SettingError(
                f"attack.kind is {self.attack.kind}, which neither rebuilds examples nor infers "
                "membership: use one that does, such as first-layer, idlg or loss-threshold"
            )
        if isinstance(self.attack, ReconstructionAttack):
            self.attack.check(experiment.architecture)
        last, clients = experiment.at(self.round).training.rounds, experiment.data.clients
        if self.round > last:
            raise SettingError(
                f"attack.round is {self.round}, and the run ends after training.rounds = {last}: "
                f"give 1 to {last}, or more rounds"
            )
        if self.client is not None and self.client >= clients:
            raise SettingError(f"attack.client is {self.client}: give 0 to {clients - 1}")


class AttackRequest(TargetedAttack):
    """An attack on a run, as somebody asks for it."""

    picture: str | None = None  # the digest of a picture of the user's own, in place of a client
    label: int = Field(0, ge=0)  # the class that its owner trains it as
    targets: int = Field(0, ge=0, le=256)  # models by the run's recipe to attack besides

    def command(self, run: str) -> str:
        """The command line that does the same."""
        words = ["leaklab attack", self.attack.kind, "--run", run, "--round", str(self.round)]
        if isinstance(self.attack, Audit):
            words[:3] = ["leaklab audit", "--kind", self.attack.kind, "--run"]
        if self.picture is not None:
            words[:2] = ["leaklab invert YOUR_PICTURE --attack", self.attack.kind]
            words += ["--label", str(self.label)]
        if self.client is not None:
            words += ["--client", str(self.client)]
        if self.targets:
            words += ["--targets", str(self.targets)]
        usual = type(self.attack)().dump()
        for name, value in self.attack.dump().items():
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
