"""Privacy audits: canaries prove lower bounds on epsilon."""

from lab.audits.audit import Audit
from lab.audits.black_box import BlackBox
from lab.audits.client_canary import ClientCanary
from lab.audits.one_run import OneRun
from lab.experiment.experiment import Experiment
from lab.interfaces.privacy_attacks import PrivacyAttack

AUDITS: dict[str, type[Audit]] = Audit.enter(OneRun, BlackBox, ClientCanary)
PrivacyAttack.table.update(AUDITS)  # an order of the store carries either


def fitting(experiment: Experiment) -> str:
    """Return the kind of audit that tests the run's own promise."""
    kinds = {"example": "one-run", "client": "client-canary"}
    return kinds.get(experiment.privacy.kind, "black-box")


__all__ = ["AUDITS", "Audit", "fitting"]
