"""README's "Add your own", as a stranger follows it: a file and a name in a table each."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README.split("## Add your own")[1].split("\n## ")[0]
# Each block of code, and the file that the words before it name.
FILES = re.findall(r"`([\w/]+\.py)`:\n\n```python\n(.*?)```", SECTION, re.DOTALL)
ENTRIES = {
    "defenses/__init__.py": [
        ("from defenses.aggregation.dnc", "from defenses.aggregation.fixed import Fixed\n"),
        ("AggregationRule.enter(\n", "    Fixed,\n"),
    ],
    "attacks/__init__.py": [
        ("from attacks.poisoning.updates", "from attacks.poisoning.updates.silent import Silent\n"),
        ("PoisoningAttack.enter(\n", "    Silent,\n"),
    ],
    "datasets/__init__.py": [
        ("from datasets.sources.adult", "from datasets.sources.blobs import Blobs\n"),
        ("DataSource.enter(", "Blobs, "),
    ],
    "lab/web/app.py": [('"runs": "Runs",\n', '        "hello": "Hello",\n')],
}
PAGE = """
from unittest.mock import patch
from streamlit.testing.v1 import AppTest
browser = "streamlit.runtime.context.ContextProxy"
with patch(f"{browser}.cookies", {}), patch(f"{browser}.ip_address", None):
    app = AppTest.from_file("lab/web/app.py", default_timeout=60).run()
    app.switch_page("../../pages/hello.py").run()
assert not app.exception, app.exception
print(app.title[0].value, app.markdown[0].value)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with four things added."""
    folder = tmp_path_factory.mktemp("stranger")
    for name in ("lab", "attacks", "defenses", "datasets", "pages", "experiments", ".streamlit"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, code in FILES:
        assert not (folder / name).exists()
        (folder / name).write_text(code, encoding="utf-8")
    for name, entries in ENTRIES.items():
        text = (folder / name).read_text(encoding="utf-8")
        for place, line in entries:
            at = text.index(place)
            at += len(place) if not place.startswith("from ") else 0
            text = text[:at] + line + text[at:]
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def told(checkout: Path, *command: str) -> str:
    environment = os.environ | {
        "PYTHONPATH": str(checkout),
        "LEAKLAB_DB": f"sqlite:///{checkout / 'store.db'}",
        "LEAKLAB_WORKERS": "0",
    }
    done = subprocess.run(
        [sys.executable, "-P", *command],
        cwd=checkout, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_section_has_a_rule_an_attack_a_source_and_a_page() -> None:
    assert [name.split("/")[0] for name, _ in FILES] == [
        "defenses",
        "attacks",
        "datasets",
        "pages",
    ]


def test_what_a_stranger_adds_is_listed_and_runs(checkout: Path) -> None:
    listed = json.loads(told(checkout, "-m", "lab.cli", "list", "--json"))
    for table, kind in (
        ("aggregation-rules", "fixed"),
        ("poisoning-attacks", "silent"),
        ("data-sources", "blobs"),
    ):
        assert kind in {entry["name"] for entry in listed[table]}
    settings = {
        "data.source": "blobs",
        "model.kind": "logistic",
        "aggregation.rule": "fixed",
        "aggregation.rule.row": "2",
        "adversary.count": "3",
        "adversary.attack": "silent",
        "training.rounds": "2",
    }
    words = [word for pair in settings.items() for word in ("-s", "=".join(pair))]
    preset = str(checkout / "experiments" / "default.toml")
    lines = told(checkout, "-m", "lab.cli", "run", preset, *words, "--json").splitlines()
    records = [json.loads(line) for line in lines if line.startswith("{")]
    (last,) = [record for record in records if record.get("round") == 2]
    assert last["accuracy"] > 0.4


def test_the_page_that_a_stranger_adds_opens(checkout: Path) -> None:
    assert told(checkout, "-c", PAGE).startswith("Hello You have ")
