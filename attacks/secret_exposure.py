"""Secrets by their perplexity. Carlini et al. 2019, The Secret Sharer, arXiv:1802.08232.

Federated models of text were looked at in the same way by Thakkar et al. 2020, arXiv:2006.07490.
"""

from __future__ import annotations

from math import log
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from lab.common.settings import SettingError
from lab.interfaces.attack_data import CanaryPrefix
from lab.interfaces.privacy_attacks import CanarySpec, SecretExtractionAttack
from lab.interfaces.views import OutsiderView
from lab.models.network import Network

BLOCK = 1024  # windows at once


class Exposure(SecretExtractionAttack):
    """How far up a secret comes, of all that it could be, by what the model finds likely."""

    kind: Literal["exposure"] = "exposure"
    source: ClassVar[str] = "Carlini et al. 2019, arXiv:1802.08232"
    attacker: ClassVar[str] = "anybody who is given the released model; an experimenter inserts"
    knows: ClassVar[str] = "how each secret begins, of which digits it is, and other people's text"
    fails: ClassVar[str] = "secrets that were typed once, and under client-level privacy"
    canaries: int = Field(
        8, ge=2, le=64, description="secrets for each number of copies, and never inserted"
    )
    copies: int = Field(
        16,
        ge=1,
        le=256,
        description="the most often that one is inserted; others 1, 4, 16 times",
    )
    length: int = Field(4, ge=1, le=12, description="digits of a secret")
    beams: int = Field(10, ge=1, le=100, description="continuations that are followed at once")

    def check(self, network: Network) -> None:
        if self.length >= network.shape[0]:
            raise SettingError(
                f"exposure.length is {self.length}, and the model looks back {network.shape[0]} "
                f"words: give 1 to {network.shape[0] - 1}"
            )

    def inserted(self) -> CanarySpec:
        return CanarySpec(self.canaries, self.copies, self.length)

    def __call__(self, view: OutsiderView, opening: CanaryPrefix, fillings: Tensor) -> Tensor:
        """The log-perplexity in bits, on average over what may stand before.  -> (fillings,)

        What they have in common is asked once: of all there are, one in nine or so.
        """
        total = torch.zeros(len(fillings), dtype=torch.float64)
        starts, which = fillings[:1, :0], torch.zeros(len(fillings), dtype=torch.int64)
        for place in range(fillings.shape[1]):
            if place:
                starts, which = torch.unique(fillings[:, :place], dim=0, return_inverse=True)
            nats = _next(view, opening, starts)  # (starts, words)
            total -= nats[which, fillings[:, place]].double() / log(2)
        return total

    def search(self, view: OutsiderView, opening: CanaryPrefix) -> Tensor:
        """Beam search.  -> (beams, length)"""
        found, nats = torch.zeros(1, 0, dtype=torch.int64), torch.zeros(1)
        for _ in range(opening.length):
            longer = nats.unsqueeze(1) + _next(view, opening, found)  # (found, words)
            words = longer.shape[1]
            nats, best = longer.flatten().topk(min(self.beams, longer.numel()))
            found = torch.cat([found[best // words], (best % words).unsqueeze(1)], dim=1)
        return found


def _next(view: OutsiderView, opening: CanaryPrefix, starts: Tensor) -> Tensor:
    """The log-probability of each next word, on average over contexts.

    starts (starts, typed) -> (starts, words)
    """
    places, found = view.network.shape[0], []
    contexts = len(opening.before)
    for some in starts.split(max(1, BLOCK // contexts)):
        before = opening.before.repeat(len(some), 1)  # (windows, words)
        typed = some.to(before.dtype).repeat_interleave(contexts, dim=0)
        windows = torch.cat([before, typed], dim=1)[:, -places:]
        with torch.no_grad():
            nats = view.network(view.model, windows).log_softmax(dim=1)
        found.append(nats.view(len(some), contexts, -1).mean(dim=1))
    return torch.cat(found)
