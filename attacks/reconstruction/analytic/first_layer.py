"""Inputs computed from a dense first layer. Phong et al. 2018, eprint 2017/715, section 3.

A neuron's weight gradient is its error times the input, and its bias gradient is the error: their
ratio is the input.  With several examples behind the update, it is a weighted mixture of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from attacks.reconstruction.shared.observed_gradient import (
    label_counts,
    labels_from,
    legal,
    observe,
)
from lab.common.settings import SettingError
from lab.interfaces.attack_data import ReconstructedBatch
from lab.interfaces.privacy_attacks import ReconstructionAttack
from lab.interfaces.views import AuxiliaryInfo, ServerView
from lab.models.network import Network


class FirstLayer(ReconstructionAttack):
    """Divides the first layer's gradient by its bias gradient; exact for one step on an example."""

    kind: Literal["first-layer"] = "first-layer"
    title: ClassVar[str] = "First-layer inversion"
    source: ClassVar[str] = "Phong et al. 2018, eprint 2017/715, section 3"
    attacker: ClassVar[str] = "an honest-but-curious server"
    knows: ClassVar[str] = "the architecture and the training recipe"
    fails: ClassVar[str] = (
        "models that begin with a convolution; larger batches, whose examples it mixes"
    )

    def check(self, network: Network) -> None:
        if len(next(iter(network.slots.values()))[1]) != 2:
            raise SettingError(
                f"first-layer needs a model with a dense first layer, and {network.model.kind} "
                "begins with a convolution: use idlg or inverting-gradients"
            )

    def __call__(
        self, view: ServerView, target: int, known: AuxiliaryInfo
    ) -> Iterator[ReconstructedBatch]:
        """Yield the mixture that the strongest neuron saw.  Raises SettingError on a CNN."""
        self.check(view.network)
        first = next(iter(view.network.slots)).removesuffix(".weight")
        seen = observe(view, target)
        of = view.network.split(seen.gradient)
        weight, bias = of[f"{first}.weight"], of[f"{first}.bias"]
        strongest = bias.abs().argmax()
        ratio = weight[strongest] / bias[strongest]  # not a number where no neuron has an error
        inputs = legal(ratio.view(1, *view.network.shape), view)
        labels = labels_from(label_counts(view, seen, known), most=1)
        yield ReconstructedBatch(inputs, labels, step=1, steps=1)
