"""What the poisons of updates share: the honest updates, and lies in place of the others."""

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
    """The updates of honest clients; of everybody, where nobody is.  -> (honest, params)

    There is always one: zeros, if no row is all numbers.
    """
    sound = rows.isfinite().all(dim=1)  # (clients,)
    for chosen in (sound & ~cohort.malicious, sound):
        if chosen.any():
            return rows[chosen]
    return rows.new_zeros(1, rows.shape[1])


def deviation(among: Tensor) -> Tensor:
    """Of each coordinate, with n - 1 below; 0 of a single row.  (honest, params) -> (params,)"""
    return among.std(dim=0) if len(among) > 1 else torch.zeros_like(among[0])


def apart(among: Tensor) -> Tensor:
    """Squared distances, from differences: nothing cancels.  (honest, params) -> (honest, honest)

    In float64, where no float32 overflows.
    """
    exact = among.double()
    return torch.cdist(exact, exact, compute_mode="donot_use_mm_for_euclid_dist").square()


def way_of(among: Tensor, way: Way) -> Tensor:
    """A perturbation of the honest mean.  (honest, params) -> (params,)

    Shejwalkar and Houmansadr 2021, section IV: they subtract gamma times one of these.
    """
    if way == "std":
        return deviation(among)
    mean = among.mean(dim=0)
    return mean.sign() if way == "sign" else F.normalize(mean, dim=0)


def told(rows: Tensor, cohort: Cohort, lie: Tensor) -> Tensor:
    """The rows, with one lie in place of every malicious one.

    lie (params,), or (clients, params)
    """
    return torch.where(cohort.malicious.unsqueeze(1), lie.to(rows.dtype), rows)


def each_told(rows: Tensor, cohort: Cohort, lie: Callable[[int], Tensor]) -> Tensor:
    """The rows, with a lie of its own from every malicious client.  client -> (params,)"""
    changed = rows.clone()
    # A loop over clients, because each one draws from its own stream.
    for place, client in enumerate(cohort.clients):
        if cohort.malicious[place]:
            changed[place] = lie(client)
    return changed


def step_of(rows: Tensor, insight: AdversaryKnowledge) -> Tensor:
    """What the server would make of the rows; where that is not known, their plain mean.

    Zeros stand for a row that is not all numbers, for it would not arrive.
    """
    sound = rows.isfinite().all(dim=1, keepdim=True)  # (clients, 1)
    rows = torch.where(sound, rows, 0.0)
    return rows.mean(dim=0) if insight.fold is None else insight.fold(rows)


def travelling(vector: Tensor | None, rows: Tensor) -> Tensor:
    """Of a model, the parameters that travel; zeros where it is not known.  -> (params,)"""
    if vector is None:
        return rows.new_zeros(rows.shape[1])
    return vector[: rows.shape[1]].to(rows.dtype)
