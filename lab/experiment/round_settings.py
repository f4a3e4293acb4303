"""Outline: the settings of a run as they are in one of its rounds, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from lab.common.settings import Settings
from lab.experiment.sections import (
    AdversarySettings,
    AggregationSettings,
    DataSettings,
    NetworkSettings,
    PrivacySettings,
    SecureAggregationSettings,
    TrainingSettings,
)
from lab.interfaces.messages import TrainingPlan
from lab.models.architectures import Model
from lab.models.network import Network


class RoundSettings(Settings):
    """An experiment without its changes.  Abstract: `Experiment` has the whole of it."""

    renamed: ClassVar[Mapping[str, str]] = {
        "rule": "aggregation.rule",
        "stages": "aggregation.pre_aggregators",
    }

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
    aggregation: AggregationSettings = Field(default_factory=AggregationSettings)
    network: NetworkSettings = Field(default_factory=NetworkSettings)

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
        mean_size = data.shared() * data.partition.dealt / data.clients
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
        poisoned = self.adversary.count > 0 and self.adversary.attack.remembers
        return (
            bool(self.training.algorithm.begin(1, 1))
            or self.network.error_feedback
            or self.privacy.adapts
            or poisoned
            or any(stage.begin(1, 1) for stage in self.aggregation.pre_aggregators)
        )

    @property
    def choosy(self) -> str:
        """The rule or pre-aggregator that needs single updates, by name; empty if none does."""
        rule, before = self.aggregation.rule, self.aggregation.pre_aggregators
        if rule.needs_rows:
            return f"aggregation.rule.kind {rule.kind}"
        return f"aggregation.pre_aggregators, kind {before[0].kind}," if before else ""

    @property
    def plain(self) -> str:
        """In words, what makes do with the sum of the updates."""
        mean = "aggregation.rule.kind mean"
        return f"{mean} without pre-aggregators" if self.aggregation.pre_aggregators else mean
