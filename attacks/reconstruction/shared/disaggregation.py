"""Separation of the sum of several examples' gradients. Dimitrov et al. 2024, arXiv:2403.03945.

Behind a dense layer with ReLU the gradient is errors^T inputs: of low rank, and an error is zero
wherever ReLU was off.  The paper samples for such sparse vectors.  Here independent component
analysis starts (Hyvaerinen 1999), and then errors and inputs correct one another: inputs tell where
ReLU was off, and errors must be zero there.  The rounding of the gradient sets what counts as zero,
so that examples with tiny errors are found beside those with large ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

ABOVE = 3.0  # times that a direction must stand above noise
FLOOR = 1e-10  # of the largest singular value: noise of a gradient without any
BEND = 20  # steps of component analysis: near enough, and starts still lead to different ends
SETTLE = 20  # steps in which errors and inputs correct one another
SMALL = 0.1  # of an example's typical error; beyond that a neuron may be wrongly taken to be off
CERTAIN = 8.0  # standard deviations of noise


@dataclass(frozen=True, eq=False)
class Mixture:
    """The gradient of a dense layer as a sum over an unknown number of examples."""

    errors: Tensor  # (neurons, rank): an orthonormal basis of the examples' errors
    unsure: Tensor  # (rank,): the noise in each entry of these, standard deviations
    inputs: Tensor  # (rank, inputs + 1): what goes with it; the last column belongs to the bias
    outputs: Tensor  # (rank, neurons): what the layer, as it was sent, makes of that
    noise: float  # in each entry of the gradient, a standard deviation
    low: float  # inputs lie between this
    high: float  # and this
    clean: bool  # whether anything stands above noise, and nothing was left out

    @classmethod
    def of(
        cls,
        gradient: Tensor,
        layer: Tensor,
        expected: int,
        most: int,
        low: float = -inf,
        high: float = inf,
    ) -> Mixture:
        """Build the mixture.

        gradient, layer (neurons, inputs + 1): the weights, and the bias as the last column
        expected: examples behind it at most; most: examples to separate at most
        """
        sizes, basis = _decomposed(gradient)
        noise = _noise(sizes, expected, gradient.shape)
        rank = int((sizes > ABOVE * noise * _edge(gradient.shape)).sum())
        rank = min(rank, expected)  # rounding may stand out, too
        kept = max(1, min(rank, most))
        basis, unsure = basis[:, :kept], noise / sizes[:kept].clamp_min(1e-300)
        inputs = basis.T @ gradient
        outputs = inputs @ layer.T
        return cls(basis, unsure, inputs, outputs, noise, low, high, 0 < rank <= most)

    @property
    def rank(self) -> int:
        return self.errors.shape[1]

    def read(self, mixing: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the inputs of these errors, the layer's outputs for the inputs, and the errors.

        The bias gradient sets their scale.
        mixing (rank, rank): an example a row, in the basis -> (rank, inputs), 2 x (rank, neurons)
        """
        back = torch.linalg.pinv(mixing.T, rtol=1e-12)
        scale = back @ self.inputs[:, -1:]  # (rank, 1): the bias has an input of 1
        found = (back @ self.inputs[:, :-1] / scale).nan_to_num(0.0, 1e3, -1e3).clamp(-1e3, 1e3)
        return found, back @ self.outputs / scale, mixing @ self.errors.T * scale

    def off(self, mixing: Tensor) -> Tensor:
        """Mark where ReLU is off for each example.  (rank, rank) -> (rank, neurons)"""
        back = torch.linalg.pinv(mixing.T, rtol=1e-12)
        off: Tensor = back @ self.outputs * (back @ self.inputs[:, -1:]).sign() <= 0
        return off

    @property
    def directions(self) -> Tensor:
        """Return the basis with neurons of equal weight: a zero is one at any scale."""
        even: Tensor = self.errors / self.strength
        return even

    @property
    def strength(self) -> Tensor:
        """Return the strength of each neuron.  -> (neurons, 1)"""
        sizes: Tensor = self.errors.norm(dim=1, keepdim=True)
        return sizes.clamp_min(1e-3 * float(sizes.max()))


def _decomposed(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return singular values in falling order and left singular vectors, by the smaller product.

    -> (values,), (neurons, values)
    """
    tall = gradient.shape[0] > gradient.shape[1]
    product = gradient.T @ gradient if tall else gradient @ gradient.T
    squares, vectors = torch.linalg.eigh(product)
    sizes, vectors = squares.clamp_min(0).sqrt().flip(0), vectors.flip(1)
    if tall:
        vectors = gradient @ vectors / sizes.clamp_min(1e-300)
    return sizes, vectors


def _edge(shape: torch.Size) -> float:
    """Return the largest singular value of standard normal noise of that shape."""
    return float(shape[0] ** 0.5 + shape[1] ** 0.5)


def _noise(sizes: Tensor, expected: int, shape: torch.Size) -> float:
    """Return the noise in each entry of a gradient of these singular values, a standard deviation.

    Beyond the expected examples there is only noise.
    """
    beyond = sizes[min(expected, len(sizes) // 2)]
    return float(torch.maximum(beyond, FLOOR * sizes[0])) / _edge(shape)


def components(rows: Tensor, start: Tensor, sharpness: float) -> Tensor:
    """Find independent components of the rows, all at once (FastICA).  -> (rank, rank)"""
    left, sizes, right = torch.linalg.svd(rows, full_matrices=False)
    white = left * len(rows) ** 0.5
    mixing = _orthogonal(start)
    for _ in range(BEND):
        bent = torch.tanh(sharpness * (white @ mixing.T))  # (neurons, rank)
        slope = sharpness * (1 - bent.square()).mean(dim=0)
        mixing = _orthogonal(bent.T @ white / len(rows) - slope.unsqueeze(1) * mixing)
    return F.normalize(mixing @ (right / sizes.clamp_min(1e-12).unsqueeze(1)), dim=1)


def _orthogonal(matrix: Tensor) -> Tensor:
    left, _, right = torch.linalg.svd(matrix)
    nearest: Tensor = left @ right
    return nearest


def settled(mixture: Mixture, mixing: Tensor) -> Tensor:
    """Refine errors so that they vanish where their own input switches ReLU off.

    Reweighted least squares, ever sharper: where a neuron is wrongly taken to be off, its large
    error
    counts for little.  At last all that are off count alike, because their noise is alike.
    (rank, rank) -> (rank, rank)
    """
    rows, strength = mixture.directions, mixture.strength.squeeze(1)
    for width in np.geomspace(0.3, 1e-3, SETTLE):
        off, errors = mixture.off(mixing), mixing @ rows.T  # (rank, neurons)
        scale = errors.square().mean(dim=1, keepdim=True).clamp_min(1e-24)
        noise = (mixing.square() @ mixture.unsure.square()).unsqueeze(1) / strength.square()
        weights = off / (errors.square() / scale + width**2 + noise / scale)
        mixing = _flattest(rows, weights)
    errors = mixing @ rows.T
    scale = errors.square().mean(dim=1, keepdim=True).sqrt()
    small = errors.abs() < SMALL * scale
    return _flattest(rows, mixture.off(mixing) * small * strength.square())


def _flattest(rows: Tensor, weights: Tensor) -> Tensor:
    """Return, for each row of weights, the combination that it weighs least.

    rows (neurons, rank), weights (candidates, neurons) -> (candidates, rank)
    """
    vectors: Tensor = torch.linalg.eigh((rows.T * weights.unsqueeze(1)) @ rows)[1]
    return vectors[:, :, 0]


def sparsest(mixture: Mixture, candidates: Tensor) -> Tensor:
    """Choose the sparsest independent candidates.  (candidates, rank) -> (rank, rank) at most"""
    errors = (candidates @ mixture.errors.T).abs()
    noise = (candidates.square() @ mixture.unsure.square()).sqrt().unsqueeze(1)
    zeros = (errors < CERTAIN * noise + 1e-6 * errors.amax(dim=1, keepdim=True)).sum(dim=1)
    chosen = candidates[:0]
    basis = candidates[:0]
    for candidate in candidates[zeros.argsort(descending=True, stable=True)]:
        rest = candidate - basis.T @ (basis @ candidate)
        rest = rest - basis.T @ (basis @ rest)  # twice is enough
        if len(chosen) < candidates.shape[1] and rest.norm() > 1e-2:
            chosen = torch.cat([chosen, candidate.unsqueeze(0)])
            basis = torch.cat([basis, F.normalize(rest, dim=0).unsqueeze(0)])
    return chosen
