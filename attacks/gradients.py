"""What the reconstruction attacks share: reading a row as a gradient, and labels off it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lab.settings import SettingError
from lab.views import ServerView

AGREED = 0.15  # total variation between two predictions that may pass for one


@dataclass(frozen=True, eq=False)
class Observed:
    """A row, read as the mean gradient of the examples behind it."""

    gradient: Tensor  # (params,) float64
    images: int  # how many examples are behind it
    size: int  # how many each of its clients holds, as far as the server knows


def observe(view: ServerView, target: int) -> Observed:
    """The server knows the recipe, and how many examples a client reports.

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
    """Raises SettingError where some layers keep their gradient to themselves."""
    if view.shared < view.network.size:
        raise SettingError(
            f"{kind} needs the gradient of every layer, and here the last ones never leave the "
            "client: use first-layer"
        )


def label_counts(view: ServerView, seen: Observed) -> Tensor:
    """How many examples of each class are behind the row.  -> (classes,) int

    The gradient of the last bias is mean(probability - one-hot), so counts = B (p - gradient),
    where p is what the model thinks of the batch on average: see `likely`.  For one example the
    sign alone tells: the only negative entry (Zhao et al. 2020, arXiv:2001.02610).
    """
    if view.shared < view.network.size:  # nothing is known, and every class as likely
        return _whole(
            torch.full((view.network.classes,), seen.images / view.network.classes), seen.images
        )
    place, _ = view.network.slots["out.bias"]
    bias = seen.gradient[place]  # (classes,)
    if seen.images == 1:
        return F.one_hot(bias.argmin(), len(bias))
    wanted = (seen.images * (likely(view, seen) - bias)).clamp_min(0)
    return _whole(wanted * (seen.images / wanted.sum().clamp_min(1e-12)), seen.images)


def likely(view: ServerView, seen: Observed) -> Tensor:
    """What the model that was sent thinks of the private examples on average.  -> (classes,)

    Two witnesses: its mean prediction for noise, and its prediction for the feature vector behind
    the last layer's gradient, as if all examples had the same.  A model that has learnt little
    thinks alike of all pictures, so the witnesses agree and are right.  Where they do not, each
    class is as likely.
    """
    noise = torch.rand(256, *view.network.shape, generator=torch.Generator().manual_seed(0))
    of_noise = view.network(view.sent, noise).softmax(dim=1).mean(dim=0).double()
    error, last = view.network.split(seen.gradient), view.network.split(view.sent.double())
    weight, bias = error["out.weight"], error["out.bias"]
    feature = bias @ weight / bias.square().sum().clamp_min(1e-300)  # least squares
    of_feature = (last["out.weight"] @ feature + last["out.bias"]).softmax(dim=0)
    if (of_noise - of_feature).abs().sum() / 2 < AGREED:
        return (of_noise + of_feature) / 2
    return torch.full_like(of_noise, 1 / len(of_noise))


def _whole(wanted: Tensor, total: int) -> Tensor:
    """Whole numbers that sum to `total`, nearest to `wanted` (largest remainders)."""
    counts = wanted.floor()
    rest = total - int(counts.sum())
    counts[(wanted - counts).argsort(descending=True)[:rest]] += 1
    return counts.long()


def labels_from(counts: Tensor, most: int) -> Tensor:
    """The labels behind the counts, thinned out evenly to `most` of them.  -> (labels,)"""
    labels = torch.arange(len(counts)).repeat_interleave(counts)
    if len(labels) <= most:
        return labels
    return labels[torch.linspace(0, len(labels) - 1, most).round().long()]


def legal(inputs: Tensor, view: ServerView) -> Tensor:
    """Pixels lie in [0, 1]; the columns of a table may be anything finite."""
    finite = inputs.float().nan_to_num(0.0, 0.0, 0.0)
    return finite.clamp(0, 1) if len(view.network.shape) == 3 else finite


def gradient_of(view: ServerView, sent: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    """The gradient that these examples would have caused, itself differentiable in the inputs.

    labels: classes (examples,), or shares of each class (examples, classes)
    sent (params,) that requires grad -> (params,)
    """
    loss = F.cross_entropy(view.network(sent, inputs), labels)
    return torch.autograd.grad(loss, sent, create_graph=True)[0]
