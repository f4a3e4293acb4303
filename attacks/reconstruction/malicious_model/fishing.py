"""Class fishing: only one class changes the model.  Wen et al. 2022, arXiv:2202.00580, section 4.

In the last layer only the target class keeps weights, and its bias makes it the least likely of
all.
The errors of other examples then do not pass beyond that layer.  What passes is the gradient of the
target class's few examples, which an inversion sees as if they had been alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field

from attacks.reconstruction.analytic.first_layer import FirstLayer
from attacks.reconstruction.analytic.spear import Spear
from attacks.reconstruction.optimisation.idlg import Idlg
from attacks.reconstruction.optimisation.inverting_gradients import InvertingGradients
from attacks.reconstruction.shared.observed_gradient import label_counts, observe, whole
from lab.common.settings import SettingError
from lab.interfaces.attack_data import ManipulatedModel, ReconstructedBatch
from lab.interfaces.messages import TrainingPlan
from lab.interfaces.privacy_attacks import ActiveReconstructionAttack, ReconstructionAttack
from lab.interfaces.views import AuxiliaryInfo, ServerView
from lab.models.layers import Dense, Flatten, Relu, Sigmoid
from lab.models.network import Network

DEPTH = 20.0  # logits between the wanted class and the others: e^-20 of an example's error passes


class Fishing(ActiveReconstructionAttack):
    """Isolates one class of a large batch, then inverts the gradient of its few examples."""

    kind: Literal["fishing"] = "fishing"
    title: ClassVar[str] = "Class fishing"
    source: ClassVar[str] = "Wen et al. 2022, arXiv:2202.00580, section 4.1"
    attacker: ClassVar[str] = "a server that sends a manipulated model"
    knows: ClassVar[str] = "the architecture, the training recipe, and public examples"
    fails: ClassVar[str] = "many examples of the class, several local steps, noise"
    label: int = Field(
        -1, ge=-1, le=1000, description="the class to isolate; -1: the rarest class in the round"
    )
    iterations: int = Field(
        0,
        ge=0,
        le=20_000,
        description="iterations of the inversion that follows; 0: its usual number",
    )

    def check(self, network: Network) -> None:
        if not isinstance(network.trained[-1], Dense):
            raise SettingError(
                f"fishing rewrites a dense last layer, and {network.model.kind} ends otherwise: "
                "use imprint"
            )
        if self.label >= network.classes:
            raise SettingError(
                f"fishing.label is {self.label}, and there are {network.classes} classes: give "
                f"-1 to {network.classes - 1}"
            )

    def plant(self, view: ServerView, known: AuxiliaryInfo) -> ManipulatedModel:
        """Manipulate the model.  Raises SettingError where some layers are never sent."""
        self.check(view.network)
        whole(view, self.kind)
        label = self._rarest(view, known) if self.label < 0 else self.label
        sent = view.sent.clone()
        weight, bias = list(view.network.split(sent).values())[-2:]
        kept = weight[label].clone()
        weight.zero_()
        bias.zero_()
        weight[label] = kept
        logits = view.network(sent, known.inputs)[:, label]
        bias[label] = -DEPTH - (float(logits.max().clamp_min(0)) if len(logits) else 0.0)
        return ManipulatedModel(view.network, sent)

    def _rarest(self, view: ServerView, known: AuxiliaryInfo) -> int:
        """Return the class with the fewest examples, among those that occur in most rows."""
        rows = [label_counts(view, observe(view, one[0]), known) for one in view.senders]
        if not rows:
            raise SettingError(f"round {view.round} left nothing to fish in: {view.note}")
        counts = torch.stack(rows)  # (rows, classes)
        there = (counts > 0).sum(dim=0)
        best = torch.where(there == there.max(), counts.sum(dim=0), counts.sum() + 1)
        return int(best.argmin())

    def __call__(
        self, view: ServerView, target: int, known: AuxiliaryInfo
    ) -> Iterator[ReconstructedBatch]:
        """Yield the inversion's guesses at the class's examples."""
        label, alone = isolated(view, target, noisy=known.mechanism.noise > 0)
        examples = int(alone.weights[0])
        for guess in self._inversion(view.network, examples)(alone, target, known):
            yield replace(guess, labels=torch.full_like(guess.labels, label))

    def _inversion(self, network: Network, examples: int) -> ReconstructionAttack:
        """Choose the best inversion for so many examples; one example needs no search."""
        given = {"iterations": self.iterations} if self.iterations else {}
        plain = [type(layer) for layer in network.layers if not isinstance(layer, Flatten)]
        if plain[0] is Dense:
            return Spear(**given) if Relu in plain[1:2] and examples > 1 else FirstLayer()
        return Idlg(**given) if Sigmoid in plain else InvertingGradients(**given)


def isolated(view: ServerView, target: int, noisy: bool = False) -> tuple[int, ServerView]:
    """Return the target class, and the view as if its examples were the whole batch of one step.

    Before the last layer they are.  In that layer, the row of the target class holds the sum of
    their
    features, from which the other rows follow: their errors would be their probabilities.
    """
    seen = observe(view, target)
    bias = list(view.network.split(view.sent).values())[-1]
    label, shares = int(bias.argmin()), bias.softmax(dim=0).double()
    gradient = seen.gradient.clone()
    errors, slopes = list(view.network.split(gradient).values())[-2:]
    examples = round(-float(slopes[label]) * seen.images)
    if examples < 1 and not noisy:
        raise SettingError(
            f"nobody behind the row of client {target} has an example of class {label}: choose "
            "another fishing.label, round or client"
        )
    examples = max(1, min(examples, seen.images))
    gradient *= seen.images / examples
    features = -errors[label].clone()
    slopes.copy_(shares)
    slopes[label] -= 1
    errors.copy_(slopes.unsqueeze(1) * features)
    return label, replace(
        view,
        recipe=_once(examples),
        rows=-gradient.unsqueeze(0),
        weights=torch.tensor([float(examples)]),
        senders=((target,),),
    )


def _once(examples: int) -> TrainingPlan:
    """Return a recipe of one step on all examples, at a rate of 1."""
    return TrainingPlan(
        epochs=1,
        cap=1,
        batch_size=examples,
        rate=1.0,
        poisson=None,
        weighted=True,
        mean_size=float(examples),
    )
