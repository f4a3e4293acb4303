"""Fashion-MNIST. Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from datasets.sources.shared.file_lookup import COMMITTED, DEBIAN, arrays, read
from lab.interfaces.data import DataSource, Examples
from lab.models.layers import Shape

CLASSES = (
    "T-shirt",
    "trousers",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "boot",
)
COMPACT = "efebeb15385b7db8d0b42e31f4b09f81a56af1db489bf4ac1fba4636bf93b009"
FULL = {  # of the unpacked files
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


class FashionMnist(DataSource):
    """Pictures of clothes, 28 x 28 grey: 10,000 of the 60,000 for training, 2,000 for testing.

    The test pictures are 2,000 of the published 10,000.
    """

    kind: Literal["fashion-mnist"] = "fashion-mnist"
    title: ClassVar[str] = "Fashion-MNIST"
    source: ClassVar[str] = "Xiao et al. 2017, arXiv:1708.07747"
    licence: ClassVar[str] = "MIT, (c) 2017 Zalando SE"
    shape: ClassVar[Shape] = (1, 28, 28)
    classes: ClassVar[tuple[str, ...]] = CLASSES
    size: ClassVar[int] = 10_000

    def load(self) -> Examples:
        remedy = "restore datasets/files from the repository"
        held = arrays(read("fashion_10k_2k.npz", COMPACT, [COMMITTED], remedy))
        return Examples(
            inputs=_pictures(held["x_train"]),
            labels=torch.from_numpy(held["y_train"]).long(),
            test_inputs=_pictures(held["x_test"]),
            test_labels=torch.from_numpy(held["y_test"]).long(),
        )


class FashionMnistFull(DataSource):
    """All 60,000 + 10,000 pictures; apt install dataset-fashion-mnist, or set LEAKLAB_DATA."""

    kind: Literal["fashion-mnist-full"] = "fashion-mnist-full"
    title: ClassVar[str] = "Fashion-MNIST (full)"
    source: ClassVar[str] = "Xiao et al. 2017, arXiv:1708.07747"
    licence: ClassVar[str] = "MIT, (c) 2017 Zalando SE"
    shape: ClassVar[Shape] = (1, 28, 28)
    classes: ClassVar[tuple[str, ...]] = CLASSES
    size: ClassVar[int] = 60_000

    def load(self) -> Examples:
        return Examples(
            inputs=_pictures(_idx("train-images-idx3-ubyte")),
            labels=torch.from_numpy(_idx("train-labels-idx1-ubyte")).long(),
            test_inputs=_pictures(_idx("t10k-images-idx3-ubyte")),
            test_labels=torch.from_numpy(_idx("t10k-labels-idx1-ubyte")).long(),
        )


def _pictures(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).unsqueeze(1)  # (examples, 1, 28, 28)


def _idx(name: str) -> np.ndarray:
    """Read an idx file: two zeros, a type (8: bytes), the number of axes, each axis, the bytes."""
    remedy = (
        "run 'apt install dataset-fashion-mnist', or let LEAKLAB_DATA name a folder that holds "
        "its four idx files, or use fashion-mnist"
    )
    content = read(name, FULL[name], [DEBIAN / "fashion-mnist"], remedy)
    axes = np.frombuffer(content, ">u4", count=content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(axes)).reshape(axes)
