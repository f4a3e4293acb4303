"""Named random streams: every draw has a name, so turning a defence on leaves all others alone."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor


def stream(seed: int, *name: str | int) -> np.random.Generator:
    """The stream of that name.  Streams of different names are independent (128-bit seeds)."""
    path = "/".join(str(step) for step in (seed, *name))
    digest = blake2b(path.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(int.from_bytes(digest))))


def normal(generator: np.random.Generator, *shape: int) -> Tensor:
    """Standard normal draws, float32.  Research grade: not safe against floating-point attacks."""
    # PyTorch draws them three times as fast as NumPy does.
    source = torch.Generator().manual_seed(int(generator.integers(2**63)))
    return torch.empty(shape).normal_(generator=source)


def uniform(generator: np.random.Generator, *shape: int) -> Tensor:
    """Uniform draws from [0, 1), float32."""
    return torch.from_numpy(generator.random(shape, dtype=np.float32))
