"""Allowance: refuses runs that would take too much of a machine that others use, too.

Checked where a run is started, resumed, changed or branched.  What would certainly not fit into
memory is refused for everybody; the other limits are for visitors, and an admin sets them.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, NoReturn

from sqlalchemy import Connection, and_, func, select

from lab.common.settings import SettingError
from lab.engine.client.compute_device import memory_bytes
from lab.engine.cost_estimate import Estimate, duration, estimated, size, stretches
from lab.experiment.experiment import Experiment
from lab.storage.arrays import ArrayStore
from lab.storage.database import jobs, owners, records
from lab.storage.visitors import ACTIVE, Limits, limits_of

FEWER: dict[str, tuple[int, ...]] = {  # what may be tried in place of what is too much
    "training.steps": (1000, 500, 200, 100, 50, 20, 10, 5, 2, 1),
    "training.clients_per_round": (5000, 2000, 1000, 500, 200, 100, 50, 20, 10, 5, 2),
    "secure_aggregation.neighbours": (100, 50, 20, 10, 4),
}
LESSENS = {  # what makes a round shorter, by what most of its time goes to
    "training": ("training.steps", "training.clients_per_round"),
    "masks": ("secure_aggregation.neighbours", "training.clients_per_round"),
    "rule": ("training.clients_per_round",),
}
Fits = Callable[[Estimate], bool]


def check_run(
    connection: Connection,
    visitor: str,
    experiment: Experiment,
    done: int = 0,
    arrays: ArrayStore | None = None,
) -> None:
    """Raises SettingError for a run that takes too much, in one round or as a whole.

    done: rounds that it has finished; arrays: where its models are kept, if they are
    """
    limits = limits_of(connection) if visitor else Limits.without()
    ahead = list(stretches(experiment, done))
    rounds = max(now.training.rounds for now in ahead)
    if limits.rounds and rounds > limits.rounds:
        raise SettingError(
            f"training.rounds is {rounds}, and here a run may have {limits.rounds}: give "
            f"{limits.rounds} or fewer"
        )
    for now in ahead:
        _check_round(now, limits)
    if arrays and limits.storage:
        _check_storage(connection, arrays, visitor, experiment, rounds - done, limits.storage * 1e6)


def _check_round(now: Experiment, limits: Limits) -> None:
    found, machine = estimated(now), memory_bytes()
    memory, seconds = limits.memory * 1e6, limits.seconds

    def fits(other: Estimate) -> bool:
        small = other.bytes <= (memory or machine or inf)
        return small and other.seconds <= (seconds or inf)

    if machine and found.updates > machine:  # the process would be killed
        told = f"at least {size(found.updates)} of memory, and this machine has {size(machine)}"
    elif memory and found.bytes > memory:
        told = f"about {size(found.bytes)} of memory, and here one may take {size(memory)}"
    elif seconds and found.seconds > seconds:
        _refuse_seconds(now, found, seconds, fits)
    else:
        return
    raise SettingError(
        f"training.clients_per_round is {_asked(now)} and model.kind {now.model.kind} has "
        f"{now.architecture.size:,} parameters: one round takes {told}: "
        f"{_remedy(now, fits, 'training.clients_per_round')}"
    )


def _refuse_seconds(now: Experiment, found: Estimate, most: int, fits: Fits) -> NoReturn:
    paths = LESSENS[found.slowest]
    raise SettingError(
        f"{paths[0]} is {_value(now, paths[0])} with {_asked(now)} clients a round: one round "
        f"takes about {duration(found.seconds)}, most of it for {found.slowest}, and here one may "
        f"take {duration(most)}: {_remedy(now, fits, *paths)}"
    )


def _remedy(now: Experiment, fits: Fits, *paths: str) -> str:
    """What would work: the largest of some lower values."""
    for path in paths:
        for value in FEWER[path]:
            try:
                other = now.changed({path: value})
            except SettingError:
                continue
            if fits(estimated(other)):
                return f"give {path} {value} or fewer"
    return "choose a smaller model.kind, and fewer clients or local steps"


def _asked(now: Experiment) -> str:
    asked = now.training.clients_per_round
    return str(asked) if asked else f"0 (all {now.data.clients})"


def _value(now: Experiment, path: str) -> Any:
    section, name = path.split(".")
    value = getattr(getattr(now, section), name)
    if path == "training.clients_per_round":
        return _asked(now)
    if path == "training.steps" and not value:
        steps = now.recipe.local_steps(round(now.recipe.mean_size))
        return f"0 (no cap: {steps})"
    return value or f"{value} (all)"


# --- what is kept ---------------------------------------------------------------------------------


def _check_storage(
    connection: Connection,
    arrays: ArrayStore,
    visitor: str,
    experiment: Experiment,
    rounds: int,
    most: float,
) -> None:
    """rounds: still to be run; most: bytes"""
    each = estimated(experiment.at(1)).stored
    others = _kept(connection, arrays, visitor) + _expected(connection, visitor)
    if rounds * each + others <= most:
        return
    left = int(max(0.0, most - others) // each)
    remedy = f"give training.rounds {left} or fewer, or " if left else ""
    raise SettingError(
        f"training.rounds is {rounds} more, of which every one keeps a model of {size(each)}, "
        f"beside {size(others)} of your other runs, and here one may keep {size(most)}: {remedy}"
        "delete runs on the Runs page"
    )


def _kept(connection: Connection, arrays: ArrayStore, visitor: str) -> float:
    """Bytes of that visitor's stored rounds.  All models of a run are of one size."""
    query = (
        select(
            func.count(records.c.arrays),
            func.max(records.c.arrays),
            func.count(records.c.memory),
            func.max(records.c.memory),
        )
        .join(owners, owners.c.job == records.c.run)
        .where(owners.c.visitor == visitor)
        .group_by(records.c.run)
    )
    total = 0
    for models, model, memories, memory in connection.execute(query).all():
        total += models * arrays.size(model) + (memories * arrays.size(memory) if memory else 0)
    return float(total)


def _expected(connection: Connection, visitor: str) -> float:
    """Bytes of what that visitor's runs at work and in the queue will still store."""
    mine = and_(owners.c.visitor == visitor, jobs.c.kind == "run", jobs.c.status.in_(ACTIVE))
    query = select(jobs.c.body, jobs.c.round).join(owners, owners.c.job == jobs.c.id).where(mine)
    total = 0.0
    for body, done in connection.execute(query).all():
        experiment = Experiment.read(body)
        rounds = max(now.training.rounds for now in stretches(experiment, done)) - done
        total += max(0, rounds) * estimated(experiment.at(1)).stored
    return total
