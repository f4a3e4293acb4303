"""One way to carry out any attack: a table from each family of attacks to its module.

A family's module has `check(request, history)`, which refuses what cannot be attacked before it is
queued, and `start(request, history, apart)`, which attacks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from lab.attack_runs import privacy_audit, property_inference, secret_extraction
from lab.attack_runs.membership import active, outsider, server, subject
from lab.attack_runs.reconstruction import model_manipulation, own_example, reconstruction
from lab.attack_runs.secure_aggregation import unmasking
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.attack_runs.shared.run_history import RunHistory
from lab.audits import Audit
from lab.common.settings import SettingError
from lab.interfaces.privacy_attacks import (
    ActiveMembershipAttack,
    ActiveReconstructionAttack,
    MembershipInferenceAttack,
    PrivacyAttack,
    PropertyInferenceAttack,
    ReconstructionAttack,
    SecretExtractionAttack,
    SecureAggregationAttack,
    ServerMembershipAttack,
    SubjectMembershipAttack,
)
from lab.scoring.attack_result import AttackProgress


class Family(Protocol):
    """The module of a family of attacks."""

    def check(self, order: AttackRequest, history: RunHistory) -> None:
        """Raise SettingError where the attack has nothing to work on."""

    def start(
        self, order: AttackRequest, history: RunHistory, apart: float
    ) -> Iterator[AttackProgress]:
        """Attack.  The last glimpse has the result.

        apart: seconds between two glimpses at least
        """


FAMILIES: dict[type[PrivacyAttack], Family] = {
    Audit: privacy_audit,
    MembershipInferenceAttack: outsider,
    ServerMembershipAttack: server,
    ActiveMembershipAttack: active,
    SubjectMembershipAttack: subject,
    PropertyInferenceAttack: property_inference,
    SecretExtractionAttack: secret_extraction,
    SecureAggregationAttack: unmasking,
    ActiveReconstructionAttack: model_manipulation,
    ReconstructionAttack: reconstruction,
}


def family_of(order: AttackRequest) -> Family:
    """Return the module that carries the attack out.  Raises SettingError."""
    if order.picture is not None:
        return own_example
    for base in type(order.attack).__mro__:
        if base in FAMILIES:
            return FAMILIES[base]
    raise SettingError(f"{order.attack.kind} is no attack on a run")


def check_attack(order: AttackRequest, history: RunHistory) -> None:
    """Raise SettingError where the run gives the attack nothing to work on."""
    family = family_of(order)
    if order.picture is None:
        _check_target(order, history)
    family.check(order, history)


def start_attack(
    order: AttackRequest, history: RunHistory, apart: float = 0.0
) -> Iterator[AttackProgress]:
    """Attack.  The last glimpse has the result.  Raises SettingError where nothing can be attacked.

    apart: seconds between two glimpses at least
    """
    return family_of(order).start(order, history, apart)


def _check_target(order: AttackRequest, history: RunHistory) -> None:
    if order.round > history.last_round:
        raise SettingError(
            f"round is {order.round}: the run has finished {history.last_round} rounds"
        )
    clients = history.experiment.data.clients
    if order.client is not None and order.client >= clients:
        raise SettingError(f"client is {order.client}: give 0 to {clients - 1}")
    order.attack.suits(history.experiment.architecture)
    if order.targets and not isinstance(order.attack, MembershipInferenceAttack):
        raise SettingError(
            f"targets is {order.targets}, and {order.attack.kind} attacks one round of one run: "
            "give 0, or an attack on membership"
        )
