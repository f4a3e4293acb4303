"""Version 3: experiments, attacks and results under the field's names.

Cells of sweeps are deleted: their id is a hash of what they measure as a file writes it, and a
sweep computes them again.  Everything else stays.  This module knows no class of today's, so that
it means the same as long as there are stores of version 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alembic import context, op
from sqlalchemy import JSON, column, delete, inspect, select, table, update

from lab.storage.arrays import ArrayStore

revision = "3"
down_revision = "2"

TABLES = {
    "glimpses": "attack_progress",
    "wishes": "requested_cells",
    "watches": "watched_runs",
    "shadows": "cached_shadows",
}
PATHS = {
    "data.split": "data.partition",
    "adversary.poison": "adversary.attack",
    "rule": "aggregation.rule",
    "stages": "aggregation.pre_aggregators",
}
SCORES = {
    "unmasked": "update",
    "likeness": "images",
    "headcount": "labels",
    "dossier": "records",
    "wording": "text",
    "exposure": "membership",
    "secrets": "secrets",
    "poll": "property",
    "audited": "audit",
    "breakdown": "groups",
    "attribution": "source",
    "gain": "active-gain",
}

jobs = table("jobs", column("id"), column("kind"), column("body", JSON), column("result", JSON))
commands = table("commands", column("number"), column("job"), column("kind"), column("body", JSON))
glimpses = table("glimpses", column("attack"), column("number"), column("body", JSON))
records = table("records", column("run"), column("round"), column("memory"))
wishes = table("wishes", column("job"))
owners = table("owners", column("job"))


def upgrade() -> None:
    """Rewrite what is stored, then name the tables anew."""
    _delete_cells()
    _rewrite_jobs()
    _rewrite_commands()
    _rewrite_progress()
    _rewrite_carried_states(context.config.attributes["arrays"])
    for before, after in TABLES.items():
        if _has(before):  # the first stores of version 2 had fewer tables
            op.rename_table(before, after)
    op.drop_table("about")


def _has(name: str) -> bool:
    return inspect(op.get_bind()).has_table(name)


def _delete_cells() -> None:
    connection = op.get_bind()
    cells = select(jobs.c.id).where(jobs.c.kind == "cell")
    for one, job in ((wishes, wishes.c.job), (owners, owners.c.job)):
        if _has(one.name):
            connection.execute(delete(one).where(job.in_(cells)))
    connection.execute(delete(commands).where(commands.c.job.in_(cells)))
    connection.execute(delete(glimpses).where(glimpses.c.attack.in_(cells)))
    connection.execute(delete(jobs).where(jobs.c.kind == "cell"))


def _rewrite_jobs() -> None:
    connection = op.get_bind()
    for row in connection.execute(select(jobs)).all():
        body = experiment(row.body) if row.kind == "run" else attack_request(row.body)
        values = {"body": body}
        if row.kind == "attack" and row.result:
            values["result"] = attack_result(row.result)
        connection.execute(update(jobs).where(jobs.c.id == row.id).values(values))


def _rewrite_commands() -> None:
    connection = op.get_bind()
    for row in connection.execute(select(commands).where(commands.c.kind == "change")).all():
        changed = update(commands).where(commands.c.number == row.number)
        connection.execute(changed.values(body=by_path(row.body)))


def _rewrite_progress() -> None:
    connection = op.get_bind()
    for row in connection.execute(select(glimpses)).all():
        here = (glimpses.c.attack == row.attack) & (glimpses.c.number == row.number)
        connection.execute(update(glimpses).where(here).values(body=progress(row.body)))


def _rewrite_carried_states(arrays: ArrayStore) -> None:
    connection = op.get_bind()
    kept = select(records.c.memory).where(records.c.memory.is_not(None)).distinct()
    for digest in connection.execute(kept).scalars().all():
        if digest in arrays:
            named = {carried_name(name): value for name, value in arrays.get(digest).items()}
            changed = update(records).where(records.c.memory == digest)
            connection.execute(changed.values(memory=arrays.put(named)))


def experiment(tree: Mapping[str, Any]) -> dict[str, Any]:
    """An experiment, section by section."""
    renamed = {name: value for name, value in tree.items() if name not in ("rule", "stages")}
    aggregation = {
        new.removeprefix("aggregation."): tree[old] for old, new in PATHS.items() if old in tree
    }
    if aggregation:
        renamed["aggregation"] = aggregation
    for section, old, new in (("data", "split", "partition"), ("adversary", "poison", "attack")):
        if section in renamed:
            renamed[section] = _with_key(renamed[section], old, new)
    if "changes" in renamed:
        renamed["changes"] = [
            {**change, "set": by_path(change["set"])} for change in renamed["changes"]
        ]
    return renamed


def by_path(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings written as `section.key`."""
    return {_path(path): value for path, value in settings.items()}


def attack_request(body: Mapping[str, Any]) -> dict[str, Any]:
    """An attack: its own settings stand beside its target."""
    spy = body["spy"]
    own = {"kind": spy} if isinstance(spy, str) else dict(spy)
    return own | {name: value for name, value in body.items() if name != "spy"}


def attack_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result: one score, and others beside it."""
    rest = {
        name: value
        for name, value in result.items()
        if name not in (*SCORES, "pooled", "targets", "rivals", "noticed")
    }
    scores = [{"kind": kind} | result[name] for name, kind in SCORES.items() if result.get(name)]
    if result.get("pooled"):
        pooled = {"kind": "membership"} | result["pooled"]
        scores.append({"kind": "pooled", "targets": result.get("targets", 0), "score": pooled})
    if result.get("rivals"):
        others = {"kind": "membership"} | result["rivals"]
        scores.append({"kind": "other-clients", "score": others})
    if result.get("noticed") is not None:
        scores.append({"kind": "tampering", "signs": result["noticed"]})
    return rest | ({"score": scores[0], "extras": scores[1:]} if scores else {})


def progress(body: Mapping[str, Any]) -> dict[str, Any]:
    """How far an attack was, with its score then."""
    rest = {name: value for name, value in body.items() if name not in SCORES}
    scores = [{"kind": kind} | body[name] for name, kind in SCORES.items() if body.get(name)]
    return rest | ({"score": scores[0]} if scores else {})


def carried_name(name: str) -> str:
    """The name of a tensor that a round leaves for the next."""
    if name.startswith("stage "):
        _, index, kind, own = name.split(" ", 3)
        return f"pre_aggregation/{index}/{kind}/{own}"
    alone = {
        "residuals": "residuals",
        "clip": "clip",
        "marks": "own_metrics",
        "last change": "last_change",
    }
    return alone.get(name, f"algorithm/{name}")


def _path(path: str) -> str:
    for old, new in PATHS.items():
        if path == old or path.startswith(f"{old}."):
            return new + path.removeprefix(old)
    return path


def _with_key(section: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    return {new if name == old else name: value for name, value in section.items()}
