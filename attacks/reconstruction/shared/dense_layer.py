"""The first dense layer with ReLU as a server sees its gradient, and the separation of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.reconstruction.shared.certificate import agreeing
from attacks.reconstruction.shared.disaggregation import Mixture, components, settled, sparsest
from attacks.reconstruction.shared.observed_gradient import observe
from lab.common.random_streams import random_stream
from lab.common.settings import SettingError
from lab.interfaces.views import ServerView
from lab.models.layers import Dense, MaxPool, Relu
from lab.models.network import Network

SHARPNESS = 1.0, 3.0  # of the component analysis, in turn


@dataclass(frozen=True, eq=False)
class Found:
    """The state of the search."""

    mixing: Tensor  # (rank, rank): errors of each example, in the basis of the mixture
    agree: int  # examples that bear themselves out
    exact: int  # those that must be right to the last digit
    step: int


def place_of(network: Network) -> int | None:
    """Return the place of the first dense layer that a ReLU follows."""
    kinds = [type(layer) for layer in network.layers]
    place = kinds.index(Dense)  # the last layer of every model is one
    return place if kinds[place + 1 : place + 2] == [Relu] else None


def _dense(network: Network) -> Dense:
    return next(layer for layer in network.layers if isinstance(layer, Dense))


def mixture_of(view: ServerView, target: int, most: int) -> Mixture:
    """Build the mixture.  Raises SettingError where the layer's gradient stays with the client."""
    layer = _dense(view.network)
    names = [f"{layer.name}.{part}" for part in ("weight", "bias")]
    if view.network.slots[names[1]][0].stop > view.shared:
        raise SettingError(f"{names[0]} never leaves the client: use label-counts or first-layer")
    seen = observe(view, target)
    gradient, sent = (
        torch.cat([of[names[0]], of[names[1]].unsqueeze(1)], dim=1)
        for of in map(view.network.split, (seen.gradient, view.sent.double()))
    )
    expected = most + 1 if view.recipe.poisson else seen.images
    return Mixture.of(gradient, sent, expected, most, *_bounds(view.network))


def _bounds(network: Network) -> tuple[float, float]:
    """Return the bounds of the layer's inputs."""
    before = network.layers[: place_of(network)]
    if any(isinstance(layer, Relu | MaxPool) for layer in before):
        return 0.0, inf
    return (0.0, 1.0) if len(network.shape) == 3 else (-inf, inf)


def taken_apart(mixture: Mixture, starts: int, seed: int) -> Iterator[Found]:
    """Yield the best result after each random start; ends when every example is confirmed."""
    best = kept = mixture.errors.new_zeros(0, mixture.rank)
    most = exact = -1
    for step in range(1, (starts if mixture.clean else 1) + 1):  # noise hides zeros: one try
        drawn = random_stream(seed, "spear", step).standard_normal((mixture.rank, mixture.rank))
        rows = mixture.errors if step % 2 else mixture.directions
        start = components(rows, torch.from_numpy(drawn), SHARPNESS[step // 2 % 2])
        found = settled(mixture, start)
        kept = sparsest(mixture, torch.cat([kept, found]))
        for mixing in (found, kept):
            if len(mixing) == mixture.rank:
                agree, certain = (int(each.sum()) for each in agreeing(mixture, mixing))
                if agree > most:
                    best, most, exact = mixing, agree, certain
        yield Found(best, most, exact, step)
        if most == mixture.rank:
            return


def labels_of(view: ServerView, features: Tensor, errors: Tensor) -> Tensor:
    """Return the labels with which the model makes errors in that direction.

    features (examples, inputs) of the layer, errors (examples, neurons), at any scale
    -> (examples,)
    """
    classes = view.network.classes
    if view.shared < view.network.size:  # the last layers are the client's own
        return torch.arange(len(features)) % classes
    place = view.network.layers.index(_dense(view.network))
    own = view.network.owned(view.network.split(view.sent))[place:]
    layers = view.network.layers[place:]
    first = layers[0](own[0], features.repeat_interleave(classes, dim=0))
    first = outputs = first.detach().requires_grad_(True)  # (examples * classes, neurons)
    for layer, params in zip(layers[1:], own[1:], strict=True):
        outputs = layer(params, outputs)
    labels = torch.arange(classes).repeat(len(features))
    loss = F.cross_entropy(outputs, labels, reduction="sum")
    slopes = torch.autograd.grad(loss, first)[0].view(len(features), classes, -1)
    likeness = F.cosine_similarity(slopes, errors.unsqueeze(1), dim=2, eps=1e-20)
    return likeness.argmax(dim=1)
