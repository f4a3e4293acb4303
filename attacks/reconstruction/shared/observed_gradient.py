"""Helpers of reconstruction attacks: reading an update as a gradient, and labels from it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.reconstruction.shared.label_counting import TOO_WIDE, Causes, roughly
from lab.common.apportionment import apportioned
from lab.common.settings import SettingError
from lab.interfaces.views import AuxiliaryInfo, ServerView


@dataclass(frozen=True, eq=False)
class Observed:
    """An update, read as the mean gradient of the examples behind it."""

    gradient: Tensor  # (params,) float64
    images: int  # how many examples are behind it
    size: int  # how many each of its clients holds, as far as the server knows


def observe(view: ServerView, target: int) -> Observed:
    """Read the target's row; the server knows the recipe and how many examples a client reports.

    Exact for one local step; for more steps it is the mean over the path.  Under secure
    aggregation the row is the mean over all who sent, and so are the examples behind it.
    """
    row, recipe = view.row_of(target), view.recipe
    senders = len(view.senders[row])
    reported = float(view.weights[row]) / senders if recipe.weighted else recipe.mean_size
    size = max(1, round(reported))
    gradient = view.rows[row].double() / (-recipe.rate * recipe.local_steps(size))
    return Observed(gradient, recipe.images(size) * senders, size)


def whole(view: ServerView, kind: str) -> None:
    """Return the gradient.  Raises SettingError where some layers keep theirs with the client."""
    if view.shared < view.network.size:
        raise SettingError(
            f"{kind} needs the gradient of every layer, and here the last ones never leave the "
            "client: use first-layer"
        )


def label_counts(view: ServerView, seen: Observed, known: AuxiliaryInfo) -> Tensor:
    """Count the examples of each class behind the row.  -> (classes,) int

    For one example the sign of the last bias's gradient tells: the only negative entry (Zhao et
    al. 2020, arXiv:2001.02610).  For more examples, `counting` tells.  Several local steps are
    treated
    as one from the middle of the clients' path, which is an approximation.
    """
    classes = view.network.classes
    if view.shared < view.network.size:  # nothing is known, and every class as likely
        return apportioned(torch.ones(classes), seen.images)
    of = view.network.split(seen.gradient)
    if seen.images == 1:
        return F.one_hot(of["out.bias"].argmin(), classes)
    later = view.recipe.rate * (view.recipe.local_steps(seen.size) - 1) / 2
    model = view.sent - later * seen.gradient.to(view.sent.dtype)
    if classes > TOO_WIDE:
        wanted = roughly(view.network, model, known, of["out.bias"], seen.images)
    else:
        causes = Causes.of(view.network, model, known)
        wanted = causes.likeliest(causes.seen(of["out.weight"], of["out.bias"]), seen.images)
    wanted = wanted.clamp_min(0)
    told = 0 < float(wanted.sum()) < inf  # noise may leave nothing
    return apportioned(wanted if told else torch.ones(classes), seen.images)


def labels_from(counts: Tensor, most: int) -> Tensor:
    """Return the labels behind the counts, thinned out evenly to `most` of them.  -> (labels,)"""
    labels = torch.arange(len(counts)).repeat_interleave(counts)
    if len(labels) <= most:
        return labels
    return labels[torch.linspace(0, len(labels) - 1, most).round().long()]


def legal(inputs: Tensor, view: ServerView) -> Tensor:
    """Clip to legal values: pixels lie in [0, 1]; a table's columns may be anything finite."""
    finite = inputs.float().nan_to_num(0.0, 0.0, 0.0)
    return finite.clamp(0, 1) if len(view.network.shape) == 3 else finite


def total_variation(inputs: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbouring pixels, summed; zero for tables.

    inputs (examples, *shape) -> ()
    """
    if inputs.ndim < 4:
        return 0 * inputs.sum()
    return len(inputs) * (inputs.diff(dim=-2).abs().mean() + inputs.diff(dim=-1).abs().mean())


def gradient_of(view: ServerView, sent: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient that these examples cause, itself differentiable in the inputs.

    labels: classes (examples,), or shares of each class (examples, classes)
    sent (params,) that requires grad -> (params,)
    """
    loss = F.cross_entropy(view.network(sent, inputs), labels)
    return torch.autograd.grad(loss, sent, create_graph=True)[0]
