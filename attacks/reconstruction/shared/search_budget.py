"""The pace of a search: the used share of its steps and seconds, and when to show a guess."""

from __future__ import annotations

from math import inf

from lab.common.thread_time import thread_seconds

SHOWN = 50  # times on the way,
OFTEN = 0.2  # and never longer apart than so many seconds
KNOWN = 20  # steps, after which it is clear how long one takes
# A search is stuck when in the later half of its way it has not come a thousandth further down
# over this share of the way.  In the earlier half its steps are so large that it only looks around.
LATE, IDLE, LESS = 0.5, 0.15, 0.999


class Pace:
    """A counter of steps from 1.  The clock sets the pace only where the seconds are too few."""

    def __init__(self, steps: int, seconds: float) -> None:
        self.step, self._steps, self._seconds = 0, steps, seconds
        self._began = self._shown = thread_seconds()
        self._lowest, self._lowered = inf, 0.0

    @property
    def spent(self) -> float:
        """Return the used share of steps or seconds, whichever will run out first."""
        steps, seconds = self.step / self._steps, (thread_seconds() - self._began) / self._seconds
        return max(steps, seconds) if self.step >= KNOWN or seconds >= 1 else steps

    def tick(self) -> bool:
        """Count one more step, if there is any left."""
        if self.spent >= 1:
            return False
        self.step += 1
        return True

    def stuck(self, height: float) -> bool:
        """Return whether to give up; height: the objective of this step, lower is better."""
        spent = self.spent
        if height < LESS * self._lowest:
            self._lowest, self._lowered = height, spent
        return spent >= LATE and spent - self._lowered >= IDLE

    def shows(self) -> bool:
        """Return whether it is time for a guess; always true when the budget is used up."""
        now = thread_seconds()
        due = self.step % max(1, self._steps // SHOWN) == 0 or now - self._shown >= OFTEN
        if due or self.spent >= 1:
            self._shown = now
            return True
        return False
