"""What an audit has proven or detected, beside what the accountant claims."""

from __future__ import annotations

from typing import Literal

from lab.common.settings import Settings
from lab.privacy.audit_bounds import GAUSSIAN, NOTHING, EpsilonBound, Premise


class AuditReading(Settings):
    """After one round.  Each bound holds with the audit's confidence, by itself."""

    round: int
    claimed: float | None = None  # epsilon by the accountant; None: nothing is claimed
    proven: float  # epsilon is at least this, under the premise of the main bound
    certain: float  # the same where much less doubt is left: what a detection rests on
    beside: dict[str, float]  # what other methods prove, by name
    point: float | None = None  # an estimate that proves nothing; None: no sense in one


class AuditScore(Settings):
    """What canaries showed, with all that makes a lower bound mean something."""

    kind: Literal["audit"] = "audit"
    readings: tuple[AuditReading, ...]
    delta: float
    confidence: float
    adversary: str  # what it sees and knows
    unit: str
    canaries: int
    included: int
    fault: str
    bounds: tuple[EpsilonBound, ...]  # after the last reading, the main one first
    # The mechanism is known not to fit the main bound's premise: what it finds is no bound.
    detects: bool = False
    # Proven at the audit's confidence, all of them together, if scores are independent: tests with
    # at most so many false positives and at least so many true ones.
    reached: tuple[tuple[float, float], ...] = ()
    verdict: str

    @property
    def last(self) -> AuditReading:
        return self.readings[-1]

    @property
    def broken(self) -> bool:
        """Whether more is certain than was promised: a bound alone is wrong now and then."""
        return self.last.claimed is not None and self.last.certain > self.last.claimed

    @property
    def premise(self) -> Premise | None:
        """Of the main bound."""
        return self.bounds[0].premise if self.bounds else None

    @property
    def unconditional(self) -> float | None:
        """What is proven without assumptions on mechanism and scores, at the audit's confidence."""
        found = [bound.epsilon for bound in self.bounds if bound.premise == NOTHING]
        return found[0] if found else None

    def bounding(self, bound: EpsilonBound) -> bool:
        """Whether that bound is one: its premise is not known to be false."""
        return not (self.detects and bound.premise == GAUSSIAN)

    def lines(self) -> list[str]:
        last, found = self.last, [self.verdict]
        found += [
            bound.sentence() if self.bounding(bound) else bound.detection() for bound in self.bounds
        ]
        if last.point is not None and not self.detects:
            found.append(f"a point estimate, which proves nothing: {last.point:.2f}")
        found.append(
            f"{self.included:,} of {self.canaries:,} canaries were in, each with chance one half"
        )
        found.append(f"adversary: {self.adversary}")
        found += [f"assumed: {words}" for words in dict.fromkeys(b.assumption for b in self.bounds)]
        if self.fault != "none":
            found.append(f"broken on purpose: {self.fault}")
        return found


def verdict_of(
    last: AuditReading, fault: str, premise: Premise | None, detects: bool = False
) -> str:
    """What the audit says in a line.

    premise: of the main bound
    detects: the mechanism is known not to fit it, so that the bound is none
    """
    claimed, proven = last.claimed, last.proven
    if claimed is None:
        return f"nothing is promised: epsilon is {proven:.2f} at least, with no bound from above"
    gaussian = premise == GAUSSIAN
    if last.certain > claimed:
        detected = f"detected: the mechanism is not what is claimed at epsilon {claimed:.2f}"
        if detects:
            return f"{detected}; how large its epsilon is stays open"
        condition = "if only its noise is too small, " if gaussian else ""
        return f"{detected}; {condition}epsilon is at least {proven:.2f}"
    if proven > claimed:
        return (
            f"suspicious: the scores look like epsilon {proven:.2f} and {claimed:.2f} is claimed, "
            "but a sound mechanism shows as much now and then; audit again with more canaries"
        )
    if fault != "none":
        return f"not caught ({fault}): nothing speaks against epsilon {claimed:.2f}"
    condition = " of a Gaussian mechanism" if gaussian else ""
    return (
        f"nothing speaks against epsilon {claimed:.2f}: at least {proven:.2f} is proven{condition}"
    )
