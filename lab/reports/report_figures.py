"""Illustrations: the figures of a report, by name, for the page and for files alike."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from lab import figures
from lab.attack_runs.reconstruction.quick_look import QuickLook
from lab.engine.data.summary import summarise
from lab.engine.evaluation.record import RoundRecord
from lab.privacy.guarantee import ceiling_of
from lab.reports.comparison import Side, read_of
from lab.scoring.attack_result import AttackResult
from lab.scoring.audit_score import AuditScore
from lab.scoring.membership.further_scores import PooledScore
from lab.scoring.membership.leakage_by_group import LeakageByGroup
from lab.scoring.membership.membership_score import MembershipScore
from lab.scoring.property_score import PropertyScore
from lab.scoring.secret_score import SecretExposureScore
from lab.storage.job import Job
from lab.storage.store import Store
from lab.storage.visitors import NOBODY
from lab.sweeps.result_table import ResultTable
from lab.sweeps.tradeoff import MEASURES, Point
from lab.sweeps.tradeoff_study import AXES, Study

Figures = dict[str, go.Figure]


def of_run(job: Job, records: Sequence[RoundRecord], read: Sequence[QuickLook] = ()) -> Figures:
    """records: at least one"""
    experiment = job.experiment
    rounds = experiment.training.rounds
    found = {
        "accuracy": figures.curves(records, experiment.changes, rounds, read=read),
        "federation": figures.federation(summarise(experiment.at(job.round)), records[-1]),
        "traffic": figures.traffic(records),
        "fairness": figures.fairness(records[-1]),
    }
    if records[-1].influence:
        found["influence"] = figures.moved(records[-1])
    return found


def of_attack(store: Store, job: Job) -> Figures:
    """job: an attack with a result"""
    result = AttackResult.read(job.result)
    found, ceiling = {}, ceiling_of(result.guarantee)
    for score in (result.score, *result.extras):
        match score:
            case MembershipScore():
                found["roc"] = figures.roc(score, ceiling)
                found["scores"] = figures.histogram(score)
            case PooledScore():
                found["pooled-roc"] = figures.roc(score.score, ceiling)
            case LeakageByGroup():
                found |= _groups(store, job, score)
            case SecretExposureScore():
                found["secrets"] = figures.secrets(score)
            case PropertyScore():
                found["shares"] = figures.said(score)
            case AuditScore():
                found["audit"] = figures.promises(score, score.last.round)
    return found


def _groups(store: Store, job: Job, breakdown: LeakageByGroup) -> Figures:
    """Who is exposed most."""
    names = store.run(str(job.run)).experiment.data.source.classes
    classes = [names[each.number] for each in breakdown.classes]
    clients = [str(each.number) for each in breakdown.clients]
    told = {"class": (breakdown.classes, classes), "client": (breakdown.clients, clients)}
    return {
        f"by-{kind}": figures.groups(groups, labels, kind)
        for kind, (groups, labels) in told.items()
        if any(each.auc is not None for each in groups)
    }


def of_comparison(sides: Sequence[Side]) -> Figures:
    records = {side.name: side.records for side in sides}
    read = {side.name: side.read for side in sides}
    return {"comparison": figures.compared(records, read)}


def of_sweep(tally: ResultTable) -> Figures:
    """None of what leaked: that is pictures."""
    return {} if tally.sweep.measure == "leak" else {"heat": figures.heat(tally)}


def of_study(study: Study, found: Sequence[Point]) -> Figures:
    """One for each measure that is there."""
    by = (study.varied or AXES)[0]
    return {
        f"frontier-{name}": figures.frontier(found, name, by)
        for name in MEASURES
        if any(name in point.leaks for point in found)
    }


def attacks_by_name(store: Store, job: Job, names: Sequence[str] = NOBODY) -> dict[str, Job]:
    """All on a run that have a result, numbered from the oldest, as that stays the first.

    names: whose attacks on uploaded pictures count, too, as in `Store.attacks_on`
    """
    done = [one for one in reversed(store.attacks_on(job.id, names)) if one.result]
    return {
        f"attack-{place}-{one.order.attack.kind}": one for place, one in enumerate(done, start=1)
    }


def all_of(store: Store, job: Job, names: Sequence[str] = NOBODY) -> Figures:
    """Of the run and of every attack on it, as `attacks_by_name` has them."""
    found = of_run(job, [each.record for each in store.rounds(job.id)], read_of(store, job.id))
    for named, attack in attacks_by_name(store, job, names).items():
        found |= {f"{named}-{name}": each for name, each in of_attack(store, attack).items()}
    return found
