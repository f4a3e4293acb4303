"""The alarm: what a careful client could notice about the model that it was sent.

It compares with what was agreed on, with the model that it was sent before, and with its own
examples.  Whether a sign is raised follows from that alone; the number of the honest round beside
it is for the reader, who may know both.  Only what no training brings about is raised: dead
neurons, jumps and losses were as large in honest runs at a high rate, and are numbers to look at.
"""

from __future__ import annotations

from math import log
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lab.common.settings import Settings
from lab.interfaces.views import ClientView
from lab.models.layers import Dense, Flatten, Relu
from lab.models.metrics import evaluate
from lab.models.network import Network

ALIKE = 0.9999  # cosine of two rows of weights that point the same way
LEAST = 8  # weights in a row, below which rows may point the same way by chance
MIRRORED = 1e-3  # relative spread of the ratios of two rows' sizes that may be rounding
RARE = 0.1  # share of its examples for which a quiet neuron fires at most


class TamperingSign(Settings):
    """One thing that a client can look at."""

    name: str
    told: str  # a sentence with a number, and the number of the honest round
    raised: bool | None = None  # None: honest rounds have such numbers, too


class TamperingSigns(Settings):
    """What a client could have noticed that was sent a manipulated model."""

    kind: Literal["tampering"] = "tampering"
    signs: tuple[TamperingSign, ...]

    def lines(self) -> list[str]:
        raised = [sign.told for sign in self.signs if sign.raised]
        nothing = "a careful client could have noticed nothing that Leaklab looks at"
        return ["a careful client could have noticed:" if raised else nothing, *raised]


def tampering_signs(
    view: ClientView, usual: ClientView, earlier: Tensor | None = None
) -> tuple[TamperingSign, ...]:
    """What the client can look at in `view`, beside the same in the honest round `usual`.

    earlier (params,): the model of the round before, which it was sent; None: there was none.
    """
    found = [_size(view, usual), _copies(view, usual), _mirrored(view, usual), _quiet(view, usual)]
    if earlier is not None:
        found.append(_jump(view, usual, earlier))
    found.append(_loss(view, usual, earlier))
    return tuple(sign for sign in found if sign)


def _size(view: ClientView, usual: ClientView) -> TamperingSign:
    mine, agreed = view.network, usual.network
    return TamperingSign(
        name="architecture",
        told=f"The model has {mine.size:,} parameters in {len(mine.trained)} layers; agreed were "
        f"{agreed.size:,} in {len(agreed.trained)}.",
        raised=list(mine.slots.items()) != list(agreed.slots.items()),
    )


def _copies(view: ClientView, usual: ClientView) -> TamperingSign:
    (mine, rows), (honest, of) = copies(view.network, view.sent), copies(usual.network, usual.sent)
    return TamperingSign(
        name="copies",
        told=f"{mine} of {rows} rows of weights are zero or point the same way as another; "
        f"{honest} of {of} in the honest round.",
        raised=mine > 0,
    )


def copies(network: Network, sent: Tensor) -> tuple[int, int]:
    """Rows of weights that are zero, or as another of their layer but for a factor; and all."""
    found = total = 0
    for part in network.split(sent).values():
        if part.ndim < 2 or part[0].numel() < LEAST:
            continue
        rows = F.normalize(part.flatten(1).double(), dim=1)
        cosines = (rows @ rows.T).abs().fill_diagonal_(0)
        twin = (cosines > ALIKE).any(dim=1) | (part.flatten(1) == 0).all(dim=1)
        found, total = found + int(twin.sum()), total + len(rows)
    return found, total


def _mirrored(view: ClientView, usual: ClientView) -> TamperingSign:
    mine, rows = mirrored(view.network, view.sent)
    honest, of = mirrored(usual.network, usual.sent)
    return TamperingSign(
        name="mirrored weights",
        told=f"In {mine} of {rows} rows of the first layer, positive weights are as large as "
        f"negative ones but for a factor; in {honest} of {of} in the honest round.",
        raised=mine > 0,
    )


def mirrored(network: Network, sent: Tensor) -> tuple[int, int]:
    """Rows of the first layer whose sizes are the same on both sides of zero; and all."""
    rows = next(iter(network.split(sent).values())).flatten(1)
    if rows.shape[1] < LEAST:
        return 0, len(rows)
    found = 0
    for row in rows.double():
        above, below = row[row > 0].sort().values, -row[row < 0].sort(descending=True).values
        if len(above) == len(below) > 1:
            ratios = above / below
            found += bool(ratios.std() < MIRRORED * ratios.mean())
    return found, len(rows)


def _quiet(view: ClientView, usual: ClientView) -> TamperingSign | None:
    mine, honest = quiet(view), quiet(usual)
    if mine is None or honest is None:
        return None
    return TamperingSign(
        name="quiet neurons",
        told=f"{mine:.0%} of the first layer's neurons fire for at most {RARE:.0%} of its own "
        f"examples; {honest:.0%} in the honest round.",
        raised=None,
    )


def quiet(view: ClientView) -> float | None:
    """Share of quiet neurons in a dense first layer with ReLU; None: there is no such layer."""
    layers = [layer for layer in view.network.layers if not isinstance(layer, Flatten)][:2]
    if [type(layer) for layer in layers] != [Dense, Relu] or not len(view.inputs):
        return None
    weight, bias = list(view.network.split(view.sent).values())[:2]
    fired = (F.linear(view.inputs.flatten(1), weight, bias) > 0).float().mean(dim=0)
    return float((fired <= RARE).float().mean())


def _jump(view: ClientView, usual: ClientView, earlier: Tensor) -> TamperingSign | None:
    if len(view.sent) != len(earlier):
        return None
    length = earlier.norm().clamp_min(1e-12)
    mine, honest = (float((each.sent - earlier).norm() / length) for each in (view, usual))
    return TamperingSign(
        name="jump",
        told=f"Since the round before, the weights have changed by {mine:.2f} of their length; "
        f"by {honest:.2f} in the honest round.",
        raised=None,
    )


def _loss(view: ClientView, usual: ClientView, earlier: Tensor | None) -> TamperingSign | None:
    if not len(view.labels):
        return None
    mine, honest = (_loss_of(each.network, each.sent, view) for each in (view, usual))
    before = log(usual.network.classes)
    if earlier is not None:
        before = _loss_of(usual.network, earlier, view)
    source = "under the model before" if earlier is not None else "for a guess"
    return TamperingSign(
        name="loss",
        told=f"The loss on its own examples is {mine:.2f}, and {before:.2f} {source}; "
        f"{honest:.2f} in the honest round.",
        raised=None,
    )


def _loss_of(network: Network, sent: Tensor, view: ClientView) -> float:
    loss = evaluate(network, sent, view.inputs, view.labels)[1]
    return torch.inf if loss is None else loss
