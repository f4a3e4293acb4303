"""Outline: the settings of a run as they are in one of its rounds, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from lab.common.settings import Settings
from lab.experiment.sections import (
    AdversarySettings,
    DataSettings,
    NetworkSettings,
    PrivacySettings,
    SecureAggregationSettings,
    TrainingSettings,
)
from lab.interfaces.aggregation import AggregationRule, PreAggregator
from lab.interfaces.messages import TrainingPlan
from lab.models.architectures import Model
from lab.models.network import Network


class RoundSettings(Settings):
    """An experiment without its changes.  Abstract: `Experiment` has the whole of it."""

    seed: int = Field(0, ge=0, le=2**53 - 1, description="every random draw follows from it")
    nonce: int = Field(
        0,
        ge=0,
        le=2**53 - 1,
        description="part of the names of private random draws; every branch of a run gets its own",
    )
    data: DataSettings = Field(default_factory=DataSettings)
    model: Model = Field(default_factory=lambda: Model.pick("mlp"), description="what is trained")
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    privacy: PrivacySettings = Field(default_factory=PrivacySettings)
    secure_aggregation: SecureAggregationSettings = Field(default_factory=SecureAggregationSettings)
    adversary: AdversarySettings = Field(default_factory=AdversarySettings)
    rule: AggregationRule = Field(
        default_factory=lambda: AggregationRule.pick("mean"),
        description="how the server folds the updates",
    )
    stages: tuple[PreAggregator, ...] = Field(
        (), max_length=5, description="what the server does to the updates before its rule"
    )
    network: NetworkSettings = Field(default_factory=NetworkSettings)

    @field_validator("stages", mode="before")
    @classmethod
    def _several(cls, stages: Any) -> Any:
        """A single stage needs no list."""
        return [stages] if isinstance(stages, (str, Mapping)) else stages

    @property
    def cohort_size(self) -> int:
        """Clients asked a round, or expected to be, where they are drawn one by one."""
        return self.training.clients_per_round or self.data.clients

    @property
    def architecture(self) -> Network:
        return Network(self.model, self.data.source.shape, len(self.data.source.classes))

    @property
    def recipe(self) -> TrainingPlan:
        """What clients are told to do, and everybody knows.

        Under example-level privacy every client draws each example with one common probability, so
        that all take equally many steps and the guarantee is the same for every example.
        """
        training, data = self.training, self.data
        mean_size = data.shared() * data.split.dealt / data.clients
        drawn = self.privacy.kind == "example" and self.privacy.sampling == "poisson"
        return TrainingPlan(
            epochs=training.epochs,
            cap=training.steps,
            batch_size=training.batch_size,
            rate=training.rate,
            poisson=min(1.0, training.batch_size / mean_size) if drawn else None,
            weighted=self.privacy.kind != "client" and not self.training.algorithm.uniform,
            mean_size=mean_size,
        )

    @property
    def remembers(self) -> bool:
        """Whether a round depends on more of the past than the model."""
        poisoned = self.adversary.count > 0 and self.adversary.poison.remembers
        return (
            bool(self.training.algorithm.begin(1, 1))
            or self.network.error_feedback
            or self.privacy.adapts
            or poisoned
            or any(stage.begin(1, 1) for stage in self.stages)
        )

    @property
    def choosy(self) -> str:
        """The rule or stage that needs single updates, by name; empty if none does."""
        if self.rule.needs_rows:
            return f"rule.kind {self.rule.kind}"
        return f"stages, kind {self.stages[0].kind}," if self.stages else ""

    @property
    def plain(self) -> str:
        """In words, what makes do with the sum of the updates."""
        return "rule.kind mean without stages" if self.stages else "rule.kind mean"
