"""Confidence against that in such examples. Bertran et al. 2023, arXiv:2307.03694."""

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
    """By how much the model is surer than of public examples that look like this one.

    The median confidence is regressed on the example, on public examples alone; no shadows.
    """

    kind: Literal["quantile-regression"] = "quantile-regression"
    source: ClassVar[str] = "Bertran et al. 2023, arXiv:2307.03694"
    attacker: ClassVar[str] = "anybody who may ask the released model"
    knows: ClassVar[str] = "public examples and each candidate, with their labels; no recipe"
    fails: ClassVar[str] = "kinds of examples whose difficulty their looks do not tell"
    reads: ClassVar[tuple[Modality, ...]] = ("pictures", "table")
    public: int = Field(2000, ge=50, le=10_000, description="public examples that it is fitted to")
    features: int = Field(40, ge=1, le=200, description="principal components of an example")

    def needs(self) -> AttackResources:
        return AttackResources(public=self.public)

    def signal(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """The logit-scaled confidence log(p / (1 - p)) of each label.  -> (candidates,) float64"""
        return confidence(logits_of(view, asked), asked.labels)

    def __call__(self, evidence: MembershipSignals) -> Tensor:
        """How far above the median the confidence is.  -> (candidates,)"""
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
        """Components of each example and its label, of candidates and public examples."""
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
