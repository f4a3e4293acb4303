"""What README says is so: its example runs, its lists are whole, what it links to is there."""

from __future__ import annotations

import re

import pytest

from docs.architecture import drawn
from lab import ROOT, catalog
from lab.cli import app
from lab.experiment import presets

README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLE, *OWN = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def rows_of(title: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    below = README.split(f"## {title}\n")[1]
    lines = [line for line in below.split("\n## ")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_example_brings_the_picture_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert len([line for line in EXAMPLE.splitlines() if line]) <= 10
    exec(EXAMPLE, {})
    told = capsys.readouterr().out
    found = re.search(r"PSNR ([\d.]+) dB", told)
    assert found is not None
    assert float(found[1]) > 30


def test_the_catalogue_is_whole() -> None:
    told = {table: re.findall(r"`([^`]+)`", parts) for table, parts in rows_of("Catalogue")}
    assert told == {name: list(table) for name, table in catalog.tables().items()}


def test_every_preset_is_told() -> None:
    told = {
        name for row in rows_of("What you should see") for name in re.findall("`(.+?)`", row[0])
    }
    assert told == set(presets.experiments()) - {"default"}


def test_every_variable_of_the_environment_is_told() -> None:
    files = [
        path for folder in ("lab", "datasets", "tests") for path in (ROOT / folder).rglob("*.py")
    ]
    used = {name for path in files for name in re.findall(r'"(LEAKLAB_[A-Z]+)"', path.read_text())}
    assert used == {row[0].strip("`") for row in rows_of("Environment")}


def test_what_it_links_to_is_there() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_every_command_that_it_names_exists() -> None:
    named = set(re.findall(r"leaklab ([a-z]+)", README))
    there = {command.name or command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]
    assert named <= there


def test_the_architecture_is_drawn_from_the_tree() -> None:
    assert f"<!-- architecture -->\n```\n{drawn()}```\n" in README
    assert len(drawn().splitlines()) <= 45, "it fits a screen"
