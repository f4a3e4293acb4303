"""Results as files: plain JSON, TOML, PNG and safetensors in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from lab.common.settings import SettingError
from lab.figures.example_images import contact_sheet, png
from lab.storage.job import Job
from lab.storage.replay import StoredRun
from lab.storage.store import Store
from lab.sweeps.lesson import lesson_of
from lab.sweeps.result_table import ResultTable


def write_run(store: Store, job: Job, folder: Path) -> None:
    """experiment.toml, records.jsonl and model.safetensors.  Raises SettingError."""
    lines = [json.dumps(each.line()) for each in store.rounds(job.id)]
    files = {
        "experiment.toml": job.experiment.to_toml().encode(),
        "records.jsonl": "".join(f"{line}\n" for line in lines).encode(),
        "model.safetensors": save({"model": StoredRun(store, job.id).state().model}),
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


def results(tally: ResultTable) -> dict[str, Any]:
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
