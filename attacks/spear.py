"""SPEAR: take a whole batch apart, exactly. Dimitrov et al. 2024, arXiv:2403.03945.

The rank of the first layer's gradient is the number of examples, no label is needed, and what is
found carries a certificate: an example's errors must be zero just where it switches ReLU off.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from attacks.certificate import agreeing
from attacks.disaggregation import Mixture, components, settled, sparsest
from attacks.gradients import legal, observe
from lab.layers import Dense, Flatten, Relu
from lab.models import Network
from lab.parts import Reconstruction
from lab.rng import stream
from lab.settings import SettingError
from lab.views import Guess, Known, ServerView

STRIDE = 4  # starts between two guesses
SHARPNESS = 1.0, 3.0  # of the component analysis, in turn


class Spear(Reconstruction):
    """Take a batch's gradient apart by where ReLU was off: exact, and it knows when it is."""

    kind: Literal["spear"] = "spear"
    source: ClassVar[str] = "Dimitrov et al. 2024, arXiv:2403.03945, sections 3 and 4"
    attacker: ClassVar[str] = "an honest-but-curious server"
    knows: ClassVar[str] = "the architecture and the training recipe"
    fails: ClassVar[str] = "first layers other than dense with ReLU, several local steps, noise"
    iterations: int = Field(
        100, ge=1, le=10_000, description="random starts at most; it ends when all is certified"
    )
    most: int = Field(128, ge=1, le=512, description="examples to take apart at most")
    seed: int = Field(0, ge=0, le=2**31, description="of the random starts")

    def check(self, network: Network) -> None:
        kinds = [type(layer) for layer in network.layers if not isinstance(layer, Flatten)]
        if kinds[:2] == [Dense, Relu]:
            return
        remedy = "first-layer" if kinds[0] is Dense else "idlg or inverting-gradients"
        raise SettingError(
            "spear needs a model that begins with a dense layer and ReLU, such as mlp, and "
            f"{network.model.kind} does not: use {remedy}"
        )

    def __call__(self, view: ServerView, target: int, known: Known) -> Iterator[Guess]:
        """A guess whenever more examples agree with themselves, and now and then between."""
        self.check(view.network)
        mixture = self._mixture(view, target)
        best = kept = mixture.errors.new_zeros(0, mixture.rank)
        most, certain, shown = -1, -1, -1
        last = self.iterations if mixture.clean else 1  # noise hides every zero: one try
        for step in range(1, last + 1):
            found = settled(mixture, self._start(mixture, step))
            kept = sparsest(mixture, torch.cat([kept, found]))
            for mixing in (found, kept):
                if len(mixing) < mixture.rank:
                    continue
                agree, exact = (int(each.sum()) for each in agreeing(mixture, mixing))
                if agree > most:
                    best, most, certain = mixing, agree, exact
            if most > shown or step % STRIDE == 0 or step == last:
                shown = most
                yield self._guess(view, mixture, best, (most, certain), step)
            if most == mixture.rank:
                return

    def _mixture(self, view: ServerView, target: int) -> Mixture:
        seen, names = observe(view, target), list(view.network.slots)[:2]
        gradient, layer = (
            torch.cat([of[names[0]], of[names[1]].unsqueeze(1)], dim=1)
            for of in map(view.network.split, (seen.gradient, view.sent.double()))
        )
        expected = self.most + 1 if view.recipe.poisson else seen.images
        low, high = (0.0, 1.0) if len(view.network.shape) == 3 else (-inf, inf)
        return Mixture.of(gradient, layer, expected, self.most, low, high)

    def _start(self, mixture: Mixture, step: int) -> Tensor:
        drawn = stream(self.seed, "spear", step).standard_normal((mixture.rank, mixture.rank))
        rows = mixture.errors if step % 2 else mixture.directions
        return components(rows, torch.from_numpy(drawn), SHARPNESS[step // 2 % 2])

    def _guess(
        self, view: ServerView, mixture: Mixture, mixing: Tensor, known: tuple[int, int], step: int
    ) -> Guess:
        found, _, errors = mixture.read(mixing)
        inputs = legal(found.view(-1, *view.network.shape), view)
        return Guess(
            inputs,
            labels_of(view, inputs, errors.float()),
            step,
            self.iterations,
            objective=1 - known[0] / mixture.rank,
            proven=known[1] == mixture.rank,
        )


def labels_of(view: ServerView, inputs: Tensor, errors: Tensor) -> Tensor:
    """The labels with which the model makes errors in that direction.

    inputs (examples, *shape), errors (examples, neurons) of the first layer, at any scale
    -> (examples,)
    """
    classes = view.network.classes
    if view.shared < view.network.size:  # the last layers are the client's own
        return torch.arange(len(inputs)) % classes
    outputs = inputs.repeat_interleave(classes, dim=0)  # (examples * classes, *shape)
    labels = torch.arange(classes).repeat(len(inputs))
    own = view.network.owned(view.network.split(view.sent))
    first = torch.zeros(0)
    for layer, params in zip(view.network.layers, own, strict=True):
        outputs = layer(params, outputs)
        if isinstance(layer, Dense) and not len(first):
            first = outputs = outputs.detach().requires_grad_(True)  # (..., neurons)
    loss = F.cross_entropy(outputs, labels, reduction="sum")
    slopes = torch.autograd.grad(loss, first)[0]
    likeness = F.cosine_similarity(
        slopes.view(len(inputs), classes, -1), errors.unsqueeze(1), dim=2, eps=1e-20
    )
    return likeness.argmax(dim=1)
