"""Comparison: several runs beside each other.  In what they differ, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lab.attack_runs.reconstruction.quick_look import QuickLook, quick_looks
from lab.common.settings_text import flatten, write_value
from lab.engine.differential_privacy.accountant import spent
from lab.engine.evaluation.record import RoundRecord
from lab.experiment.experiment import Experiment
from lab.scoring.attack_result import AttackResult
from lab.storage.job import Job
from lab.storage.store import Store
from lab.storage.visitors import NOBODY

MOST = 8  # runs at once, so that each has a colour and a dash of its own


@dataclass(frozen=True)
class Side:
    """One of the runs."""

    job: Job
    name: str  # what sets it apart
    records: list[RoundRecord]
    leaks: tuple[str, ...]  # the newest result of each attack, in a line
    read: list[QuickLook]  # off updates, if the run was watched
    note: str  # that its owner wrote


def sides(store: Store, runs: Sequence[Job], names: Sequence[str] = NOBODY) -> list[Side]:
    """Those that have finished a round, at most MOST.

    names: whose attacks on uploaded pictures are told, too, as in `Store.attacks_on`
    """
    chosen = [job for job in runs if job.round][:MOST]
    apart = differences([job.experiment for job in chosen])
    notes = store.notes()
    return [
        Side(
            job=job,
            name=_name(job, place, apart),
            records=[each.record for each in store.rounds(job.id)],
            leaks=_leaks(store.attacks_on(job.id, names)),
            read=read_of(store, job.id),
            note=notes.get(job.id, ""),
        )
        for place, job in enumerate(chosen)
    ]


def read_of(store: Store, run: str) -> list[QuickLook]:
    """What was read off its updates, if it was watched."""
    return quick_looks({sight.number: sight.body for sight in store.sights(run)})


def differences(experiments: Sequence[Experiment]) -> dict[str, list[str]]:
    """The settings that are not the same in all, as text; empty where one has no such setting."""
    flat = [flatten(each.dump()) for each in experiments]
    paths = dict.fromkeys(path for each in flat for path in each)
    told = {
        path: [write_value(each[path]) if path in each else "" for each in flat] for path in paths
    }
    return {path: values for path, values in told.items() if len(set(values)) > 1}


def outcome(side: Side) -> dict[str, str]:
    """What a run came to, by name."""
    last = side.records[-1]
    guarantee = spent(side.job.experiment, side.job.round)
    found = {
        "rounds": str(last.round),
        "accuracy": f"{last.accuracy:.1%}",
        "epsilon": guarantee.value() if guarantee else "none",
    }
    if last.backdoor is not None:
        found["backdoor success"] = f"{last.backdoor:.1%}"
    return found


def _name(job: Job, place: int, apart: dict[str, list[str]]) -> str:
    """The id, and up to three settings in which it differs."""
    told = [f"{path.split('.')[-1]} {values[place]}" for path, values in apart.items()]
    return ", ".join([job.id[:6], *[each for each in told[:3] if each.split()[1:]]])


def _leaks(attacks: Sequence[Job]) -> tuple[str, ...]:
    """attacks: the newest first"""
    newest = {
        one.order.attack.kind: AttackResult.read(one.result)
        for one in reversed(attacks)
        if one.result
    }
    return tuple(" · ".join(result.lines()[:2]) for result in newest.values())
