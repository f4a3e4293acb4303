"""Settings as people read them: "Secure aggregation: on", never a path of a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.common.settings import Component
from lab.experiment.experiment import Experiment


def told(path: str, value: Any) -> str:
    """Return the name of the setting and its value."""
    *above, last = path.split(".")
    names = above if last in ("kind", "enabled") and above else [*above, last]
    name = " ".join(names).replace("_", " ")
    return f"{name[:1].upper()}{name[1:]}: {_value(names, value)}"


def _value(names: list[str], value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(names, one) for one in value) or "none"
    kind = value.get("kind") if isinstance(value, Mapping) else value
    family = _family(names)
    if family and isinstance(kind, str) and kind in family.table:
        return family.table[kind].title
    return str(kind)


def _family(names: list[str]) -> type[Component] | None:
    """The family of components at that place of an experiment, if there is one."""
    node: Any = Experiment
    for name in names:
        field = getattr(node, "model_fields", {}).get(name)
        node = field.annotation if field else None
    inner = getattr(node, "__args__", (node,))[0]  # a list of components, or one
    return inner if isinstance(inner, type) and issubclass(inner, Component) else None
