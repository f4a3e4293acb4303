"""Choice of candidate records and labels that explain a gradient, and whether that is a proof.

The unexplained rest of the whole model's gradient tells how far off a number can be: where that is
less than half a step, only this one number is possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.reconstruction.shared.observed_gradient import Observed, gradient_of
from attacks.reconstruction.shared.record_weights import Layer, exchanged, first_of
from lab.interfaces.columns import Column, cells_of, places, rows_of
from lab.interfaces.views import ServerView

SETTLE = 10  # times that numbers are sought anew
STILL = 1e-7  # spreads: what moves less has settled
FAR = 50.0  # spreads: no number is further out
FITS = 1e-4  # of the gradient's length, that may be left unexplained
HALF = 0.5  # of a step: what is nearer than this to a multiple is nearer to no other
SURE = 8.0  # times the standard error of a number
SPARE = 10  # neurons more than records, at least, to tell noise from numbers


@dataclass(frozen=True, eq=False)
class Account:
    """Records and labels, and the evidence of the gradient for them."""

    records: Tensor  # (records, width) float64
    labels: Tensor  # (records,)
    left: float  # length of the gradient that they leave unexplained, of its own
    blur: float  # how far off a number may be, in steps; the worst of all
    proven: bool  # whether they reproduce the gradient, and nothing near them would


def account(
    view: ServerView, seen: Observed, columns: Sequence[Column], candidates: Tensor
) -> Account | None:
    """Return what the candidates explain; None where they explain nothing.

    candidates (candidates, width)
    """
    layer = Layer.of(view, seen)
    records = snapped(columns, candidates).unique(dim=0)
    weights = layer.told(records)
    there = weights.sum(dim=1) > 0
    found = _weighed(layer, columns, records[there])
    if found and found.left < FITS:
        return found
    tries = [each for each in (found, _merged(layer, columns, records, weights)) if each]
    return min(tries, key=lambda each: each.left, default=None)


def _weighed(layer: Layer, columns: Sequence[Column], records: Tensor) -> Account | None:
    """Keep the records that the gradient contains a whole number of times."""
    there = torch.zeros(1)
    while len(records) and not there.all():
        counts = layer.counted(records)
        there = counts.sum(dim=1) > 0
        records, counts = records[there], counts[there]
    return _settled(layer, columns, records, counts) if len(records) else None


def _merged(
    layer: Layer, columns: Sequence[Column], records: Tensor, weights: Tensor
) -> Account | None:
    """Merge records with the same answers and neighbouring numbers to the one in their middle.

    As long as they switch on the same neurons, two neighbours explain what one between them does.
    """
    answers = records.clone()
    answers[:, numbers_of(columns)] = 0.0
    classes = weights.shape[1]
    _, group = answers.unique(dim=0, return_inverse=True)
    groups = (group.unsqueeze(1) * classes + torch.arange(classes)).flatten()  # by label, too
    every, weights = records.repeat_interleave(classes, dim=0), weights.flatten()
    chosen = []
    for alike in groups[weights > 0].unique():
        mine = ((groups == alike) & (weights > 0)).nonzero().flatten()
        for middle in _middles(every[mine], weights[mine]):
            far = (every - middle).norm(dim=1).masked_fill(groups != alike, torch.inf)
            chosen.append(int(far.argmin()))
    if not chosen:
        return None
    chosen = exchanged(*layer.effects(records), chosen, groups)
    counts = F.one_hot(torch.tensor(chosen) % classes, classes).double()
    return _settled(layer, columns, every[chosen], counts)


def _middles(records: Tensor, weights: Tensor) -> list[Tensor]:
    """Return the mean of each unit of weight, along the line on which the records lie."""
    copies = round(float(weights.sum()))
    if not copies:
        return []
    middle = records.mean(dim=0)
    along = torch.linalg.svd(records - middle, full_matrices=False)[2][0]
    order = ((records - middle) @ along).argsort()
    ends = weights[order].cumsum(0) * copies / weights.sum()
    starts = F.pad(ends[:-1], (1, 0))
    return [(ends.clamp(k, k + 1) - starts.clamp(k, k + 1)) @ records[order] for k in range(copies)]


def _settled(layer: Layer, columns: Sequence[Column], records: Tensor, counts: Tensor) -> Account:
    """Solve for each record's numbers, given all else, repeatedly."""
    at = numbers_of(columns)
    best = _judged(layer, columns, snapped(columns, records), counts)
    for _ in range(SETTLE):
        better = records.clone()
        better[:, at] = layer.refined(records, counts, at)[0].clamp(-FAR, FAR)
        moved = float((better - records).abs().max())
        records = better
        found = _judged(layer, columns, snapped(columns, records), counts)
        best = min(best, found, key=lambda each: each.left)
        if moved < STILL:
            break
    return best


def numbers_of(columns: Sequence[Column]) -> list[int]:
    """Return the places of the numbers in a record."""
    spots = zip(places(columns), columns, strict=True)
    return [where.start for where, column in spots if not column.answers]


def snapped(columns: Sequence[Column], records: Tensor) -> Tensor:
    """Round to the nearest records that the columns can hold.

    (records, width) -> the same shape
    """
    return rows_of(columns, cells_of(columns, records)).double()


def _judged(layer: Layer, columns: Sequence[Column], records: Tensor, counts: Tensor) -> Account:
    each = counts.long().flatten()  # (records * classes,)
    classes = counts.shape[1]
    labels = torch.arange(classes).repeat(len(records)).repeat_interleave(each)
    several = records.repeat_interleave(classes, 0).repeat_interleave(each, 0)
    if not len(labels):
        return Account(several, labels, left=1.0, blur=float("inf"), proven=False)
    sent = layer.view.sent.double().requires_grad_(True)
    rest = layer.seen.gradient - gradient_of(layer.view, sent, several, labels).detach()
    left = float(rest.norm() / layer.seen.gradient.norm().clamp_min(1e-300))
    blur = _blur(layer, columns, records, counts, rest)
    proven = left < FITS and blur < HALF and len(labels) == layer.seen.images
    return Account(several, labels, left, blur, proven)


def _blur(
    layer: Layer, columns: Sequence[Column], records: Tensor, counts: Tensor, rest: Tensor
) -> float:
    """Return how many steps a number may be off at the present quality of explanation."""
    there = counts.sum(dim=1) > 0
    spare = len(layer.gradient) - int(there.sum())
    if spare < SPARE:
        return float("inf")
    stepped = [
        (where.start, column.spread / column.step)
        for where, column in zip(places(columns), columns, strict=True)
        if column.step
    ]
    if not stepped:
        return 0.0
    at = [place for place, _ in stepped]
    asked, moves = layer.refined(records[there], counts[there], at)
    noise = first_of(layer.view, rest)[:, at].square() * len(layer.gradient) / spare
    errors = (moves.square() @ noise).sqrt()  # (records, numbers), as large as to be expected
    off = (asked - records[there][:, at]).abs() + SURE * errors
    return float((off * torch.tensor([steps for _, steps in stepped])).max())
