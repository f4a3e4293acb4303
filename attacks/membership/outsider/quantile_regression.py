"""Confidence compared with its predicted median. Bertran et al. 2023, arXiv:2307.03694."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from attacks.membership.shared.confidence import confidence, logits_of
from lab.common.settings import SettingError
from lab.interfaces.attack_data import Candidates, MembershipSignals
from lab.interfaces.privacy_attacks import AttackResources, MembershipInferenceAttack
from lab.interfaces.views import OutsiderView
from lab.models.architectures import Modality

SLACK = 0.05  # errors so small do not count: the regression is nearly that of the median
WIDTH, STRENGTH = 0.3, 10.0  # of its kernel, of its fit


class QuantileRegression(MembershipInferenceAttack):
    """Compares the model's confidence on an example with its median on similar public examples.

    A regression on public examples predicts the median confidence; no shadow models are needed.
    """

    kind: Literal["quantile-regression"] = "quantile-regression"
    title: ClassVar[str] = "Quantile regression"
    source: ClassVar[str] = "Bertran et al. 2023, arXiv:2307.03694"
    attacker: ClassVar[str] = "anybody who may query the released model"
    knows: ClassVar[str] = (
        "public examples and each candidate, with their labels; no training recipe"
    )
    fails: ClassVar[str] = "examples whose difficulty does not show in their features"
    reads: ClassVar[tuple[Modality, ...]] = ("pictures", "table")
    public: int = Field(
        2000, ge=50, le=10_000, description="number of public examples to fit the regression"
    )
    features: int = Field(
        40, ge=1, le=200, description="number of principal components that describe an example"
    )

    def needs(self) -> AttackResources:
        return AttackResources(public=self.public)

    def signal(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """Return each label's logit-scaled confidence, log(p / (1 - p)).

        -> (candidates,), float64
        """
        return confidence(logits_of(view, asked), asked.labels)

    def __call__(self, evidence: MembershipSignals) -> Tensor:
        """Return the confidence minus the predicted median.  -> (candidates,)"""
        from sklearn.svm import SVR

        known = evidence.target_public.isfinite().numpy()
        if known.sum() < 2:
            raise SettingError(
                f"{self.kind} is fitted to public examples, and {known.sum()} are left: "
                "choose a data set with more, or fewer clients' examples"
            )
        asked, public = self._tables(evidence)
        found = SVR(gamma=WIDTH, C=STRENGTH, epsilon=SLACK)
        found.fit(public[known], evidence.target_public.numpy()[known])
        return evidence.target - torch.from_numpy(found.predict(asked))

    def _tables(self, evidence: MembershipSignals) -> tuple[np.ndarray, np.ndarray]:
        """Return components and label of each candidate, and of each public example."""
        from sklearn.decomposition import PCA

        examples = evidence.candidates, evidence.public
        flat = [each.inputs.flatten(1).numpy() for each in examples]
        most = min(self.features, *flat[1].shape)
        parts = PCA(most, random_state=0).fit(flat[1])
        scale = max(float(parts.explained_variance_[0]), 1e-12) ** 0.5
        classes = 1 + max(int(each.labels.max()) for each in examples if len(each.labels))
        asked, public = (
            np.concatenate([parts.transform(rows) / scale, np.eye(classes)[each.labels]], axis=1)
            for rows, each in zip(flat, examples, strict=True)
        )
        return asked, public
