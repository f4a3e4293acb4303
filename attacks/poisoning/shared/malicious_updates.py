"""Helpers of attacks on updates: honest statistics, and replacing the malicious updates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lab.interfaces.messages import Cohort
from lab.interfaces.poisoning import AdversaryKnowledge

Way = Literal["unit", "sign", "std"]


def honest(rows: Tensor, cohort: Cohort) -> Tensor:
    """Return honest clients' updates, or all where no client is honest.  -> (honest, params)

    There is always one: zeros, if every row has values that are not finite.
    """
    sound = rows.isfinite().all(dim=1)  # (clients,)
    for chosen in (sound & ~cohort.malicious, sound):
        if chosen.any():
            return rows[chosen]
    return rows.new_zeros(1, rows.shape[1])


def deviation(among: Tensor) -> Tensor:
    """Return standard deviations (n - 1), 0 for one row.  (honest, params) -> (params,)"""
    return among.std(dim=0) if len(among) > 1 else torch.zeros_like(among[0])


def apart(among: Tensor) -> Tensor:
    """Return squared distances, computed from differences.  (honest, params) -> (honest, honest)

    The result is float64, which does not overflow where float32 would.
    """
    exact = among.double()
    return torch.cdist(exact, exact, compute_mode="donot_use_mm_for_euclid_dist").square()


def way_of(among: Tensor, way: Way) -> Tensor:
    """Return a perturbation direction of the honest mean.  (honest, params) -> (params,)

    Shejwalkar and Houmansadr 2021, section IV: they subtract gamma times one of these.
    """
    if way == "std":
        return deviation(among)
    mean = among.mean(dim=0)
    return mean.sign() if way == "sign" else F.normalize(mean, dim=0)


def told(rows: Tensor, cohort: Cohort, lie: Tensor) -> Tensor:
    """Replace every malicious row by the malicious update.

    lie (params,), or (clients, params)
    """
    return torch.where(cohort.malicious.unsqueeze(1), lie.to(rows.dtype), rows)


def each_told(rows: Tensor, cohort: Cohort, lie: Callable[[int], Tensor]) -> Tensor:
    """Replace each malicious row by an update of its own.  lie: client -> (params,)"""
    changed = rows.clone()
    # A loop over clients, because each one draws from its own stream.
    for place, client in enumerate(cohort.clients):
        if cohort.malicious[place]:
            changed[place] = lie(client)
    return changed


def step_of(rows: Tensor, insight: AdversaryKnowledge) -> Tensor:
    """Return the step that the server would take; without knowledge of the rule, the plain mean.

    Rows with values that are not finite count as zeros, because they would not arrive.
    """
    sound = rows.isfinite().all(dim=1, keepdim=True)  # (clients, 1)
    rows = torch.where(sound, rows, 0.0)
    return rows.mean(dim=0) if insight.fold is None else insight.fold(rows)


def travelling(vector: Tensor | None, rows: Tensor) -> Tensor:
    """Return the parameters of a model that are sent; zeros where it is unknown.  -> (params,)"""
    if vector is None:
        return rows.new_zeros(rows.shape[1])
    return vector[: rows.shape[1]].to(rows.dtype)
