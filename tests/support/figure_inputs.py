"""Drawings: records and portraits to draw, and the figure as a browser gets it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import torch

from lab.attack_runs.poisoning.poisoned_round import PoisonedRound
from lab.engine.data.summary import FederationSummary
from lab.engine.evaluation.record import RoundRecord
from lab.scoring.poisoning.update_geometry import geometry

Trace = dict[str, Any]


def record(round: int = 1, **measured: Any) -> RoundRecord:
    usual = {"accuracy": 0.5, "loss": 1.25, "epsilon": None, "bytes_up": 0, "bytes_down": 0}
    return RoundRecord.read(usual | {"round": round} | measured)


def drawn(figure: go.Figure) -> dict[str, Any]:
    """The figure as a browser gets it, every number in plain sight."""
    found: dict[str, Any] = json.loads(figure.to_json(engine="json"))
    return found


def traces(figure: go.Figure, name: str) -> list[Trace]:
    return [trace for trace in drawn(figure)["data"] if trace.get("name") == name]


def trace(figure: go.Figure, name: str) -> Trace:
    (found,) = traces(figure, name)
    return found


def federation_of(clients: int, bad: Sequence[int] = (), classes: int = 1) -> FederationSummary:
    return FederationSummary(
        classes=tuple(f"class {k}" for k in range(classes)),
        counts=((10,) * classes,) * clients,
        malicious=tuple(bad),
        skew=0.0,
    )


def mustered(clients: int, bad: Sequence[int] = (), fates: Sequence[str] = ()) -> PoisonedRound:
    """Updates drawn at random, of which those of bad clients are sent backwards."""
    generator = torch.Generator().manual_seed(0)
    rows = 1 + 0.3 * torch.randn(clients, 20, generator=generator)
    flags = torch.tensor([client in bad for client in range(clients)])
    rows[flags] *= -3
    everybody = tuple(range(clients))
    return PoisonedRound(
        record=record(clients=everybody, malicious=tuple(bad), verdict=tuple(fates)),
        clients=everybody,
        geometry=geometry(rows, flags, rows.mean(dim=0)),
        fates=tuple(fates),
    )
