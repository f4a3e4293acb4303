"""What a round of secure aggregation is run under: known to the server and to every client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from lab.threshold import enough as enough

Stage = Literal["keys", "shares", "input", "unmasking"]
Generator = Literal["aes", "weak"]


class Context(NamedTuple):
    """What a client's keys are bound to; the server's claims enter nowhere else."""

    session: bytes  # the run and its round
    model: bytes = b""  # hash of the model that this client was sent; empty: masks are not bound

    @property
    def letters(self) -> bytes:
        """The purpose of the keys that letters are sealed with."""
        return b"letter|" + self.session

    @property
    def masks(self) -> bytes:
        """The purpose of mask keys.  They differ between clients who were sent other models."""
        return b"mask|" + self.session + b"|" + self.model


@dataclass(frozen=True)
class Terms:
    """How many must answer, and who shares masks with whom."""

    threshold: int  # clients of the round who must answer at each stage
    neighbours: int = 0  # of each client, an even number; 0: everybody, Bonawitz et al. 2017
    quorum: int = 0  # of a neighbourhood, whose shares give a secret back; 0: as the threshold
    signatures: bool = False
    generator: Generator = "aes"

    @property
    def shares_needed(self) -> int:
        return self.quorum or self.threshold
