"""Gradient suppression by inconsistent models. Pasquini et al. 2022, arXiv:2111.07380.

Where a ReLU never fires, no gradient passes: the other clients' gradients vanish in all layers
before
it, and in the weights after it, whose inputs are zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from torch import Tensor

from attacks.secure_aggregation.shared.masked_sums import everybody, others_than, staged, total
from lab.common.settings import SettingError
from lab.interfaces.attack_data import MaliciousServer, StagedRound, UpdateEstimate
from lab.interfaces.privacy_attacks import SecureAggregationAttack
from lab.models.layers import ParametrisedLayer, Relu
from lab.models.network import Network


class InconsistentModels(SecureAggregationAttack):
    """Sends all other clients a model whose last ReLU never fires: their gradients vanish."""

    kind: Literal["inconsistent-models"] = "inconsistent-models"
    title: ClassVar[str] = "Inconsistent models"
    source: ClassVar[str] = "Pasquini et al. 2022, arXiv:2111.07380"
    attacker: ClassVar[str] = "a server that sends different models to different clients"
    knows: ClassVar[str] = (
        "the architecture; the target's weight, from one more round without the target"
    )
    fails: ClassVar[str] = "models without ReLU; masks bound to the model that each client received"

    def check(self, network: Network) -> None:
        _killed(network)

    def __call__(self, server: MaliciousServer, target: int) -> Iterator[UpdateEstimate]:
        """Yield one claim, of the parameters whose gradient the dead model suppresses."""
        network = server.view.network
        dead, where = dead_model(network, server.view.sent)
        others = others_than(server, target, 2, self.kind)
        models = dict.fromkeys(others, dead)
        view = staged(server, StagedRound(clients=everybody(server), models=models))
        update, weight = total(view)
        notes = [f"{len(others)} clients were sent a model whose last ReLU never fires"]
        if weight != (usual := float(server.view.weights[0])):
            notes.append(
                f"the clients' weights sum up to {weight:,.0f} in place of {usual:,.0f}: the masks "
                "did not cancel, for they are bound to the model that each client was sent"
            )
        mine = self._weight(server, others, weight)
        where &= torch.arange(network.size) < server.view.shared
        yield UpdateEstimate(
            "sum of the living gradient", 1, 1, update / mine, where, mine, tuple(notes)
        )

    def _weight(self, server: MaliciousServer, others: tuple[int, ...], whole: float) -> float:
        """Return the target's weight: the total minus the others' sum of weights."""
        if not server.view.recipe.weighted:
            return 1.0
        if len(others) < 3:  # no sum of two: an average client then
            return max(1.0, whole / (len(others) + 1))
        rest = staged(server, StagedRound(clients=others, again=True))
        return max(1.0, float(server.view.weights[0]) - float(rest.weights[0]))


def dead_model(network: Network, sent: Tensor) -> tuple[Tensor, Tensor]:
    """Return the model with a last ReLU that never fires, and the parameters without a gradient.

    sent (params,) -> (params,), (params,) bool
    """
    killed, after = _killed(network)
    dead, where = sent.clone(), torch.zeros(network.size, dtype=torch.bool)
    weight, bias = (network.slots[f"{killed.name}.{part}"][0] for part in ("weight", "bias"))
    dead[weight], dead[bias] = 0.0, -1.0
    where[: max(weight.stop, bias.stop)] = True
    where[network.slots[f"{after.name}.weight"][0]] = True
    return dead, where


def _killed(network: Network) -> tuple[ParametrisedLayer, ParametrisedLayer]:
    """Find the layer that feeds the last ReLU, and the next.  Raises SettingError without any."""
    last = max(
        (at for at, layer in enumerate(network.layers) if isinstance(layer, Relu)), default=0
    )
    before = [layer for layer in network.layers[:last] if isinstance(layer, ParametrisedLayer)]
    after = [layer for layer in network.layers[last:] if isinstance(layer, ParametrisedLayer)]
    if not before or not after:
        raise SettingError(
            f"inconsistent-models needs a hidden ReLU to silence, and {network.model.kind} has "
            "none: use sybils or sum-difference, or a run of mlp or cnn"
        )
    return before[-1], after[0]
