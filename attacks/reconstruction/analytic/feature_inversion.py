"""Inversion of a convolutional model through the features that enter its dense layer.

Kariyappa et al. 2023, arXiv:2209.05578: the dense layer's gradient is separated into examples, here
as in `spear`, which gives every example's features exactly and without labels.  Then a search finds
pictures with these features.  Zhu and Blaschko 2021, arXiv:2010.07733, also match the gradients of
the convolutions, which are linear in the pictures.  That misleads the search here: a change of the
pixel that wins a pooling changes these gradients abruptly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import cos, pi
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.reconstruction.shared.dense_layer import labels_of, mixture_of, place_of, taken_apart
from attacks.reconstruction.shared.observed_gradient import legal, total_variation
from lab.common.settings import SettingError
from lab.common.thread_time import thread_seconds
from lab.interfaces.attack_data import ReconstructedBatch
from lab.interfaces.privacy_attacks import ReconstructionAttack
from lab.interfaces.views import AuxiliaryInfo, ServerView
from lab.models.layers import Flatten, Layer, Parameters, Relu
from lab.models.network import Network

STARTS = 20  # of the disaggregation
SHOWN = 160  # pictures between two guesses, those of each step counted
DECAYS = 0.9, 0.99  # Adam's
RIDGE = 0.03  # of the decoder, times the public features' mean square
CHUNK = 250  # public pictures at a time
FOUND = 1e-10  # of the features' square is left: some 80 dB


class FeatureInversion(ReconstructionAttack):
    """Reads all examples' features off the dense layer, then searches for pictures with them."""

    kind: Literal["feature-inversion"] = "feature-inversion"
    title: ClassVar[str] = "Feature inversion (Cocktail Party)"
    source: ClassVar[str] = "Kariyappa et al. 2023, arXiv:2209.05578, sections 4 and 5"
    attacker: ClassVar[str] = "an honest-but-curious server"
    knows: ClassVar[str] = "the architecture, the training recipe, public examples"
    fails: ClassVar[str] = (
        "batches of more than a sixteenth of the dense layer's neurons, pictures of more "
        "pixels than features, several local steps, noise"
    )
    iterations: int = Field(1000, ge=10, le=30_000, description="largest number of steps of Adam")
    seconds: float = Field(10.0, gt=0, le=3600, description="time limit of the search, in seconds")
    rate: float = Field(0.1, gt=0, le=1, description="step size at the start; it decays to zero")
    smooth: float = Field(
        1e-4, ge=0, le=1, description="weight of the total variation, which favours smooth pictures"
    )
    most: int = Field(64, ge=1, le=512, description="largest number of examples to separate")
    seed: int = Field(0, ge=0, le=2**31, description="seed of the separation's random starts")

    def check(self, network: Network) -> None:
        if place_of(network) is None:
            raise SettingError(
                "feature-inversion needs a dense layer with ReLU before the last one, such as "
                f"that of cnn, and {network.model.kind} has none: use idlg or inverting-gradients"
            )

    def __call__(
        self, view: ServerView, target: int, known: AuxiliaryInfo
    ) -> Iterator[ReconstructedBatch]:
        """Yield the best of each picture so far, more than four times a second."""
        self.check(view.network)
        until = thread_seconds() + self.seconds
        mixture = mixture_of(view, target, self.most)
        *_, found = taken_apart(mixture, STARTS, self.seed)
        features, _, errors = mixture.read(found.mixing)
        features = features.float().clamp(mixture.low, mixture.high)
        labels = labels_of(view, features, errors.float())
        if not (body := Body.of(view, features)).layers:
            inputs = legal(features.view(-1, *view.network.shape), view)
            yield ReconstructedBatch(inputs, labels, step=1, steps=1, starts=found.step)
            return
        stride = max(1, SHOWN // len(labels))
        for step, (inputs, left) in enumerate(self._descend(body, body.decoded(known))):
            done = step == self.iterations or left < FOUND or thread_seconds() > until
            if step % stride == 0 or done:
                shown = legal(inputs, view)
                yield ReconstructedBatch(
                    shown, labels, step, self.iterations, left, starts=found.step
                )
            if done:
                return

    def _descend(self, body: Body, start: Tensor) -> Iterator[tuple[Tensor, float]]:
        """Yield the best of each picture, and the largest missing share of any picture."""
        inputs, best = start.clone().requires_grad_(True), start
        slow, fast = torch.zeros_like(start), torch.zeros_like(start)
        lowest = torch.full((len(start),), torch.inf)
        for step in range(self.iterations + 1):
            missing = body.missing(inputs)  # (examples, features)
            left = missing.detach().square().sum(dim=1)
            best = torch.where((left < lowest).view(-1, 1, 1, 1), inputs.detach(), best)
            lowest = torch.minimum(left, lowest)
            yield best, float(lowest.max())
            # Absolute values: the few features that pass by another pixel must not decide.
            objective = missing.abs().sum() / missing.shape[1] ** 0.5
            objective = objective + self.smooth * total_variation(inputs)
            slope = torch.autograd.grad(objective, inputs)[0]
            slow = DECAYS[0] * slow + (1 - DECAYS[0]) * slope
            fast = DECAYS[1] * fast + (1 - DECAYS[1]) * slope.square()
            move = slow / (1 - DECAYS[0] ** (step + 1))
            move = move / (fast / (1 - DECAYS[1] ** (step + 1))).sqrt().add(1e-12)
            rate = self.rate * (1 + cos(pi * step / self.iterations)) / 2
            inputs = (inputs.detach() - rate * move).clamp_(0, 1).requires_grad_(True)


@dataclass(frozen=True, eq=False)
class Body:
    """The layers before the dense one, and the features that they should give."""

    layers: tuple[Layer, ...]
    own: Sequence[Parameters]
    features: Tensor  # (examples, features)
    shape: tuple[int, ...]  # of a picture
    clipped: bool  # whether ReLU comes last

    @classmethod
    def of(cls, view: ServerView, features: Tensor) -> Body:
        before = view.network.layers[: place_of(view.network)]
        layers = tuple(layer for layer in before if not isinstance(layer, Flatten))
        own = view.network.owned(view.network.split(view.sent))[: len(layers)]
        clipped = bool(layers) and isinstance(layers[-1], Relu)
        return cls(layers, own, features, view.network.shape, clipped)

    def __call__(self, inputs: Tensor, layers: int) -> Tensor:
        outputs = inputs
        for layer, params in zip(self.layers[:layers], self.own, strict=False):
            outputs = layer(params, outputs)
        flat: Tensor = outputs.flatten(1)
        return flat

    def missing(self, inputs: Tensor) -> Tensor:
        """Return the missing share of each example's features.

        inputs (examples, *shape) -> (.., features).  Where a feature is active, it is compared
        before the
        ReLU, so that a picture has a gradient even where its own ReLU is off.
        """
        rest = self(inputs, len(self.layers) - self.clipped)
        if self.clipped:
            on = self.features > 1e-4 * self.features.max()
            rest = torch.where(on, rest - self.features, rest.relu())
        else:
            rest = rest - self.features
        length: Tensor = self.features.norm(dim=1, keepdim=True).clamp_min(1e-12)
        return rest / length

    @torch.no_grad()
    def decoded(self, known: AuxiliaryInfo) -> Tensor:
        """Decode pictures from features by ridge regression on public ones; grey without any.

        -> (examples, *shape)
        """
        count = len(self.features)
        if not len(known.inputs):
            return torch.full((count, *self.shape), 0.5)
        features = torch.cat([self(part, len(self.layers)) for part in known.inputs.split(CHUNK)])
        middle, mean = features.mean(dim=0), known.inputs.flatten(1).mean(dim=0)
        features, pictures = (features - middle).double(), (known.inputs.flatten(1) - mean).double()
        product = features @ features.T  # (public, public)
        product.diagonal().add_(RIDGE * float(product.diagonal().mean()) + 1e-12)
        weights = (self.features - middle).double() @ features.T  # (examples, public)
        found = weights @ torch.linalg.solve(product, pictures)
        decoded: Tensor = (found.float() + mean).clamp(0, 1)
        return decoded.view(count, *self.shape)
