"""Named random streams: every draw has a name, so turning a defence on leaves all others alone."""

from __future__ import annotations

import os
from hashlib import blake2b
from math import prod
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


def random_stream(seed: int, *name: str | int) -> np.random.Generator:
    """The stream of that name.  Streams of different names are independent (128-bit seeds)."""
    path = "/".join(str(step) for step in (seed, *name))
    digest = blake2b(path.encode(), digest_size=16).digest()
    return _generator(digest)


def private_stream(seed: int, nonce: int, *name: str | int) -> np.random.Generator:
    """A stream that a guarantee of privacy rests on: noise, and secret samples.

    nonce: of the run; runs with different nonces share no private draw, and 0 adds no name
    """
    return random_stream(seed, *(("nonce", nonce) if nonce else ()), *name)


def secret_stream(*name: str | int) -> np.random.Generator:
    """A stream that only this process can repeat: its key is the operating system's, and kept here.

    Streams of different names are independent, and the same name gives the same stream again.
    """
    path = "/".join(str(step) for step in name)
    return _generator(blake2b(path.encode(), digest_size=16, key=_KEY).digest())


def _generator(digest: bytes) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(int.from_bytes(digest))))


_KEY = os.urandom(32)


class Integers(Protocol):
    """Whatever draws whole numbers, all equally likely: a stream, or the operating system."""

    def integers(self, low: int, high: int, size: int) -> np.ndarray: ...


class SystemRandom:
    """Whole numbers from the operating system's generator.  Nobody can predict or repeat them."""

    def integers(self, low: int, high: int, size: int) -> np.ndarray:
        """From low to high - 1, without bias.  -> (size,) int64"""
        width, found = high - low, np.zeros(0, np.uint64)
        fair = np.uint64((2**64 - 1) // width * width)  # what is beyond would favour small ones
        while len(found) < size:
            words = np.frombuffer(os.urandom(8 * (size - len(found))), np.uint64)
            found = np.concatenate([found, words[words < fair]])
        return (found % np.uint64(width)).astype(np.int64) + low


def normal(generator: np.random.Generator, *shape: int) -> Tensor:
    """Standard normal draws, float32.  Research grade: not safe against floating-point attacks."""
    # PyTorch draws them three times as fast as NumPy does.
    source = torch.Generator().manual_seed(int(generator.integers(2**63)))
    return torch.empty(shape).normal_(generator=source)


def gaussian_noise(generator: np.random.Generator, *shape: int, secure: bool = False) -> Tensor:
    """Standard normal draws that a guarantee of privacy rests on, float32.

    secure: not from the generator but from the operating system's, which nobody can predict or
    repeat.  Either way a sample is a rounded number, whose last digits may tell what it was added
    to (Mironov 2012, shown for Laplace noise): the guarantee is that of real numbers.
    """
    return _unpredictable(*shape) if secure else normal(generator, *shape)


def _unpredictable(*shape: int) -> Tensor:
    """By inversion, in double precision.  No draw lies beyond 8.3."""
    from scipy.special import ndtri

    words = np.frombuffer(os.urandom(8 * prod(shape)), np.uint64) >> np.uint64(12)
    uniforms = (words + 0.5) * 2.0**-52  # exact, symmetric, and neither 0 nor 1
    return torch.from_numpy(ndtri(uniforms).astype(np.float32)).view(shape)


def uniform(generator: np.random.Generator, *shape: int) -> Tensor:
    """Uniform draws from [0, 1), float32."""
    return torch.from_numpy(generator.random(shape, dtype=np.float32))
