"""README's picture of the architecture, from tree and layers: `python -m docs.architecture`."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

from lab import ROOT

BEGIN, END = "<!-- architecture -->\n", "<!-- /architecture -->\n"


def drawn() -> str:
    """Return the tree, a line for each package from the top layer to the ground."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    for layer in contract["contracts"][0]["layers"]:
        for package in layer.split(" | "):
            path = ROOT / package.replace(".", "/")
            if path.is_dir():
                name = package.replace(".", "/") + "/"
                yield f"{name:<18} {_summary(path / '__init__.py')}"
                if inner := _inner(path):
                    yield f"{'':<18} ({', '.join(inner)})"


def _inner(path: Path) -> list[str]:
    """The folders inside that hold modules."""
    folders = sorted(one for one in path.iterdir() if (one / "__init__.py").is_file())
    return [one.name for one in folders]


def _summary(path: Path) -> str:
    """The first line of a module's docstring, up to its colon where it has one."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.splitlines()[0].rstrip(".")


def main() -> None:
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text(f"{before}{BEGIN}```\n{drawn()}```\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
