"""The files that come with the lab: which of them hold an experiment, and which a sweep."""

from __future__ import annotations

import tomllib
from pathlib import Path

from lab.common.paths import ROOT

FOLDER = ROOT / "experiments"


def experiments() -> dict[str, Path]:
    """By name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml")) if not is_sweep(path)}


def sweeps() -> dict[str, Path]:
    """By name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml")) if is_sweep(path)}


def leaks() -> dict[str, Path]:
    """Sweeps of attacks on privacy, by name."""
    return {path.stem: path for path in sorted((FOLDER / "leaks").glob("*.toml"))}


def tradeoffs() -> dict[str, Path]:
    """Studies of what defences cost and save, by name."""
    return {path.stem: path for path in sorted((FOLDER / "tradeoffs").glob("*.toml"))}


def is_sweep(path: Path) -> bool:
    """Whether it has rows.  What cannot be read has none: whoever opens it is told why."""
    try:
        return "rows" in tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
