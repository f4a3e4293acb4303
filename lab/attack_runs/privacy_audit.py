"""Privacy audits of a run, carried out as attacks are."""

from __future__ import annotations

from collections.abc import Iterator

from lab.attack_runs.shared.attack_request import AttackRequest
from lab.attack_runs.shared.run_history import RunHistory
from lab.audits import Audit
from lab.audits.audit import AuditedRun
from lab.audits.run_audit import run_audit
from lab.scoring.attack_result import AttackProgress


def check(order: AttackRequest, history: RunHistory) -> None:
    """Raise SettingError where the run cannot be audited that way."""
    _audit_of(order).refuse(_past(order, history))


def start(
    order: AttackRequest, history: RunHistory, apart: float = 0.0
) -> Iterator[AttackProgress]:
    """Audit the rounds up to the request's."""
    return run_audit(_audit_of(order), _past(order, history))


def _audit_of(order: AttackRequest) -> Audit:
    assert isinstance(order.attack, Audit)  # so says the table of families
    return order.attack


def _past(order: AttackRequest, history: RunHistory) -> AuditedRun:
    return AuditedRun(history.experiment, order.round, history.sent_model, order.client)
