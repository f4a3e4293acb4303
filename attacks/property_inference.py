"""A property of clients' data that is no label. Melis et al. 2019, arXiv:1805.04049, section 4.

The attacker makes its own updates from public examples with and without the property, and learns to
tell them apart.  Here a ridge regression on whole updates predicts the share of examples with the
property.  With so many parameters and so few updates, a random forest is unnecessary.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from lab.common.random_streams import random_stream
from lab.interfaces.privacy_attacks import PropertyInferenceAttack
from lab.interfaces.properties import Property, property_of
from lab.interfaces.views import AuxiliaryInfo, ServerView

RIDGE = 0.1  # of the mean squared length of an update, after centring
MIXES = (-1.0, 2.0)  # decimal exponents of Dirichlet draws: one class only, to all alike
ODDS = (0.3, 0.7)  # of being drawn, with the property against without


class PropertyInference(PropertyInferenceAttack):
    """Predicts the share of a client's examples that have a property which is not the label."""

    kind: Literal["property-inference"] = "property-inference"
    title: ClassVar[str] = "Property inference"
    source: ClassVar[str] = "Melis et al. 2019, arXiv:1805.04049, section 4"
    attacker: ClassVar[str] = "an honest-but-curious server"
    knows: ClassVar[str] = (
        "the architecture, the training recipe, how many examples a client has on average, "
        "and public examples with a known property"
    )
    fails: ClassVar[str] = (
        "clients that all have the same share of it; properties that hardly change a "
        "gradient; noise; under secure aggregation it only predicts the cohort's share"
    )
    property: str = Field(
        "label=0",
        max_length=80,
        pattern=r"^[^=]+(=.+)?$",
        description="the property: label=3; bright (pictures); sex=Female and the like (tables)",
    )
    made: int = Field(
        100,
        ge=10,
        le=1000,
        description="number of updates that it makes to learn from, for each round",
    )
    rounds: int = Field(
        3, ge=1, le=50, description="number of rounds that it looks at, the last ones"
    )
    present: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share from which a client counts as having the property; 0: the median",
    )

    def trait(self, known: AuxiliaryInfo, classes: int) -> Property:
        return property_of(self.property, known, classes)

    def sets(self, view: ServerView, known: AuxiliaryInfo) -> Tensor:
        """Draw sets of every mix of classes, with more or fewer examples that have the property.

        The regression then does not follow the classes alone.
        """
        labels, drawn = known.labels.numpy(), random_stream(view.round, "property sets")
        has = self.trait(known, view.network.classes).holds(known.inputs, known.labels).numpy()
        size = max(1, min(round(view.recipe.mean_size), len(labels) // 2))
        there = np.bincount(labels, minlength=view.network.classes)
        found = []
        for _ in range(self.made):
            mix = drawn.dirichlet(np.full(len(there), 10 ** drawn.uniform(*MIXES)))
            odds = drawn.uniform(*ODDS)
            likely = mix[labels] / there[labels] * np.where(has, odds, 1 - odds)
            # Without replacement, each by its weight: the largest of weights plus Gumbel noise.
            keys = np.log(likely + 1e-12) + drawn.gumbel(size=len(labels))
            found.append(np.argsort(-keys)[:size])
        return torch.from_numpy(np.stack(found))

    def __call__(
        self, view: ServerView, known: AuxiliaryInfo, sets: Tensor, made: Tensor
    ) -> Tensor:
        """Fit a ridge regression of the share on the update's direction, in its dual form.

        sets (sets, examples), made (sets, params) -> (rows,)
        """
        has = self.trait(known, view.network.classes).holds(known.inputs, known.labels)
        shares = has.double()[sets].mean(dim=1)  # (sets,)
        mine, theirs = F.normalize(made.double()), F.normalize(view.rows.double())
        middle = mine.mean(dim=0)
        gram = (mine - middle) @ (mine - middle).T  # (sets, sets)
        strength = RIDGE * gram.diagonal().mean().clamp_min(1e-12)
        weights = torch.linalg.solve(
            gram + strength * torch.eye(len(gram), dtype=gram.dtype), shares - shares.mean()
        )
        found: Tensor = (theirs - middle) @ (mine - middle).T @ weights + shares.mean()
        return found
