"""The breakdown point of a rule: the fewest clients it needs for the malicious ones it assumes."""

from __future__ import annotations

from dataclasses import dataclass

from lab.common.settings import SettingError


@dataclass(frozen=True)
class Breakdown:
    """A rule that needs at least `each` * faulty + `more` clients."""

    each: int
    more: int

    def fewest(self, faulty: int) -> int:
        return self.each * faulty + self.more

    def check(
        self, kind: str, faulty: int, clients: int, name: str = "aggregation.rule.faulty"
    ) -> None:
        """Raise SettingError when `faulty` is too large.  name: the setting, for the message."""
        if clients >= self.fewest(faulty):
            return
        most = (clients - self.more) // self.each
        raise SettingError(
            f"{name} is {faulty}, too many for {clients} clients a round: {kind} needs "
            f"{self.each} faulty + {self.more}; "
            + (f"give {most} at most" if most >= 0 else f"ask {self.more} or more")
        )
