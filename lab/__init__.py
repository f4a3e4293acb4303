"""Leaklab: federated learning that you can watch, and what it really leaks."""

from __future__ import annotations

import sys
from pathlib import Path

from lab.common.paths import ROOT

# Our packages have plain names; the checkout goes first, so that nobody else's `datasets` is found.
if str(ROOT) not in sys.path[:1]:
    sys.path.insert(0, str(ROOT))

import datasets

if Path(str(datasets.__file__)).resolve().parent != ROOT / "datasets":
    raise ImportError(
        f"{datasets.__file__} is another package called datasets: give Leaklab an environment of "
        "its own (make app creates one), or import lab first"
    )

from lab import catalog
from lab.engine.run import run
from lab.experiment.experiment import Experiment

__all__ = ["ROOT", "Experiment", "catalog", "run"]
