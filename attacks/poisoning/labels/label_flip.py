"""Label flipping. Tolpegin et al. 2020, arXiv:2007.08432; the full flip as in ByzFL."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from lab.interfaces.poisoning import ALONE, DataPoisoningContext, PoisoningAttack


class LabelFlip(PoisoningAttack):
    """Trains on wrong labels: class y of C classes becomes class C - 1 - y."""

    kind: Literal["label-flip"] = "label-flip"
    title: ClassVar[str] = "Label flipping"
    source: ClassVar[str] = "Tolpegin et al. 2020, arXiv:2007.08432, section 3"
    knows: ClassVar[str] = "its own data"

    def data(
        self, inputs: Tensor, labels: Tensor, classes: int, scene: DataPoisoningContext = ALONE
    ) -> tuple[Tensor, Tensor]:
        return inputs, classes - 1 - labels
