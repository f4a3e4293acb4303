"""SPEAR: exact separation of a batch. Dimitrov et al. 2024, arXiv:2403.03945.

The rank of the first layer's gradient is the number of examples, and no label is needed.  Each
result
has a certificate: an example's errors must be zero exactly where the example switches ReLU off.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from attacks.reconstruction.shared.dense_layer import Found, labels_of, mixture_of, taken_apart
from attacks.reconstruction.shared.disaggregation import Mixture
from attacks.reconstruction.shared.observed_gradient import legal
from lab.common.settings import SettingError
from lab.interfaces.attack_data import ReconstructedBatch
from lab.interfaces.privacy_attacks import ReconstructionAttack
from lab.interfaces.views import AuxiliaryInfo, ServerView
from lab.models.layers import Dense, Flatten, Relu
from lab.models.network import Network

STRIDE = 4  # starts between two guesses


class Spear(ReconstructionAttack):
    """Separates a batch's gradient into examples by inactive ReLUs; exact, with a certificate."""

    kind: Literal["spear"] = "spear"
    title: ClassVar[str] = "SPEAR"
    source: ClassVar[str] = "Dimitrov et al. 2024, arXiv:2403.03945, sections 3 and 4"
    attacker: ClassVar[str] = "an honest-but-curious server"
    knows: ClassVar[str] = "the architecture and the training recipe"
    fails: ClassVar[str] = (
        "first layers other than dense with ReLU, several local steps, noise; examples that a"
        " trained model predicts almost without error"
    )
    iterations: int = Field(
        100,
        ge=1,
        le=10_000,
        description=(
            "largest number of random starts; the search ends when all examples are certified"
        ),
    )
    most: int = Field(128, ge=1, le=512, description="largest number of examples to separate")
    seed: int = Field(0, ge=0, le=2**31, description="seed of the random starts")

    def check(self, network: Network) -> None:
        kinds = [type(layer) for layer in network.layers if not isinstance(layer, Flatten)]
        if kinds[:2] == [Dense, Relu]:
            return
        remedy = "first-layer" if kinds[0] is Dense else "idlg or inverting-gradients"
        raise SettingError(
            "spear needs a model that begins with a dense layer and ReLU, such as mlp, and "
            f"{network.model.kind} does not: use {remedy}"
        )

    def __call__(
        self, view: ServerView, target: int, known: AuxiliaryInfo
    ) -> Iterator[ReconstructedBatch]:
        """Yield a guess whenever more examples agree with themselves, and now and then between."""
        self.check(view.network)
        mixture = mixture_of(view, target, self.most)
        shown, found = -1, None
        for found in taken_apart(mixture, self.iterations, self.seed):
            if found.agree > shown or found.step % STRIDE == 0:
                shown = found.agree
                yield self._guess(view, mixture, found)
        if found and found.step % STRIDE and found.agree < mixture.rank:
            yield self._guess(view, mixture, found)

    def _guess(self, view: ServerView, mixture: Mixture, found: Found) -> ReconstructedBatch:
        read, _, errors = mixture.read(found.mixing)
        inputs = legal(read.view(-1, *view.network.shape), view)
        return ReconstructedBatch(
            inputs,
            labels_of(view, inputs.flatten(1), errors.float()),
            found.step,
            self.iterations,
            objective=1 - found.agree / mixture.rank,
            proven=found.exact == mixture.rank,
            starts=found.step,
        )
