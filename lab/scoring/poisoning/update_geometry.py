"""Geometry: how the updates of a round lie, as the experimenter sees who is malicious.

The map is a principal component analysis (Pearson 1901, Philosophical Magazine 2) by way of inner
products, so that it costs no more for a large model than reading the updates once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lab.scoring.poisoning.detection import Detection, detect

BLOCK = 1 << 16  # coordinates at once: double precision of all of them would fill the memory
TINY = 1e-30  # a length that counts as none
ROUNDING = 1e-15  # of a square, in double precision
DETECTORS = {
    "distance": "how far an update lies from the coordinate-wise median",
    "angle": "one minus its mean cosine to the others",
    "length": "how much longer or shorter it is than the median update",
    "neighbours": "the squared distances to its nearest others, as Krum adds them up",
}


@dataclass(frozen=True, eq=False)
class Geometry:
    """The rows of a round, by what they have to do with each other."""

    malicious: Tensor  # (clients,) bool: what no detector sees
    lengths: Tensor  # (clients,) float64
    cosines: Tensor  # (clients, clients) float64; 0 for a row of zeros
    places: Tensor  # (clients, 2) float64, on the two axes along which rows differ most
    explained: tuple[float, float]  # share of the rows' variance on each axis
    nothing: tuple[float, float]  # where an update that changes nothing lies
    step: tuple[float, float] | None  # where the server's step lies
    detections: tuple[Detection, ...]  # none where there is only one kind of client

    def sentences(self) -> list[str]:
        """How alike updates are within and across kinds, and what the map leaves out."""
        told, bad = [], self.malicious
        if 0 < bad.sum() < len(bad):
            ratio = _middle(self.lengths[bad]) / (_middle(self.lengths[~bad]) + TINY)
            told.append(
                f"A malicious update is {ratio:.3g} times as long as an honest one (median)"
            )
        kinds = (
            (~bad, ~bad, "between honest updates"),
            (bad, bad, "between malicious ones"),
            (~bad, bad, "between the two kinds"),
        )
        alike = [(self._alike(one, other), words) for one, other, words in kinds]
        known = [f"{cosine:.2f} {words}" for cosine, words in alike if cosine is not None]
        told += [f"Mean cosine {', '.join(known)}"] if known else []
        return [*told, f"The map shows {sum(self.explained):.0%} of the variance"]

    def _alike(self, one: Tensor, other: Tensor) -> float | None:
        """The mean cosine of a client of each kind; None where there is no pair."""
        pairs = one[:, None] & other & ~torch.eye(len(one), dtype=torch.bool)
        return float(self.cosines[pairs].mean()) if pairs.any() else None


def geometry(rows: Tensor, malicious: Tensor, step: Tensor | None = None) -> Geometry:
    """rows (clients, params), malicious (clients,) bool, step (params,)"""
    products = _products(rows, rows)  # (clients, clients)
    lengths = products.diagonal().sqrt()
    sizes = torch.where(lengths > 0, lengths, torch.inf)
    cosines = (products / sizes[:, None] / sizes).clamp(-1, 1)
    marks = [torch.zeros(len(rows), dtype=torch.float64)]
    marks += [] if step is None else [_products(rows, step[None])[:, 0]]
    places, explained, marked = _projected(products, torch.stack(marks))
    found = _suspicions(rows, products, lengths, cosines)
    detections = [detect(name, found[name].numpy(), malicious.numpy()) for name in DETECTORS]
    return Geometry(
        malicious=malicious,
        lengths=lengths,
        cosines=cosines,
        places=places,
        explained=explained,
        nothing=marked[0],
        step=None if step is None else marked[1],
        detections=tuple(each for each in detections if each),
    )


def _products(rows: Tensor, others: Tensor) -> Tensor:
    """Inner products in double precision.  (n, params), (m, params) -> (n, m)"""
    found = torch.zeros(len(rows), len(others), dtype=torch.float64)
    for one, other in zip(rows.split(BLOCK, dim=1), others.split(BLOCK, dim=1), strict=True):
        found += one.double() @ other.double().T
    return found


def _projected(
    products: Tensor, marks: Tensor
) -> tuple[Tensor, tuple[float, float], list[tuple[float, float]]]:
    """Where rows and marks lie on the first two principal axes, and the variance of those.

    products (clients, clients): of rows; marks (marks, clients): of each mark with all rows
    """
    mean = products.mean(dim=0)  # (clients,) of the mean row with each
    centred = products - mean - mean[:, None] + mean.mean()
    values, vectors = torch.linalg.eigh(centred)
    values, vectors = values.flip(0)[:2].clamp_min(0), vectors.flip(1)[:, :2]
    if len(values) < 2:  # a single client
        values, vectors = torch.zeros(2).double(), torch.zeros(len(products), 2).double()
    whole = float(centred.trace())
    if whole <= ROUNDING * float(products.trace()):  # all rows are alike
        whole = torch.inf
    stretch = torch.where(values > 1e-12 * whole, values, 0).sqrt()  # (2,)
    # An axis has no side of its own: the client farthest out is on the right, and above.
    far = vectors.abs().argmax(dim=0, keepdim=True)
    vectors = vectors * vectors.gather(0, far).sign()
    # <mark - mean, row - mean> of each mark and row, along the axes.
    beside = marks - mean - marks.mean(dim=1, keepdim=True) + mean.mean()
    marked = torch.where(stretch > 0, beside @ vectors / stretch, 0.0)
    one, other = (values / whole).tolist()
    return vectors * stretch, (one, other), [(x, y) for x, y in marked.tolist()]


def _suspicions(
    rows: Tensor, products: Tensor, lengths: Tensor, cosines: Tensor
) -> dict[str, Tensor]:
    """What each detector thinks of each row, and none knows who is malicious.  -> (clients,)"""
    clients = len(rows)
    median = torch.from_numpy(np.median(rows.numpy(), axis=0))  # (params,)
    gaps = lengths.square() - 2 * products + lengths.square()[:, None]  # (clients, clients)
    gaps = gaps.clamp_min(0).fill_diagonal_(torch.inf).sort(dim=1).values
    # As many neighbours as Krum has when it expects as many malicious clients as it can stand.
    nearest = max(1, clients - max(0, (clients - 3) // 2) - 2)
    others = (cosines.sum(dim=1) - cosines.diagonal()) / max(1, clients - 1)
    return {
        "distance": torch.linalg.vector_norm(rows - median, dim=1, dtype=torch.float64),
        "angle": (1 - others).round(decimals=12),
        "length": ((lengths + TINY) / (_middle(lengths) + TINY)).log().abs(),
        "neighbours": gaps[:, :nearest].sum(dim=1).nan_to_num(posinf=0.0),
    }


def _middle(values: Tensor) -> float:
    """The median, of an even number the mean of the two middles."""
    return float(values.quantile(0.5))
