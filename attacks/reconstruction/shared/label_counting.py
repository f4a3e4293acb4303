"""The number of examples of each class behind a gradient, estimated with public examples.

The gradient of the last bias is the mean of p - one-hot, so counts = B (p - gradient), where p is
the
model's mean prediction on the batch (Wainakh et al. 2022, arXiv:2105.09369, from noise inputs).  A
trained model predicts differently for each class, so p depends on the counts.  Both are solved for
together, as the likeliest counts, with the weights' gradient as further evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log

import torch
import torch.nn.functional as F
from torch import Tensor

from lab.interfaces.views import AuxiliaryInfo
from lab.models.network import Network

AXES = 2  # directions of the features along which the weights' gradient is read
WIDE = 100  # classes beyond which the bias alone has to do
TOO_WIDE = 500  # classes beyond which every example counts as an average one
STAND_INS = 32  # examples in place of a class of which nothing is public
SHIFT = 0.05  # variance of a private class mean, of one example's: the model has trained on them
GUESSED = 10.0  # the same where nothing is public: right on untrained models alone
CHUNK = 250  # examples that are predicted at a time
# How evenly the batch may be drawn: classes' shares are Dirichlet of so many examples in all.
EVEN = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, inf)
PASSES = 3  # the spread hangs on the counts, and they on it


@dataclass(frozen=True, eq=False)
class Causes:
    """The contributions of examples of each class to the gradient of the last layer."""

    means: Tensor  # (classes, directions)
    apart: Tensor  # (examples, directions): from the mean of their class
    labels: Tensor  # (examples,)
    middle: Tensor  # (features,): mean of what enters the last layer
    axes: Tensor  # (features, axes)
    shift: float

    @classmethod
    def of(cls, network: Network, sent: Tensor, known: AuxiliaryInfo) -> Causes:
        inputs, places, labels = _examples(network, known)
        features, likely = _last(network, sent, inputs)
        middle = features.mean(dim=0)
        axes = _main(features - middle, AXES if network.classes <= WIDE else 0)
        errors = likely[places] - F.one_hot(labels, network.classes)  # (examples, classes)
        along = F.pad((features - middle) @ axes, (1, 0), value=1.0)[places]
        rows = (errors.unsqueeze(1) * along.unsqueeze(2)).flatten(1)
        members = F.one_hot(labels, network.classes).double()
        means = members.T @ rows / members.sum(dim=0).unsqueeze(1)
        shift = SHIFT if len(known.labels) else GUESSED
        return cls(means, rows - means[labels], labels, middle, axes, shift)

    def seen(self, weight: Tensor, bias: Tensor) -> Tensor:
        """Return the last layer's gradient in the same directions.  -> (directions,)"""
        along = (weight - bias.unsqueeze(1) * self.middle) @ self.axes  # (classes, axes)
        return torch.cat([bias.unsqueeze(0), along.T]).flatten()

    def likeliest(self, seen: Tensor, images: int) -> Tensor:
        """Return the likeliest counts of each class, not rounded yet.  -> (classes,)

        The prior gives even batches as much weight as all others together.
        """
        prior = [log(0.5) if even == inf else log(0.5 / (len(EVEN) - 1)) for even in EVEN]
        found = [self._counts(seen, images, even) for even in EVEN]
        return max(zip(found, prior, strict=True), key=lambda each: each[0][0] + each[1])[0][1]

    def _counts(self, seen: Tensor, images: int, even: float) -> tuple[float, Tensor]:
        """Return the log evidence and the posterior mean of the counts; both are normal."""
        classes = len(self.means)
        held = torch.bincount(self.labels, minlength=classes).double()
        share = torch.full((classes,), 1 / classes, dtype=torch.double)
        over = 1.0 if even == inf else (images + even) / (1 + even)
        prior = images * over * (share.diag() - share.outer(share))
        explained = self.means.T @ prior @ self.means
        rest = images * (seen - share @ self.means)
        counts = images * share
        for _ in range(PASSES):
            there = counts.clamp(0, images)
            spread = there + there.square() * (1 / held + self.shift)
            weighted = self.apart * (spread / held)[self.labels].unsqueeze(1)
            noise = weighted.T @ self.apart + explained
            noise = noise + (1e-12 + 1e-9 * noise.diagonal().max()) * torch.eye(len(noise))
            root = torch.linalg.cholesky(noise)
            pull = torch.cholesky_solve(rest.unsqueeze(1), root).squeeze(1)
            counts = images * share + prior @ self.means @ pull
        return float(-rest @ pull / 2 - root.diagonal().log().sum()), counts


def roughly(
    network: Network, sent: Tensor, known: AuxiliaryInfo, bias: Tensor, images: int
) -> Tensor:
    """Estimate counts of very many classes, such as words, with predictions independent of them.

    bias (classes,): the gradient of the last one -> (classes,), not rounded yet
    """
    return images * (likely(network, sent, known) - bias)


def likely(network: Network, sent: Tensor, known: AuxiliaryInfo) -> Tensor:
    """Return the model's mean prediction on public examples.  -> (classes,)"""
    inputs, _, _ = _examples(network, known)
    _, each = _last(network, sent, inputs[:CHUNK])
    return each.mean(dim=0)


def _examples(network: Network, known: AuxiliaryInfo) -> tuple[Tensor, Tensor, Tensor]:
    """Return public inputs, and examples as places among them with labels: some of every class.

    For a class without examples any others are used, and noise from dark to bright where nothing is
    public.
    """
    inputs, places = known.inputs, torch.arange(len(known.labels))
    if not len(inputs):
        drawn = torch.Generator().manual_seed(0)
        inputs = torch.rand(STAND_INS, *network.shape, generator=drawn)
        inputs *= torch.linspace(0, 1, STAND_INS).view(-1, *[1] * len(network.shape))
        if "text" in network.model.reads:
            inputs = (inputs * network.classes).floor()  # any words
    missing = torch.bincount(known.labels, minlength=network.classes) == 0
    some = torch.linspace(0, len(inputs) - 1, min(STAND_INS, len(inputs))).long()
    lacking = missing.nonzero().flatten()
    places = torch.cat([places, some.repeat(len(lacking))])
    labels = torch.cat([known.labels, lacking.repeat_interleave(len(some))])
    return inputs, places, labels


@torch.no_grad()
def _last(network: Network, sent: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the last layer's inputs and predictions.  -> (examples, features), (.., classes)"""
    own, entering = network.owned(network.split(sent)), []
    for features in inputs.split(CHUNK):
        for layer, params in zip(network.layers[:-1], own[:-1], strict=True):
            features = layer(params, features)
        entering.append(features)
    features = torch.cat(entering)
    return features.double(), network.layers[-1](own[-1], features).double().softmax(dim=1)


def _main(features: Tensor, axes: int) -> Tensor:
    """Find the directions in which features differ most by power iterations.  (features, axes)"""
    found = features[:axes].T
    for _ in range(10):
        found = torch.linalg.qr(features.T @ (features @ found))[0]
    return found
