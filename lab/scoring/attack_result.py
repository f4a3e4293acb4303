"""Results of attacks, and what they look like on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from lab.common.settings import Settings
from lab.privacy.guarantee import Guarantee
from lab.scoring.audit_score import Audited
from lab.scoring.membership.active_gain import Gain
from lab.scoring.membership.leakage_by_group import Breakdown
from lab.scoring.membership.membership_score import Exposure
from lab.scoring.membership.source_score import Attribution
from lab.scoring.property_score import Poll
from lab.scoring.reconstruction.image_scorer import Likeness
from lab.scoring.reconstruction.label_score import Headcount
from lab.scoring.reconstruction.record_score import Dossier
from lab.scoring.reconstruction.text_score import Wording
from lab.scoring.secret_score import Secrets
from lab.scoring.tampering_signs import Sign
from lab.scoring.update_score import Unmasked


class Result(Settings):
    """What an attack came to, with everything that was assumed."""

    attack: str
    settings: dict[str, float | int | str]
    round: int
    client: int | None = None
    own: bool = False  # whether the private example was a picture of the user's own
    seconds: float | None = None  # that the attack itself took
    declared: dict[str, str]
    guarantee: Guarantee | None = None
    likeness: Likeness | None = None
    headcount: Headcount | None = None
    dossier: Dossier | None = None
    wording: Wording | None = None
    exposure: Exposure | None = None
    breakdown: Breakdown | None = None  # who is exposed most
    pooled: Exposure | None = None  # the same attack on models like this one, taken together
    targets: int = 0  # how many those are
    rivals: Exposure | None = None  # against members of other clients
    attribution: Attribution | None = None
    unmasked: Unmasked | None = None
    secrets: Secrets | None = None
    gain: Gain | None = None  # of acting over watching
    poll: Poll | None = None
    audited: Audited | None = None
    noticed: tuple[Sign, ...] | None = None  # by a client that was sent a planted model

    def lines(self) -> list[str]:
        """The result in plain sentences: what was found, beside what a guess would give."""
        whose = ", a picture of your own" if self.own else of(self.client)
        told = [f"{self.attack} on round {self.round}{whose}"]
        if self.unmasked:
            told += self.unmasked.lines()
        if found := self.likeness:
            if self.unmasked:
                told.append("what that update shows of an example, read off its first layer:")
            told += found.lines()
        if self.headcount:
            told += self.headcount.lines()
        if self.dossier:
            told += self.dossier.lines()
        if self.wording:
            told += self.wording.lines()
        if self.exposure:
            told += self.exposure.lines()
        if self.breakdown:
            told += self.breakdown.lines()
        if self.pooled:
            told.append(
                f"models like this one, {self.targets} federations by the same recipe together:"
            )
            told += self.pooled.lines(blind=False)  # who is inside was drawn at random
        if self.rivals:
            told += ["against members of other clients:", *self.rivals.lines()]
        if self.attribution:
            told += self.attribution.lines()
        if self.secrets:
            told += self.secrets.lines()
        if self.poll:
            told += self.poll.lines()
        if self.gain:
            told += self.gain.lines()
        if self.audited:
            told += self.audited.lines()
        if self.noticed is not None:
            raised = [sign.told for sign in self.noticed if sign.raised]
            nothing = "a careful client could have noticed nothing that Leaklab looks at"
            told += ["a careful client could have noticed:" if raised else nothing, *raised]
        if self.seconds is not None:
            told.append(f"the attack took {self.seconds:.1f} s")
        told += [f"{name}: {value}" for name, value in self.declared.items()]
        nothing = "no privacy guarantee against this attacker"
        told.append(self.guarantee.sentence() if self.guarantee else nothing)
        return told


def of(client: int | None) -> str:
    return "" if client is None else f", client {client}"


@dataclass(frozen=True, eq=False)
class Glimpse:
    """Where an attack stands.  The last glimpse of a trial carries its result."""

    step: int
    steps: int
    objective: float | None
    pictures: dict[str, Tensor]  # "guess" beside "private", or "most" and "least" exposed
    likeness: Likeness | None
    result: Result | None = None
    headcount: Headcount | None = None
    conclude: Callable[[str], Result] | None = None  # its result if it ends here, and why it does
    dossier: Dossier | None = None
    wording: Wording | None = None
    audited: Audited | None = None
