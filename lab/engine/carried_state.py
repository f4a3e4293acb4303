"""What one round of a run leaves for the next, beside the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from lab.interfaces.federated_algorithm import Memory

ALGORITHM = "algorithm"  # the first word of a stored tensor's name, where the algorithm named it
PRE_AGGREGATION = "pre_aggregation"


@dataclass(frozen=True, eq=False)
class PreAggregatorMemory:
    """What one pre-aggregator keeps, by its own names."""

    kind: str
    tensors: Memory


@dataclass(frozen=True, eq=False)
class OwnMetrics:
    """How good each client's own model was when the client last took part; NaN before it did."""

    accuracy: Tensor  # (clients,) on the client's own mix of labels
    accuracy_on_all: Tensor  # (clients,) on all test examples
    loss_on_all: Tensor  # (clients,)

    @classmethod
    def unknown(cls, clients: int) -> OwnMetrics:
        nothing = torch.full((clients,), torch.nan)
        return cls(nothing, nothing, nothing)

    def updated(self, clients: list[int], measured: OwnMetrics) -> OwnMetrics:
        """Return a copy with the measurements of `clients` in place of older ones."""
        pairs = zip(self.columns(), measured.columns(), strict=True)
        return OwnMetrics(*(known.index_put((_at(clients),), new) for known, new in pairs))

    def columns(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.accuracy, self.accuracy_on_all, self.loss_on_all


@dataclass(frozen=True, eq=False)
class CarriedState:
    """All that the next round needs besides the model and the settings."""

    algorithm: Memory = field(default_factory=dict)  # by the algorithm's own names
    residuals: Tensor | None = None  # (clients, params) what compression has lost so far
    clip: Tensor | None = None  # (1,) float64, the clip of the next round, where it adapts
    pre_aggregation: tuple[PreAggregatorMemory, ...] = ()  # in the order of the settings
    own_metrics: OwnMetrics | None = None
    last_change: Tensor | None = None  # (params,) of the model, where a poisoning attack needs it

    def with_algorithm(self, memory: Memory) -> CarriedState:
        """Return a copy for another algorithm, whose clients have no models of their own yet."""
        return replace(self, algorithm=memory, own_metrics=None)

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by name, as a file holds them."""
        found = {f"{ALGORITHM}/{name}": value for name, value in self.algorithm.items()}
        for index, kept in enumerate(self.pre_aggregation):
            start = f"{PRE_AGGREGATION}/{index}/{kept.kind}"
            found |= {f"{start}/{name}": value for name, value in kept.tensors.items()}
        if self.own_metrics is not None:
            found["own_metrics"] = torch.stack(self.own_metrics.columns(), dim=1)  # (clients, 3)
        alone = {"residuals": self.residuals, "clip": self.clip, "last_change": self.last_change}
        return found | {name: value for name, value in alone.items() if value is not None}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> CarriedState:
        """Read what `tensors` wrote."""
        algorithm: dict[str, Tensor] = {}
        kinds: dict[int, tuple[str, dict[str, Tensor]]] = {}
        for name, value in tensors.items():
            first, _, rest = name.partition("/")
            if first == ALGORITHM:
                algorithm[rest] = value
            elif first == PRE_AGGREGATION:
                index, kind, own_name = rest.split("/", 2)
                kinds.setdefault(int(index), (kind, {}))[1][own_name] = value
        metrics = tensors.get("own_metrics")
        return cls(
            algorithm=algorithm,
            residuals=tensors.get("residuals"),
            clip=tensors.get("clip"),
            pre_aggregation=tuple(PreAggregatorMemory(*kinds[index]) for index in sorted(kinds)),
            own_metrics=None if metrics is None else OwnMetrics(*metrics.unbind(dim=1)),
            last_change=tensors.get("last_change"),
        )


def _at(clients: list[int]) -> Tensor:
    return torch.tensor(clients, dtype=torch.long)
