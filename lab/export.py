"""Results as files: plain JSON, TOML, PNG and safetensors in a folder."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save

from lab.pictures import png
from lab.settings import SettingError
from lab.store import Job, Store


def write_run(store: Store, job: Job, folder: Path) -> None:
    """experiment.toml, records.jsonl and model.safetensors.  Raises SettingError."""
    lines = [json.dumps(each.line()) for each in store.rounds(job.id)]
    _make(folder)
    (folder / "experiment.toml").write_text(job.experiment.to_toml(), encoding="utf-8")
    (folder / "records.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(save({"model": store.state(job.id).model}))


def write_attack(store: Store, job: Job, folder: Path) -> None:
    """result.json, pictures.safetensors, and each picture as PNG.  Raises SettingError."""
    pictures = store.arrays.get(store.sights(job.id)[-1].arrays)
    _make(folder)
    (folder / "result.json").write_text(json.dumps(job.result, indent=2), encoding="utf-8")
    (folder / "pictures.safetensors").write_bytes(save(pictures))
    for name, several in pictures.items():
        for place, picture in enumerate(several if several.ndim == 4 else ()):
            (folder / f"{name}_{place}.png").write_bytes(png(picture))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(f"--out {folder} cannot be written: {error.strerror}") from None
