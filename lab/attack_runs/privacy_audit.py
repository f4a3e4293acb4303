"""Privacy audits of a run, carried out as attacks are."""

from __future__ import annotations

from collections.abc import Iterator

from lab.attack_runs.shared.attack_request import Order
from lab.attack_runs.shared.run_history import RunHistory
from lab.audits import Audit
from lab.audits.audit import Past
from lab.audits.run_audit import audit
from lab.scoring.attack_result import Glimpse


def check(order: Order, history: RunHistory) -> None:
    """Raise SettingError where the run cannot be audited that way."""
    _audit_of(order).refuse(_past(order, history))


def start(order: Order, history: RunHistory, apart: float = 0.0) -> Iterator[Glimpse]:
    """Audit the rounds up to the request's."""
    return audit(_audit_of(order), _past(order, history))


def _audit_of(order: Order) -> Audit:
    assert isinstance(order.spy, Audit)  # so says the table of families
    return order.spy


def _past(order: Order, history: RunHistory) -> Past:
    return Past(history.experiment, order.round, history.sent_model, order.client)
