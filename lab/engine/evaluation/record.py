"""Records: the experimenter's eye.  Small frozen values that turn into JSON and back."""

from __future__ import annotations

from lab.common.settings import Settings


class Guarantee(Settings):
    """A differential-privacy guarantee with all that makes its epsilon mean something."""

    epsilon: float
    at_least: float | None = None  # what it is not below, where the accountant is not tight
    delta: float
    unit: str  # what one record is: an example or a client
    relation: str  # when two data sets are neighbours
    against: str  # who the adversary may be
    sampling: str  # how examples or clients were drawn
    accountant: str
    noise: tuple[float, ...]  # noise multipliers of the mechanisms composed
    profile: tuple[tuple[float, float], ...] = ()  # further pairs of epsilon and delta that hold
    condition: str = "the seed and the records stay secret"  # as long as which it holds

    def differs(self, other: Guarantee) -> list[str]:
        """In what another guarantee means something else, so that the two cannot be compared."""
        names = ("unit", "relation", "against", "delta")
        return [name for name in names if getattr(self, name) != getattr(other, name)]

    def value(self) -> str:
        if self.at_least is None:
            return f"{self.epsilon:.3g}"
        return f"{self.at_least:.3g} to {self.epsilon:.3g}"

    def sentence(self) -> str:
        return (
            f"epsilon {self.value()} at delta {self.delta:g} for one {self.unit} "
            f"({self.relation}), against {self.against}; {self.sampling}; {self.accountant}; "
            f"for this run alone, as long as {self.condition}"
        )


class Record(Settings):
    """What one round measured."""

    round: int
    accuracy: float  # share of test examples classified rightly
    loss: float | None  # mean cross-entropy on the test examples; None once it overflows
    epsilon: float | None  # spent so far; None: no guarantee
    bytes_up: int
    bytes_down: int
    fairness: tuple[float | None, ...] = ()  # accuracy for each client; None: it has no examples
    personal: tuple[float | None, ...] = ()  # the same of each client's own model, once it has one
    single: tuple[float | None, ...] = ()  # accuracy of that model on all test examples
    backdoor: float | None = None  # share of triggered test examples that obey the attacker
    clients: tuple[int, ...] = ()  # who was asked
    lost: tuple[int, ...] = ()  # of whom the server got nothing
    late: tuple[int, ...] = ()  # those of them who came too late
    clip: float | None = None  # in force, where it adapts; None: the clip of the settings, if any
    duration: float | None = None  # simulated seconds; None: no clock
    norms: tuple[float | None, ...] = ()  # true length of each update, before any defence
    malicious: tuple[int, ...] = ()  # of those asked, who acted against the others
    influence: tuple[float, ...] = ()  # how far the step moves with each update; empty: unknown
    share: tuple[float, ...] = ()  # what part of the step came of each update; empty: unknown
    verdict: tuple[str, ...] = ()  # of each update: kept, shortened, left out; empty: all count
    note: str = ""

    @property
    def arrived(self) -> list[int]:
        """Whose update the server got, alone or in a sum."""
        return [client for client in self.clients if client not in self.lost]
