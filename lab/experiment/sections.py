"""The sections of an experiment file.  A field's one line is its check, slider, flag and help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from lab.common.settings import SettingError, Settings
from lab.interfaces.aggregation import AggregationRule, Codec, PreAggregator
from lab.interfaces.data import DataSource, Partition
from lab.interfaces.federated_algorithm import Algorithm
from lab.interfaces.poisoning import PoisoningAttack


class DataSettings(Settings):
    """What is learnt from, and who holds it."""

    source: DataSource = Field(
        default_factory=lambda: DataSource.pick("fashion-mnist"), description="the data set"
    )
    renamed: ClassVar[Mapping[str, str]] = {"split": "data.partition"}
    partition: Partition = Field(
        default_factory=lambda: Partition.pick("iid"), description="how the clients' data differ"
    )
    clients: int = Field(20, ge=2, le=10_000, description="clients in the federation")
    examples: int = Field(
        0, ge=0, le=100_000, description="training examples to share out; 0: all there are"
    )

    def shared(self) -> int:
        """How many training examples there are to deal out."""
        return min(self.examples, self.source.size) or self.source.size


class TrainingSettings(Settings):
    """What the clients and the server do in a round."""

    algorithm: Algorithm = Field(
        default_factory=lambda: Algorithm.pick("fedavg"), description="the server's algorithm"
    )
    rounds: int = Field(30, ge=1, le=2000, description="rounds of the whole run")
    clients_per_round: int = Field(0, ge=0, le=10_000, description="clients asked a round; 0: all")
    epochs: int = Field(1, ge=1, le=100, description="passes over a client's own data a round")
    steps: int = Field(0, ge=0, le=10_000, description="local steps a round at most; 0: no cap")
    batch_size: int = Field(32, ge=1, le=1024, description="examples in a local step")
    rate: float = Field(0.1, gt=0, le=10, description="learning rate of local SGD")
    device: Literal["cpu", "auto"] = Field(
        "cpu", description="what trains; auto: a GPU where there is one, to slightly other numbers"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of local gradients; bfloat16 is faster on processors that have it"
    )


class PrivacySettings(Settings):
    """Differential privacy: whose record is protected, and how well."""

    kind: Literal["none", "example", "client"] = Field(
        "none", description="the unit protected: nothing, one example, or a whole client"
    )
    epsilon: float = Field(8.0, ge=0.01, le=100, description="target at the end of the run")
    delta: float = Field(1e-3, gt=0, lt=1, description="chance that the guarantee fails")
    clip: float = Field(1.0, gt=0, le=1000, description="longest gradient or update let through")
    noise: float = Field(
        0.0, ge=0, le=1000, description="noise multiplier; 0: calibrated to epsilon"
    )
    sampling: Literal["poisson", "fixed"] = Field(
        "poisson",
        description="draws cohorts (client) or batches (example) independently, or of one size, "
        "which amplifies nothing for certain",
    )
    stop: bool = Field(
        False, description="end the run before the round that would pass the target epsilon"
    )
    quantile: float = Field(
        0.0, ge=0, le=1, description="share of updates that an adaptive clip leaves whole; 0: fixed"
    )
    per_layer: bool = Field(
        False, description="clip each of M layers to clip / sqrt(M), and not all of them as one"
    )
    place: Literal["distributed", "central", "local"] = Field(
        "distributed",
        description="who adds the noise: clients a share each, the server, or each client all",
    )
    secure_noise: bool = Field(
        False,
        description="noise, secret cohorts and batches that no seed repeats, from the operating "
        "system's generator",
    )
    backend: Literal["engine", "opacus"] = Field(
        "engine", description="what computes each example's gradient; opacus: slow, for comparison"
    )

    @property
    def adapts(self) -> bool:
        """Whether the clip moves from round to round."""
        return self.kind == "client" and self.quantile > 0

    @property
    def repeatable(self) -> bool:
        """Whether the same settings give the same noise."""
        return self.kind == "none" or not self.secure_noise

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.kind == "example" and self.quantile:
            raise SettingError(
                f"privacy.quantile is {self.quantile:g} with privacy.kind example, and the clip "
                "adapts to clients' updates only: give 0, or privacy.kind client"
            )
        if self.kind == "example" and self.place != "distributed":
            raise SettingError(
                f"privacy.place is {self.place} with privacy.kind example, where every client "
                "adds the noise of its own steps: give distributed, or privacy.kind client"
            )
        if self.kind == "client" and self.backend != "engine":
            raise SettingError(
                f"privacy.backend is {self.backend} with privacy.kind client, and Opacus protects "
                "examples: give engine, or privacy.kind example"
            )
        return self


class SecureAggregationSettings(Settings):
    """The server learns the sum of the updates and no single one."""

    enabled: bool = Field(False, description="mask every update; the cryptography really runs")
    threshold: float = Field(
        0.67,
        gt=0.5,
        le=1,
        description="share of a round's clients, and of each neighbourhood, needed to unmask",
    )
    neighbours: int = Field(
        0,
        ge=0,
        le=1000,
        description="clients that each one chooses to hold shares of its secrets; 0: all",
    )
    buckets: int = Field(
        1, ge=1, le=500, description="sums that the server sees, of random groups, for robust rules"
    )
    bound: float = Field(
        8.0, gt=0, le=1e6, description="largest coordinate of an update; larger ones are clipped"
    )
    norm: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="clients shorten updates to this length first; 0: they do not",
    )
    silent: Literal["keys", "shares", "input", "unmasking"] = Field(
        "input",
        description="stage from which lost clients are not heard; after input their updates count",
    )
    binding: bool = Field(
        True,
        description="bind masks to the hash of the model that each client was sent; off: a lesson",
    )
    signatures: bool = Field(
        False, description="sign keys and lists of survivors, against a server that lies"
    )
    checks: bool = Field(
        True,
        description="clients check neighbours, threshold and size of the sum; off: a lesson",
    )
    generator: Literal["aes", "weak"] = Field(
        "aes", description="of masks; weak is broken: its seed has 32 bits, as once was shipped"
    )
    on_abort: Literal["skip", "stop"] = Field(
        "skip", description="what a round below the threshold does to the run"
    )

    @property
    def sealed(self) -> bool:
        """Whether the server learns sums and nothing else, if it follows the protocol."""
        return self.enabled and self.generator == "aes"

    @property
    def surplus(self) -> float:
        """The most noise that sums can carry, in variances of what they need."""
        return self.buckets / self.threshold


class AdversarySettings(Settings):
    """Malicious clients."""

    count: int = Field(0, ge=0, le=10_000, description="malicious clients")
    renamed: ClassVar[Mapping[str, str]] = {"poison": "adversary.attack"}
    attack: PoisoningAttack = Field(
        default_factory=lambda: PoisoningAttack.pick("sign-flip"), description="what they do"
    )
    clients: tuple[Annotated[int, Field(ge=0, le=9_999)], ...] = Field(
        (), max_length=10_000, description="who they are, as far as named; others are drawn"
    )
    start: int = Field(1, ge=1, le=2000, description="the first round in which they act")
    once: bool = Field(False, description="act in that round only")
    chance: float = Field(
        1.0, gt=0, le=1, description="chance that they act in a round; else they are honest in it"
    )

    @field_validator("clients")
    @classmethod
    def _named(cls, clients: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(clients)) < len(clients):
            raise SettingError(f"adversary.clients is {list(clients)}: name each of them once")
        return clients


class AggregationSettings(Settings):
    """How the server makes one update out of many."""

    rule: AggregationRule = Field(
        default_factory=lambda: AggregationRule.pick("mean"),
        description="how the server folds the updates",
    )
    pre_aggregators: tuple[PreAggregator, ...] = Field(
        (), max_length=5, description="what the server does to the updates before its rule"
    )

    @field_validator("pre_aggregators", mode="before")
    @classmethod
    def _several(cls, given: Any) -> Any:
        """A single pre-aggregator needs no list."""
        return [given] if isinstance(given, (str, Mapping)) else given


class NetworkSettings(Settings):
    """What happens to messages."""

    availability: float = Field(
        1.0, ge=0.05, le=1, description="chance that a client can be asked in a round"
    )
    dropout: float = Field(
        0.0, ge=0, le=0.95, description="chance that a client's update never arrives"
    )
    compression: Codec = Field(
        default_factory=lambda: Codec.pick("none"), description="how clients pack their updates"
    )
    devices: Literal["none", "servers", "laptops", "phones", "mixed"] = Field(
        "none", description="what the clients run on, for a simulated clock; none: no clock"
    )
    deadline: float = Field(
        0.0, ge=0, le=1e6, description="simulated seconds until a round closes; 0: waits for all"
    )
    spare: float = Field(
        0.0, ge=0, le=4, description="share of clients asked beyond a cohort; the slowest are late"
    )
    error_feedback: bool = Field(
        False, description="clients add what packing lost to their next update"
    )
