"""Controls drawn from settings: a field's bounds and help, said once, become its widget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor, isclose, log10
from typing import Any, Literal, get_args, get_origin

import streamlit as st
from pydantic.fields import FieldInfo

from lab.common.settings import Component, Settings
from lab.common.settings_text import flatten, parse_value
from lab.experiment.experiment import Experiment
from lab.web.glossary import entry_of

WIDE = 100  # a range that is wider, as a ratio, gets a logarithmic slider
SHORT = 64  # the longest range of whole numbers that gets a slider
STEPS = (1.0, 2.0, 5.0)  # of a logarithmic slider, times powers of ten


def control(experiment: Experiment, path: str, label: str, locked: bool = False) -> dict[str, Any]:
    """The widget of one setting, or of the kind of a part.  -> its value by path"""
    owner, name = _owner(experiment, path)
    field, value = type(owner).model_fields[name], getattr(owner, name)
    if isinstance(value, Component):
        return _kind(value, path, label, field, locked)
    return {path: _widget(path, label, field, value, locked, path)}


def chain(experiment: Experiment, path: str, label: str) -> dict[str, Any]:
    """The widgets of several parts, one after the other, and of their settings.  -> their values"""
    owner, name = _owner(experiment, path)
    there: dict[str, Component] = {part.kind: part for part in getattr(owner, name)}
    family = get_args(type(owner).model_fields[name].annotation)[0]
    field = type(owner).model_fields[name]
    kinds = st.multiselect(
        label,
        list(family.table),
        list(there),
        key=_key(path),
        help=f"{field.description}\n\n{_known(family.table)}",
        placeholder="none",
        format_func=lambda kind: family.table[kind].title,
    )
    parts = [there.get(kind) or family.table[kind]() for kind in kinds]
    found = [(part.kind, settings_of(part, path)) for part in parts]
    values = [
        {"kind": kind} | {name.removeprefix(f"{path}."): value for name, value in mine.items()}
        for kind, mine in found
    ]
    return {path: values}


def part_of(experiment: Experiment, path: str, kind: str) -> Component:
    """The experiment's part at that path, or a fresh one where another kind is chosen."""
    owner, name = _owner(experiment, path)
    part: Component = getattr(owner, name)
    return part if part.kind == kind else part.family().table[kind].model_validate({})


def settings_of(
    part: Component, path: str, locked: bool = False, without: Sequence[str] = ()
) -> dict[str, Any]:
    """The widgets of all settings of a part but those `without`.  -> values by path"""
    entry = entry_of(type(part))
    return {
        f"{path}.{name}": _widget(
            f"{path}.{part.kind}.{name}", _words(name), field, getattr(part, name), locked, entry
        )
        for name, field in type(part).model_fields.items()
        if name not in ("kind", *without)
    }


def differing(values: dict[str, Any], experiment: Experiment) -> dict[str, Any]:
    """The values that are not the experiment's own."""
    mine = flatten(experiment.dump())
    return {path: value for path, value in values.items() if not _same(mine.get(path), value)}


def reset() -> None:
    """Forget what the widgets hold, so that they show the experiment again."""
    st.session_state["edition"] = st.session_state.get("edition", 0) + 1


def _kind(part: Component, path: str, label: str, field: FieldInfo, locked: bool) -> dict[str, Any]:
    table = part.family().table
    kind = st.selectbox(
        label,
        list(table),
        index=list(table).index(part.kind),
        key=_key(path),
        disabled=locked,
        help=f"{field.description}\n\n{_known(table)}",
        format_func=lambda kind: table[kind].title,
    )
    # A part without settings is written as its bare kind.
    return {path if isinstance(part.dump(), str) else f"{path}.kind": kind}


def _known(table: Mapping[str, type[Component]]) -> str:
    return "\n".join(
        f"- [{one.title}](glossary?entry={entry_of(one)}): {one.about()}" for one in table.values()
    )


def _widget(path: str, label: str, field: FieldInfo, value: Any, locked: bool, entry: str) -> Any:
    """entry: of the glossary, which the help text leads to"""
    low, high = _bounds(field)
    about = f"{field.description} [Glossary](glossary?entry={entry})"
    known: dict[str, Any] = {"help": about, "key": _key(path), "disabled": locked}
    if get_origin(field.annotation) is Literal:
        options = list(get_args(field.annotation))
        return st.selectbox(label, options, index=options.index(value), **known)
    if isinstance(value, tuple):
        told = st.text_input(label, ", ".join(map(str, value)), **known)
        return [parse_value(one.strip()) for one in told.split(",") if one.strip()]
    if isinstance(value, bool):
        return st.toggle(label, value, **known)
    if isinstance(value, str):
        return st.text_input(label, value, **known)
    if isinstance(value, int):
        if high - low <= SHORT:
            return st.slider(label, int(low), int(high), value, **known)
        return st.number_input(label, int(low), int(high), value, step=1, **known)
    if low > 0 and high / low > WIDE:
        rungs = sorted({*_ladder(low, high), value})
        return st.select_slider(label, rungs, value, format_func=lambda rung: f"{rung:g}", **known)
    return st.number_input(label, low, high, value, step=_step(high - low), format="%g", **known)


def _bounds(field: FieldInfo) -> tuple[float, float]:
    """The least and the greatest value; an open end at zero starts four powers of ten lower."""
    limits: dict[str, float] = {}
    for rule in field.metadata:
        for name in ("ge", "gt", "le", "lt"):
            if getattr(rule, name, None) is not None:
                limits[name] = float(getattr(rule, name))
    high = limits.get("le", limits.get("lt", 1.0))
    if "gt" in limits:
        return (high * 1e-4 if limits["gt"] == 0 else limits["gt"]), high
    return limits.get("ge", 0.0), high


def _ladder(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, 20, 50... between the bounds."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    rungs = [float(f"{step}e{power}") for power in powers for step in STEPS]
    return [rung for rung in rungs if low <= rung <= high]


def _step(width: float) -> float:
    return 0.01 if width <= 1 else 0.1 if width <= 10 else 1.0


def _owner(experiment: Experiment, path: str) -> tuple[Settings, str]:
    owner: Any = experiment
    *above, name = path.split(".")
    for step in above:
        owner = getattr(owner, step)
    return owner, name


def _key(path: str) -> str:
    return f"{path} #{st.session_state.get('edition', 0)}"


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _same(mine: Any, value: Any) -> bool:
    if isinstance(mine, float) and isinstance(value, (int, float)):
        return isclose(mine, value, rel_tol=1e-9)
    return bool(mine == value)
