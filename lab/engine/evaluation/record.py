"""Records: the experimenter's eye.  Small frozen values that turn into JSON and back."""

from __future__ import annotations

from lab.common.settings import Settings


class RoundRecord(Settings):
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
