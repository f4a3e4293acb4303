"""What is imported is declared, and what is declared is imported."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

from lab import ROOT

OURS = {"lab", "attacks", "defenses", "datasets", "pages"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Not imported by name: plotly loads it to write figures.
LOADED_BY_OTHERS = {"kaleido"}


def named(requirement: str) -> str:
    (name,) = re.findall(r"^[\w.-]+", requirement)
    return normalised(name)


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported() -> list[set[str]]:
    """Of each module that our packages import: the distributions that have it."""
    modules: set[str] = set()
    for package in OURS:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    modules |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    modules.add(node.module.split(".")[0])
    foreign = modules - OURS - sys.stdlib_module_names
    known = packages_distributions()
    # Some modules come with several distributions, such as one that brings only types for it.
    return [{normalised(name) for name in known[module]} for module in sorted(foreign)]


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    declared = {named(requirement) for requirement in PROJECT["dependencies"]}
    brought = imported()
    # Pydantic pins its core, whose module it documents for error types.
    assert [names for names in brought if not names & (declared | {"pydantic-core"})] == []
    assert declared - set().union(*brought) <= LOADED_BY_OTHERS


def test_the_locks_pin_what_is_declared() -> None:
    files = [ROOT / name for name in ("requirements.lock", "requirements-dev.lock")]
    pinned = [{named(line) for line in path.read_text().splitlines()} for path in files]
    extras = PROJECT["optional-dependencies"]
    assert {named(requirement) for requirement in PROJECT["dependencies"]} <= pinned[0]
    assert {named(requirement) for requirement in extras["dev"]} <= pinned[0] | pinned[1]
