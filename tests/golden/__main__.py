"""Writes the golden records anew: python -m tests.golden, after a change that is meant to show.

Such a change also raises NUMBERS in lab/sweeps/sweep.py, so that no sweep shows what was
measured before.
"""

from __future__ import annotations

import json

from lab import run
from tests.engine.test_run import GOLDEN, VARIANTS, experiment

golden = {
    name: [moment.record.model_dump(mode="json") for moment in run(experiment().changed(settings))]
    for name, settings in VARIANTS.items()
}
GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")
