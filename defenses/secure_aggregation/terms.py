"""The public terms of a round of secure aggregation, known to the server and every client.

Clients know the terms from the experiment as it was announced.  They check the server's requests
against them (`checks.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from lab.interfaces.opening_threshold import FEWEST_IN_SUM as FEWEST
from lab.interfaces.opening_threshold import enough

__all__ = ["FEWEST", "Context", "Generator", "Stage", "Terms", "enough"]

Stage = Literal["keys", "shares", "input", "unmasking"]
Generator = Literal["aes", "weak"]


class Context(NamedTuple):
    """The context that a client's keys are bound to; the server's claims enter nowhere else."""

    session: bytes  # the run and its round
    model: bytes = b""  # hash of the model that this client was sent; empty: masks are not bound

    @property
    def letters(self) -> bytes:
        """Return the purpose of the keys that seal letters."""
        return b"letter|" + self.session

    @property
    def masks(self) -> bytes:
        """Return the purpose of mask keys; it differs between clients who received other models."""
        return b"mask|" + self.session + b"|" + self.model


@dataclass(frozen=True)
class Terms:
    """The public parameters of a round."""

    clients: int  # who are asked
    threshold: int  # clients of the round who must answer at each stage
    neighbours: int = 0  # that each client chooses; 0: everybody, Bonawitz et al. 2017
    quorum: int = 0  # of a neighbourhood, whose shares give a secret back; 0: as the threshold
    signatures: bool = False
    generator: Generator = "aes"
    checks: bool = True  # whether clients refuse what these terms do not allow

    @property
    def shares_needed(self) -> int:
        return self.quorum or self.threshold

    @property
    def holders(self) -> int:
        """Count the clients that hold shares of one client's secrets, that client included."""
        return self.neighbours + 1 if self.neighbours else self.clients

    def seized(self, clients: int) -> Terms:
        """Return the terms under which a lying server runs a small round; clients keep these terms.

        All clients are neighbours, and the threshold is the lowest that clients might accept.
        """
        most = max(clients // 2 + 1, min(clients, self.shares_needed))
        return replace(self, clients=clients, threshold=most, neighbours=0, quorum=0)
