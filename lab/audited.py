"""What an audit has proven, beside what the accountant claims."""

from __future__ import annotations

from lab.bounds import Bound
from lab.settings import Settings


class Reading(Settings):
    """After one round.  Each bound holds with the audit's confidence, by itself."""

    round: int
    claimed: float | None  # epsilon by the accountant; None: nothing is claimed
    proven: float  # epsilon is at least this
    certain: float  # the same where much less doubt is left: what an accusation rests on
    beside: dict[str, float]  # what other methods prove, by name
    point: float | None  # an estimate that proves nothing; None: no sense in one


class Audited(Settings):
    """What canaries showed, with all that makes a lower bound mean something."""

    readings: tuple[Reading, ...]
    delta: float
    confidence: float
    adversary: str  # what it sees and knows
    unit: str
    canaries: int
    included: int
    fault: str
    bounds: tuple[Bound, ...]  # after the last reading, the main one first
    # Proven at the audit's confidence, all of them together: tests with at most so many false
    # positives and at least so many true ones.
    reached: tuple[tuple[float, float], ...] = ()
    verdict: str

    @property
    def last(self) -> Reading:
        return self.readings[-1]

    @property
    def broken(self) -> bool:
        """Whether more is certain than was promised: a bound alone is wrong now and then."""
        return self.last.claimed is not None and self.last.certain > self.last.claimed

    def lines(self) -> list[str]:
        last, found = self.last, [self.verdict]
        found += [bound.sentence() for bound in self.bounds]
        if last.point is not None:
            found.append(f"a point estimate, which proves nothing: {last.point:.2f}")
        found.append(
            f"{self.included:,} of {self.canaries:,} canaries were in, each with chance one half"
        )
        found.append(f"adversary: {self.adversary}")
        found += [f"assumed: {words}" for words in dict.fromkeys(b.assumption for b in self.bounds)]
        if self.fault != "none":
            found.append(f"broken on purpose: {self.fault}")
        return found


def verdict_of(last: Reading, fault: str) -> str:
    """What the audit says in a line."""
    claimed, proven = last.claimed, last.proven
    if claimed is None:
        return f"nothing is promised: epsilon is {proven:.2f} at least, with no bound from above"
    if last.certain > claimed:
        return (
            f"the mechanism is broken: it claims epsilon {claimed:.2f}, and {proven:.2f} is proven"
        )
    if proven > claimed:
        return (
            f"suspicious: {proven:.2f} is proven and epsilon {claimed:.2f} claimed, but a sound "
            "mechanism shows as much now and then; audit again with more canaries"
        )
    if fault != "none":
        return f"not caught ({fault}): {proven:.2f} is proven of the epsilon {claimed:.2f} claimed"
    return f"nothing speaks against epsilon {claimed:.2f}: at least {proven:.2f} of it is proven"
