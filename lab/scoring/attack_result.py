"""Results of attacks, and what they look like on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

from pydantic import Field
from torch import Tensor

from lab.common.settings import Settings
from lab.privacy.guarantee import PrivacyGuarantee
from lab.scoring.audit_score import AuditScore
from lab.scoring.membership.active_gain import ActiveGain
from lab.scoring.membership.further_scores import OtherClientsScore, PooledScore
from lab.scoring.membership.leakage_by_group import LeakageByGroup
from lab.scoring.membership.membership_score import MembershipScore
from lab.scoring.membership.source_score import SourceInferenceScore
from lab.scoring.property_score import PropertyScore
from lab.scoring.reconstruction.image_score import ImageScore
from lab.scoring.reconstruction.label_score import LabelScore
from lab.scoring.reconstruction.record_score import RecordScore
from lab.scoring.reconstruction.text_score import TextScore
from lab.scoring.secret_score import SecretExposureScore
from lab.scoring.tampering_signs import TamperingSigns
from lab.scoring.update_score import UpdateRecoveryScore

# What an attack came to, told apart by `kind`.  Each has `lines()` for a person.
Score = (
    ImageScore
    | LabelScore
    | RecordScore
    | TextScore
    | MembershipScore
    | UpdateRecoveryScore
    | SecretExposureScore
    | PropertyScore
    | AuditScore
    | LeakageByGroup
    | PooledScore
    | OtherClientsScore
    | SourceInferenceScore
    | ActiveGain
    | TamperingSigns
)
AnyScore = Annotated[Score, Field(discriminator="kind")]
Kind = TypeVar("Kind", bound=Settings)


class AttackResult(Settings):
    """What an attack came to, with everything that was assumed."""

    attack: str
    settings: dict[str, float | int | str]
    round: int
    client: int | None = None
    own: bool = False  # whether the private example was a picture of the user's own
    seconds: float | None = None  # that the attack itself took
    declared: dict[str, str]
    guarantee: PrivacyGuarantee | None = None
    score: AnyScore | None = None
    extras: tuple[AnyScore, ...] = ()  # further scores, such as those of groups

    def find(self, kind: type[Kind]) -> Kind | None:
        """Return the score of that kind, if there is one."""
        found = (one for one in (self.score, *self.extras) if isinstance(one, kind))
        return next(found, None)

    def lines(self) -> list[str]:
        """The result in plain sentences: what was found, beside what a guess would give."""
        whose = ", a picture of your own" if self.own else of(self.client)
        told = [f"{self.attack} on round {self.round}{whose}"]
        if self.score:
            told += self.score.lines()
        for extra in self.extras:
            if isinstance(extra, ImageScore):
                told.append("what that update shows of an example, read off its first layer:")
            told += extra.lines()
        if self.seconds is not None:
            told.append(f"the attack took {self.seconds:.1f} s")
        told += [f"{name}: {value}" for name, value in self.declared.items()]
        nothing = "no privacy guarantee against this attacker"
        told.append(self.guarantee.sentence() if self.guarantee else nothing)
        return told


def of(client: int | None) -> str:
    return "" if client is None else f", client {client}"


@dataclass(frozen=True, eq=False)
class AttackProgress:
    """Where an attack stands.  The last glimpse of an attack carries its result."""

    step: int
    steps: int
    objective: float | None = None
    # "guess" beside "private", or "most" and "least" exposed
    pictures: Mapping[str, Tensor] = field(default_factory=dict)
    score: Score | None = None  # so far
    result: AttackResult | None = None
    conclude: Callable[[str], AttackResult] | None = (
        None  # its result if it ends here, and why it does
    )
