"""The number of examples of each class in a batch, without any picture.

Wainakh et al. 2022, arXiv:2105.09369; the sign rule for one example is Zhao et al. 2020,
arXiv:2001.02610.  The counts are solved for by the gradients that public examples cause: see
`counting`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch

from attacks.reconstruction.shared.observed_gradient import (
    label_counts,
    labels_from,
    observe,
    whole,
)
from lab.interfaces.attack_data import ReconstructedBatch
from lab.interfaces.privacy_attacks import ReconstructionAttack
from lab.interfaces.views import AuxiliaryInfo, ServerView
from lab.models.architectures import Modality


class LabelCounts(ReconstructionAttack):
    """Counts the examples of each class in a batch, without pictures; exact on untrained models."""

    kind: Literal["label-counts"] = "label-counts"
    title: ClassVar[str] = "Label counts"
    source: ClassVar[str] = "Zhao et al. 2020, arXiv:2001.02610; Wainakh et al. 2022, 2105.09369"
    attacker: ClassVar[str] = "an honest-but-curious server"
    knows: ClassVar[str] = (
        "the architecture, the training recipe, how many examples were used, public examples"
    )
    fails: ClassVar[str] = (
        "trained models and balanced batches, where it hardly beats an even guess; several "
        "local steps, where it is approximate; noise"
    )
    reads: ClassVar[tuple[Modality, ...]] = ("pictures", "table", "text")

    def __call__(
        self, view: ServerView, target: int, known: AuxiliaryInfo
    ) -> Iterator[ReconstructedBatch]:
        """Yield one guess: a label for each example, in order of classes."""
        whole(view, self.kind)
        seen = observe(view, target)
        labels = labels_from(label_counts(view, seen, known), most=seen.images)
        yield ReconstructedBatch(torch.zeros(0, *view.network.shape), labels, step=1, steps=1)
