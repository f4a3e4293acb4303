"""The attacker's own certificate of its separation, without the truth.

Dimitrov et al. 2024, arXiv:2403.03945, section 4: errors must be zero exactly where ReLU was off.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.reconstruction.shared.disaggregation import CERTAIN, Mixture

EXACT = 1e-3  # an input is certified when it is known this well: 60 dB
SIGMAS = 3.0  # standard deviations of it
BOX = 1e-2  # by so much an input may leave its bounds
ALIKE = 0.8  # share of the neurons where errors vanish just where ReLU is off


def agreeing(mixture: Mixture, mixing: Tensor) -> tuple[Tensor, Tensor]:
    """Mark the examples that the attacker's own data confirm, and those that are confirmed exactly.

    Their errors are zero, up to noise, exactly where their own input switches ReLU off, and no
    other
    errors in the span are.  Once all examples are confirmed the batch is proven; before, each input
    may
    still contain a little of those that are not.  -> (rank,) bool, (rank,) bool
    """
    nobody = torch.zeros(len(mixing), dtype=torch.bool)
    # The same example twice agrees with itself, and another is missing.
    if not mixture.clean or torch.linalg.svdvals(F.normalize(mixing, dim=1))[-1] < 1e-6:
        return nobody, nobody
    inputs, outputs, errors = mixture.read(mixing)
    scale = errors.norm(dim=1) / mixing.norm(dim=1)  # (rank,)
    noise = scale * (mixing.square() @ mixture.unsure.square()).sqrt()  # (rank,)
    blur = blurred(mixture, errors, noise, outputs <= 0)  # (rank,)
    margin = CERTAIN * blur * outputs.abs().amax(dim=1)
    off = outputs < -margin.unsqueeze(1)
    size = errors.abs()
    zero = size <= CERTAIN * noise.unsqueeze(1) + 1e-6 * size.amax(dim=1, keepdim=True)
    agree = (zero | ~off).all(dim=1) & ((zero == off).double().mean(dim=1) > ALIKE)
    agree &= (inputs > mixture.low - BOX).all(dim=1) & (inputs < mixture.high + BOX).all(dim=1)
    return agree, agree & (SIGMAS * blur < EXACT)


def blurred(mixture: Mixture, errors: Tensor, noise: Tensor, off: Tensor) -> Tensor:
    """Return the standard deviation by which noise may have moved each input.  -> (rank,)

    Noise is in the gradient itself, and in the errors by which it is separated: where an example's
    errors
    are least squares over its inactive neurons, a little of every other example stays in them, and
    returns in the other's input.
    """
    sizes = errors.norm(dim=1).clamp_min(1e-300)  # (rank,)
    unit = errors / sizes.unsqueeze(1)
    own = torch.eye(len(errors), dtype=torch.double)
    directly = mixture.noise * _inverse(unit @ unit.T).diagonal().clamp_min(0).sqrt() / sizes
    apart = (unit * off.unsqueeze(1)) @ unit.T  # (rank, rank, rank): over the neurons of the first
    apart = apart * (1 - own).unsqueeze(1) * (1 - own).unsqueeze(2) + torch.diag_embed(own)
    left = _inverse(apart).diagonal(dim1=1, dim2=2).clamp_min(0).sqrt() * (1 - own)
    left = (
        left * noise.unsqueeze(1) / sizes
    )  # (rank, rank): of the second, in the errors of the first
    blur: Tensor = 2 * directly + left.square().sum(dim=0).sqrt()
    return blur


def _inverse(matrices: Tensor) -> Tensor:
    """Return the inverse; a singular matrix gives huge values."""
    tiny = 1e-13 * torch.eye(matrices.shape[-1], dtype=torch.double)
    inverse: Tensor = torch.linalg.inv(matrices + tiny)
    return inverse
