"""SPEAR: take a whole batch apart, exactly. Dimitrov et al. 2024, arXiv:2403.03945.

The rank of the first layer's gradient is the number of examples, no label is needed, and what is
found carries a certificate: an example's errors must be zero just where it switches ReLU off.
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
    """Take a batch's gradient apart by where ReLU was off: exact, and it knows when it is."""

    kind: Literal["spear"] = "spear"
    source: ClassVar[str] = "Dimitrov et al. 2024, arXiv:2403.03945, sections 3 and 4"
    attacker: ClassVar[str] = "an honest-but-curious server"
    knows: ClassVar[str] = "the architecture and the training recipe"
    fails: ClassVar[str] = (
        "first layers other than dense with ReLU, several local steps, noise; examples on which a "
        "trained model hardly errs"
    )
    iterations: int = Field(
        100, ge=1, le=10_000, description="random starts at most; it ends when all is certified"
    )
    most: int = Field(128, ge=1, le=512, description="examples to take apart at most")
    seed: int = Field(0, ge=0, le=2**31, description="of the random starts")

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
        """A guess whenever more examples agree with themselves, and now and then between."""
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
