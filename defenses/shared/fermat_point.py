"""The geometric median of weighted points, exactly. Vardi and Zhang 2000, PNAS 97."""

from __future__ import annotations

import torch
from torch import Tensor

from defenses.shared.distances import gaps

EXACT = 1e-12  # of all weight: as near to balance as float64 comes with ease
COLUMNS = 4096  # at a time


def fermat(rows: Tensor, weights: Tensor) -> tuple[Tensor, bool]:
    """Return each row's share in the median, and whether the median is a row or a midpoint of two.

    rows (clients, params), weights (clients,) above 0 -> (clients,), float64, that sum to 1
    """
    weights = weights.double() / weights.double().sum()
    lengths = gaps(rows).sqrt()
    # Equal rows are one point that has their weights together.
    same = (lengths == 0).to(torch.uint8).argmax(dim=1)  # (clients,) the first that is equal
    places, where = same.unique(return_inverse=True)
    masses = weights.new_zeros(len(places)).index_add(0, where, weights)
    costs = lengths[places][:, places] @ masses  # (places,)
    points = _coordinates(rows[places], int(costs.argmin()))
    held, settled = _held(points, masses, costs)
    shares = weights * held[where]
    return shares / shares.sum(), settled


def _held(points: Tensor, masses: Tensor, costs: Tensor) -> tuple[Tensor, bool]:
    """Return the share of each unit of mass in the median (points,), and whether it is a point."""
    # If it is one of the points, it is the best of them.
    best = [int(place) for place in (costs <= costs.min() * (1 + EXACT)).nonzero()]
    best = [place for place in best if _balanced(points, masses, place)]
    held = torch.zeros_like(masses)
    held[best] = 1.0
    if len(best) == 1:
        return held, True
    if best:  # all on a line, so that what is between the two is as good; or only nearly so
        at = (held * masses) @ points / (held @ masses)
        if torch.linalg.vector_norm(_pull(at, points, masses)[0]) <= EXACT:
            return held, True
    else:
        at = _beside(points, masses, int(costs.argmin()))
    return _pull(_descend(at, points, masses), points, torch.ones_like(masses))[2], False


def _coordinates(rows: Tensor, centre: int) -> Tensor:
    """Express the rows in the space that they span, one at the origin.  -> (rows, dimensions)

    Householder's QR is as exact for each row as if there were no others: a row with huge values
    does
    not blur the honest ones.
    """
    blocks = [block.double().T for block in rows.split(COLUMNS, dim=1)]
    factors = [torch.linalg.qr(block - block[:, [centre]], mode="r").R for block in blocks]
    points: Tensor = torch.linalg.qr(torch.cat(factors), mode="r").R.T
    points[centre] = 0.0
    return points


def _pull(at: Tensor, points: Tensor, masses: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradient between points, the unit directions and the forces mass / length."""
    ways = at - points
    lengths = torch.linalg.vector_norm(ways, dim=1).clamp_min(1e-200)
    units = ways / lengths.unsqueeze(1)
    return masses @ units, units, masses / lengths


def _balanced(points: Tensor, masses: Tensor, place: int) -> bool:
    """Return whether the pull of all other points is at most the point's own mass."""
    others = torch.arange(len(points)) != place
    pull = _pull(points[place], points[others], masses[others])[0]
    return bool(torch.linalg.vector_norm(pull) <= masses[place] + EXACT)


def _beside(points: Tensor, masses: Tensor, place: int) -> Tensor:
    """Move from the point at the origin along the others' pull, to where the sum is smaller."""
    others = torch.arange(len(points)) != place
    pull, _, forces = _pull(points[place], points[others], masses[others])
    away = 1 - masses[place] / torch.linalg.vector_norm(pull)
    beside: Tensor = -away * pull / forces.sum()
    return beside


def _descend(at: Tensor, points: Tensor, masses: Tensor) -> Tensor:
    """Minimise the sum of distances by Newton's steps.  at (dimensions,) -> (dimensions,)"""
    for _ in range(100):
        pull, units, forces = _pull(at, points, masses)
        if torch.linalg.vector_norm(pull) <= EXACT:
            break
        # Nearly on a line it is nearly singular, and its rounding must not turn it over.
        floor = (1 + 1e-14) * forces.sum() * torch.eye(len(at), dtype=at.dtype)
        bend = floor - units.T @ (forces.unsqueeze(1) * units)
        step = torch.linalg.solve(bend, -pull)
        at = at + _reach(at, step, points, masses) * step
    return at


def _reach(at: Tensor, step: Tensor, points: Tensor, masses: Tensor) -> float:
    """Return how much of a step to take: halve it while it ends where the sum rises again.

    Slopes decide, because rounding of a far row's distance hides changes of the sum itself.
    """
    start, reach = float(_pull(at, points, masses)[0] @ step), 1.0
    while reach > 1e-9 and float(_pull(at + reach * step, points, masses)[0] @ step) > -start / 4:
        reach /= 2
    return reach
