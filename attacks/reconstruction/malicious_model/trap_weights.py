"""Trap weights: neurons that fire for few examples.  Boenisch et al. 2023, arXiv:2112.02918.

Half of a neuron's weights are negative and slightly outweigh the others (section 4.2), so that most
pictures do not activate it.  If a single picture activates it, its gradient is that picture.  The
server can tell such a reading from a mixture, which the paper leaves open: the model's error on the
reading is the one that was seen.  Readings found in this way are subtracted, which leaves further
pictures alone in their neurons.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from numpy.random import Generator
from pydantic import Field
from torch import Tensor

from attacks.reconstruction.shared.observed_gradient import legal, observe, whole
from lab.common.random_streams import normal, random_stream
from lab.common.settings import SettingError
from lab.interfaces.attack_data import ManipulatedModel, ReconstructedBatch
from lab.interfaces.privacy_attacks import ActiveReconstructionAttack
from lab.interfaces.views import AuxiliaryInfo, ServerView
from lab.models.layers import Dense, Flatten, Relu
from lab.models.network import Network

INSIDE = 0.02  # how far beyond the range of pixels a reading may lie
SAME = 0.01  # root mean square difference of two readings of one picture
AGREED = 1e-3  # relative difference of an error that may be rounding
FAINT = 1e-4  # of the strongest neuron: less is rounding
TURNS = 30  # of taking off what is certain
LEVELS = 0.0, 4.0  # logarithms: pictures of a batch that set a neuron off, from 1 to 55
MOST = 0.4  # share of pictures that set a neuron off, at most


class TrapWeights(ActiveReconstructionAttack):
    """Plants neurons that few pictures activate; exact for every picture alone in some neuron."""

    kind: Literal["trap-weights"] = "trap-weights"
    title: ClassVar[str] = "Trap weights"
    source: ClassVar[str] = "Boenisch et al. 2023, arXiv:2112.02918, section 4.2"
    attacker: ClassVar[str] = "a server that sends a manipulated model"
    knows: ClassVar[str] = "the architecture, the training recipe, and public examples"
    fails: ClassVar[str] = (
        "models other than two dense layers with ReLU, several local steps, noise"
    )
    scale: float = Field(
        0.0,
        ge=0,
        le=2,
        description=(
            "factor on positive weights beside negative ones, 0.95 as published; 0: each neuron "
            "is activated by public pictures as often as by one in a batch"
        ),
    )
    seed: int = Field(0, ge=0, le=2**31, description="seed of the weights")

    def check(self, network: Network) -> None:
        layers = [type(layer) for layer in network.layers if not isinstance(layer, Flatten)]
        if layers != [Dense, Relu, Dense] or len(network.shape) != 3:
            raise SettingError(
                "trap-weights needs pictures, and a model of two dense layers with ReLU, such as "
                f"mlp; this is {network.model.kind} on inputs of {network.shape}: "
                "use imprint"
            )

    def plant(self, view: ServerView, known: AuxiliaryInfo) -> ManipulatedModel:
        """Manipulate the model.

        Raises SettingError without public examples or if layers stay local.
        """
        self.check(view.network)
        whole(view, self.kind)
        sent, parts = view.sent.clone(), list(view.network.slots)
        neurons, pixels = view.network.slots[parts[0]][1]
        weight = traps(neurons, pixels, random_stream(self.seed, "traps"))
        weight *= torch.where(weight > 0, self._scales(weight, view, known).unsqueeze(1), 1.0)
        of = view.network.split(sent)
        of[parts[0]].copy_(weight)
        of[parts[1]].zero_()
        return ManipulatedModel(view.network, sent)

    def _scales(self, weight: Tensor, view: ServerView, known: AuxiliaryInfo) -> Tensor:
        """Return the factor on each neuron's positive weights.  -> (neurons,)"""
        if self.scale:
            return torch.full((len(weight),), self.scale)
        if not len(known.inputs) or not view.senders:
            raise SettingError("trap-weights.scale 0 needs public examples and a row: give 0.95")
        images, public = observe(view, view.senders[0][0]).images, known.inputs.flatten(1)
        against = public @ -weight.clamp_max(0).T  # (public, neurons)
        needed = against / (public @ weight.clamp_min(0).T).clamp_min(1e-6)
        levels = torch.linspace(*LEVELS, len(weight)).exp() / images  # (neurons,)
        ranks = (levels.clamp_max(MOST) * (len(needed) - 1)).long().unsqueeze(0)
        return needed.sort(dim=0).values.gather(0, ranks)[0]

    def __call__(
        self, view: ServerView, target: int, known: AuxiliaryInfo
    ) -> Iterator[ReconstructedBatch]:
        """Yield certain pictures after each turn; possible mixtures follow at the end."""
        seen = observe(view, target)
        of, at = view.network.split(seen.gradient), list(view.network.slots)[:2]
        left = torch.cat([of[at[0]], of[at[1]].unsqueeze(1)], dim=1)  # (neurons, pixels + 1)
        strength = left[:, -1].abs().max()
        found, labels = left.new_zeros(0, left.shape[1] - 1), left.new_zeros(0, dtype=torch.int64)
        for turn in range(1, TURNS + 1):
            readings = Readings.of(view, left, strength, seen.images)
            sure = readings.apart(readings.sound & (readings.off < AGREED))
            sure = sure[: seen.images - len(found)]
            rest = readings.apart(readings.sound | ~readings.sound.any())
            rest = rest[~torch.isin(rest, sure)][: seen.images - len(found) - len(sure)]
            found = torch.cat([found, readings.inputs[sure]])
            labels = torch.cat([labels, readings.labels[sure]])
            shown = torch.cat([found, readings.inputs[rest]])
            yield ReconstructedBatch(
                legal(shown.view(-1, *view.network.shape), view),
                torch.cat([labels, readings.labels[rest]]),
                step=turn,
                steps=TURNS,
                objective=1 - len(found) / seen.images,
            )
            if not len(sure) or len(found) == seen.images:
                return
            errors = errors_of(view, readings.inputs[sure], readings.labels[sure]) / seen.images
            left = left - errors.T @ F.pad(readings.inputs[sure], (0, 1), value=1.0)


@dataclass(frozen=True, eq=False)
class Readings:
    """The reading of each neuron's gradient, if a single picture is behind it."""

    inputs: Tensor  # (neurons, pixels) float64
    labels: Tensor  # (neurons,) whose error is next to what was seen
    off: Tensor  # (neurons,) how far, relative to it
    sound: Tensor  # (neurons,) bool: strong enough, and in the range of pixels

    @classmethod
    def of(cls, view: ServerView, left: Tensor, strength: Tensor, images: int) -> Readings:
        """Read them from the gradients.

        left (neurons, pixels + 1): gradients by weights and bias; strength: of the strongest
        """
        errors = left[:, -1]
        inputs = left[:, :-1] / errors.unsqueeze(1)
        inside = ((inputs > -INSIDE) & (inputs < 1 + INSIDE)).all(dim=1)
        inputs = inputs.nan_to_num(0.0, 0.0, 0.0)
        weight = list(view.network.split(view.sent.double()).values())[2]  # (classes, neurons)
        shares = view.network(view.sent.double(), _shaped(view, inputs)).softmax(dim=1)
        expected = (shares * weight.T).sum(dim=1, keepdim=True) - weight.T  # (neurons, classes)
        gaps = (expected / images - errors.unsqueeze(1)).abs() / errors.abs().unsqueeze(1)
        off, labels = gaps.nan_to_num(torch.inf).min(dim=1)
        return cls(inputs, labels, off, inside & (errors.abs() > FAINT * strength))

    def apart(self, which: Tensor) -> Tensor:
        """Return different readings, the surest first.  which (neurons,) bool -> (found,)"""
        order = torch.where(which, self.off.clamp_max(1e30), torch.inf).argsort()[
            : int(which.sum())
        ]
        near = (
            torch.cdist(self.inputs[order], self.inputs[order]) < SAME * len(self.inputs[0]) ** 0.5
        )
        earlier = near.tril(diagonal=-1).any(dim=1)
        return order[~earlier]


def errors_of(view: ServerView, inputs: Tensor, labels: Tensor) -> Tensor:
    """Return each neuron's bias gradient by each example's loss.  -> (examples, neurons)"""
    first, bias, weight, _ = view.network.split(view.sent.double()).values()
    shares = view.network(view.sent.double(), _shaped(view, inputs)).softmax(dim=1)
    error = (shares - F.one_hot(labels, shares.shape[1])) @ weight
    return error * (F.linear(inputs, first, bias) > 0)


def _shaped(view: ServerView, inputs: Tensor) -> Tensor:
    return inputs.view(-1, *view.network.shape)


def traps(neurons: int, pixels: int, generator: Generator) -> Tensor:
    """Draw as many negative weights as positive ones, of the same sizes.  -> (neurons, pixels)"""
    sizes = normal(generator, neurons, pixels // 2).abs() / pixels**0.5
    places = normal(generator, neurons, pixels).argsort(dim=1)
    weight = torch.zeros(neurons, pixels)
    half = sizes.shape[1]
    weight.scatter_(1, places[:, :half], -sizes)
    return weight.scatter_(1, places[:, half : 2 * half], sizes)
