"""Imprint: a planted layer sorts examples into bins.  Fowl et al. 2022, arXiv:2110.13057.

Every bin is one interval of brightness, with equally many public examples in each; pixels have
slightly different weights, so that no two examples are equally bright.  The gradient of a bin with
a
single example is that example, however many others there are.  Therefore the attack works on sums,
too (Zhao et al. 2023, arXiv:2303.12233).  LOKI's other trick, a different model for every client,
is
left out: masks that are bound to the model that was sent would not cancel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from attacks.reconstruction.shared.imprint_module import (
    GAIN,
    NAME,
    Implanted,
    before,
    edges_of,
    step_of,
)
from attacks.reconstruction.shared.observed_gradient import legal, observe, whole
from lab.common.random_streams import random_stream, uniform
from lab.common.settings import SettingError
from lab.interfaces.attack_data import ManipulatedModel, ReconstructedBatch
from lab.interfaces.privacy_attacks import ActiveReconstructionAttack
from lab.interfaces.views import AuxiliaryInfo, ServerView
from lab.models.layers import Convolution, Dense, Flatten, Layer, Relu
from lab.models.network import Network

INSIDE = 0.02  # of a bin's width, or of the pixels' range: how far beyond a reading may lie
FAINT = 1e-5  # of the strongest bin: less is rounding


class Imprint(ActiveReconstructionAttack):
    """Plants bins of brightness in the model; exact for every example that is alone in its bin."""

    kind: Literal["imprint"] = "imprint"
    title: ClassVar[str] = "Imprint module (Robbing the Fed)"
    source: ClassVar[str] = "Fowl et al. 2022, arXiv:2110.13057; Zhao et al. 2023, arXiv:2303.12233"
    attacker: ClassVar[str] = "a server that sends a manipulated model"
    knows: ClassVar[str] = "the architecture, the training recipe, and public examples"
    fails: ClassVar[str] = "many more examples than bins, noise; clients who inspect their model"
    bins: int = Field(
        256,
        ge=2,
        le=1024,
        description=(
            "number of bins of a planted module; in a dense layer, its neurons are the bins"
        ),
    )
    module: bool = Field(
        False,
        description=(
            "plant a module even where the model's own neurons would do: dense and ReLU first, "
            "one local step"
        ),
    )
    seed: int = Field(0, ge=0, le=2**31, description="seed of the pixels' weights")

    def check(self, network: Network) -> None:
        if not isinstance(_layers(network)[0], (Dense, Convolution)):
            raise SettingError(
                f"imprint measures the brightness of numbers, and {network.model.kind} begins "
                "with something else: choose a run on pictures or tables"
            )

    def plant(self, view: ServerView, known: AuxiliaryInfo) -> ManipulatedModel:
        """Manipulate the model.

        Raises SettingError without public examples or if layers stay local.
        """
        whole(view, self.kind)
        if not len(known.inputs):
            raise SettingError("imprint needs public examples to lay its bins: choose another run")
        network, sent, pixels = view.network, view.sent.clone(), prod(view.network.shape)
        eye = (0.5 + uniform(random_stream(self.seed, "imprint"), pixels)) / pixels
        public = known.inputs.flatten(1) @ eye  # (public,) brightness
        steps = view.recipe.local_steps(max(1, round(view.recipe.mean_size)))
        if not self.module and steps == 1 and _neurons(network):
            neurons = next(iter(network.slots.values()))[1][0]
            edges = edges_of(public, neurons)
            scale = 1 / (neurons * (edges[-1] - edges[0]))
            weight = (scale * eye).expand(neurons, pixels)
            _write(network, sent, weight, -scale * edges[:-1])
            return ManipulatedModel(network, sent)
        edges = edges_of(public, self.bins)
        scale = step_of(self.bins) / edges.diff()
        weight = scale.unsqueeze(1) * eye  # (bins, pixels)
        implanted = Network(
            Implanted(host=network.model, bins=self.bins), network.shape, network.classes
        )
        return ManipulatedModel(implanted, before(weight, -scale * edges[:-1], sent))

    def __call__(
        self, view: ServerView, target: int, known: AuxiliaryInfo
    ) -> Iterator[ReconstructedBatch]:
        """Yield one guess: the bins that resemble an example, strongest first."""
        seen = observe(view, target)
        bins = Readings.of(view, seen.gradient)
        found = bins.best(seen.images)
        inputs = legal(bins.inputs[found].view(-1, *view.network.shape), view)
        labels = _labels(view, inputs, bins.errors[found] * seen.images)
        missing = 1 - int(bins.sound[found].sum()) / seen.images
        yield ReconstructedBatch(inputs, labels, step=1, steps=1, objective=missing)


@dataclass(frozen=True, eq=False)
class Readings:
    """The reading of each bin's gradient."""

    inputs: Tensor  # (bins, pixels) float64: the example, if it was alone
    errors: Tensor  # (bins,) the slope of the bias, and so of the example's loss
    sound: Tensor  # (bins,) bool: strong, in the range of pixels, and bright as its bin

    @classmethod
    def of(cls, view: ServerView, gradient: Tensor) -> Readings:
        name = next(iter(view.network.slots)).removesuffix(".weight")
        sent, of = view.network.split(view.sent.double()), view.network.split(gradient)
        weight, bias = sent[f"{name}.weight"], sent[f"{name}.bias"]
        slopes, errors = of[f"{name}.weight"], of[f"{name}.bias"]
        edges = -bias / weight.sum(dim=1)  # (bins,) of brightness
        if name != NAME:  # a neuron fires for all that is brighter: the next one takes those off
            slopes, errors = _less(slopes), _less(errors)
        inputs = slopes / errors.unsqueeze(1)
        width = edges.diff(append=edges.new_full((1,), torch.inf))
        shares = weight / weight.sum(dim=1, keepdim=True)
        place = ((inputs * shares).sum(dim=1) - edges) / width.clamp_max(
            float(edges.max() - edges.min())
        )
        sound = (place > -INSIDE) & (place < 1 + INSIDE) & inputs.isfinite().all(dim=1)
        if len(view.network.shape) == 3:
            sound &= ((inputs > -INSIDE) & (inputs < 1 + INSIDE)).all(dim=1)
        return cls(inputs, errors, sound & (errors.abs() > FAINT * errors.abs().max()))

    def best(self, most: int) -> Tensor:
        """Return the sound bins, or the strongest of all where none is.

        -> (found,), at least one
        """
        order = self.errors.nan_to_num().abs().argsort(descending=True)
        return (order[self.sound[order]] if self.sound.any() else order)[:most]


def _layers(network: Network) -> list[Layer]:
    return [layer for layer in network.layers if not isinstance(layer, Flatten)]


def _neurons(network: Network) -> bool:
    """Return whether the model's first layer can be bins, and its second passes equal slopes."""
    return [type(layer) for layer in _layers(network)[:3]] == [Dense, Relu, Dense]


def _write(network: Network, sent: Tensor, weight: Tensor, bias: Tensor) -> None:
    """Write bins into the first layer, and equal weights after each of them, in place."""
    parts = network.split(sent)
    first, first_bias, after, after_bias = list(network.slots)[:4]
    parts[first].copy_(weight)
    parts[first_bias].copy_(bias)
    parts[after].copy_(_fan(len(parts[after])).unsqueeze(1).expand_as(parts[after]))
    parts[after_bias].zero_()


def _fan(outputs: int) -> Tensor:
    """Return 1, -1 and more, none near their mean, so that every label leaves a slope."""
    place = torch.arange(outputs)
    return (1 - 2 * (place % 2)) * (1 + place / outputs)


def _less(slopes: Tensor) -> Tensor:
    """Subtract the next row from each row."""
    return torch.cat([slopes[:-1] - slopes[1:], slopes[-1:]])


def _labels(view: ServerView, inputs: Tensor, errors: Tensor) -> Tensor:
    """Return the labels whose loss has a slope next to the seen one.

    errors (guesses,) -> (guesses,)
    """
    network = view.network
    layers = list(zip(network.layers, network.owned(network.split(view.sent)), strict=True))
    first = next(place for place, (_, own) in enumerate(layers) if own)
    outputs = inputs
    for layer, own in layers[: first + 1]:
        outputs = layer(own, outputs)
    if isinstance(layers[first][0], Dense):  # one neuron for all: they have the same weights after
        first += 1
        outputs = outputs.relu()
        tangents = F.one_hot(torch.zeros(len(outputs)).long(), outputs.shape[1]).float()
    else:
        tangents = torch.full_like(outputs, GAIN)

    def rest(values: Tensor) -> Tensor:
        for layer, own in layers[first + 1 :]:
            values = layer(own, values)
        return values

    with torch.enable_grad():
        by = torch.zeros(len(outputs), *[1] * (outputs.ndim - 1), requires_grad=True)
        logits = rest(outputs.detach() + by * tangents)
        each = [torch.autograd.grad(one.sum(), by, retain_graph=True)[0] for one in logits.T]
    moves = torch.stack([one.flatten() for one in each], dim=1)  # (guesses, classes)
    slopes = (logits.detach().softmax(dim=1) * moves).sum(dim=1, keepdim=True) - moves
    nearest: Tensor = (slopes - errors.float().unsqueeze(1)).abs().argmin(dim=1)
    return nearest
