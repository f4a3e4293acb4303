"""Results as files: plain JSON, TOML, PNG and safetensors in a folder."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from lab import tradeoff
from lab.gallery import Pictures, poster
from lab.lesson import lesson_of
from lab.pictures import contact_sheet, png
from lab.settings import SettingError
from lab.sheets import inert
from lab.store import Job, Store
from lab.study import Study
from lab.sweep import Sweep
from lab.tally import Outcome, Tally, lines, tally


def write_run(store: Store, job: Job, folder: Path) -> None:
    """experiment.toml, records.jsonl and model.safetensors.  Raises SettingError."""
    lines = [json.dumps(each.line()) for each in store.rounds(job.id)]
    files = {
        "experiment.toml": job.experiment.to_toml().encode(),
        "records.jsonl": "".join(f"{line}\n" for line in lines).encode(),
        "model.safetensors": save({"model": store.state(job.id).model}),
    }
    write(files, folder)


def write_attack(store: Store, job: Job, folder: Path) -> None:
    """result.json, pictures.safetensors, each picture as PNG, and all pairs on sheet.png.

    Raises SettingError.
    """
    pictures = store.arrays.get(store.sights(job.id)[-1].arrays)
    files = {
        "result.json": json.dumps(job.result, indent=2).encode(),
        "pictures.safetensors": save(pictures),
    }
    for name, several in pictures.items():
        for place, picture in enumerate(several if several.ndim == 4 else ()):
            files[f"{name}_{place}.png"] = png(picture)
    if sheet := sheet_of(pictures):
        files["sheet.png"] = sheet
    write(files, folder)


def sheet_of(pictures: Mapping[str, Tensor]) -> bytes | None:
    """Private pictures beside what was made of them; None where there are none."""
    private, guesses = pictures.get("private"), pictures.get("guess")
    if private is None or guesses is None or private.ndim != 4 or not len(private):
        return None
    return contact_sheet(private, guesses)


def write_sweep(
    sweep: Sweep,
    outcomes: Mapping[str, Outcome],
    page: str,
    folder: Path,
    pictures: Pictures | None = None,
) -> None:
    """sweep.toml, results.json, runs.csv with a line for each run, and the page as heat.html.

    Of what leaked, the page is leaks.html, with all places as leaks.png beside it.
    Raises SettingError.
    """
    found = tally(sweep, outcomes)
    files = {
        "sweep.toml": sweep.to_toml().encode(),
        "results.json": json.dumps(results(found), indent=2).encode(),
        "runs.csv": _csv(list(lines(sweep, outcomes))),
    }
    if sweep.measure == "leak":
        files |= {"leaks.html": page.encode(), "leaks.png": poster(found, pictures or {})}
    else:
        files["heat.html"] = page.encode()
    write(files, folder)


def write_study(study: Study, outcomes: Mapping[str, Outcome], page: str, folder: Path) -> None:
    """study.toml, results.json, runs.csv with a line for each run, and the page as tradeoff.html.

    Raises SettingError.
    """
    runs = list(lines(study.sweep, outcomes))
    found = tradeoff.results(study, tradeoff.points(study, outcomes))
    files = {
        "study.toml": study.to_toml().encode(),
        "results.json": json.dumps(found, indent=2).encode(),
        "runs.csv": _csv(runs),
        "tradeoff.html": page.encode(),
    }
    write(files, folder)


def _csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]))
    writer.writeheader()
    writer.writerows({name: inert(value) for name, value in row.items()} for row in rows)
    return table.getvalue().encode()


def results(tally: Tally) -> dict[str, Any]:
    """The table as plain values, with what became of its lesson."""
    found = tally.dump()
    if not tally.sweep.lesson:
        return found
    lesson = lesson_of(tally)
    told = {"sentence": lesson.sentence, "state": lesson.state, "rule": lesson.rule}
    return found | {"lesson": told | {"told": lesson.lines()}}


def write(files: Mapping[str, bytes], folder: Path) -> None:
    """By file name.  Raises SettingError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
    except OSError as error:
        raise SettingError(f"--out {folder} cannot be written: {error.strerror}") from None
