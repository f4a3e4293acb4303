"""Exposure of secrets by perplexity. Carlini et al. 2019, The Secret Sharer, arXiv:1802.08232.

Thakkar et al. 2020, arXiv:2006.07490, studied federated language models in the same way.
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
    """Ranks an inserted secret among all possible secrets by the model's perplexity."""

    kind: Literal["exposure"] = "exposure"
    title: ClassVar[str] = "Secret exposure (canaries)"
    source: ClassVar[str] = "Carlini et al. 2019, arXiv:1802.08232"
    attacker: ClassVar[str] = (
        "anybody who has the released model; an experimenter inserts the secrets"
    )
    knows: ClassVar[str] = (
        "the words before each secret, the digits that secrets consist of, and other people's text"
    )
    fails: ClassVar[str] = "secrets that were typed once, and client-level privacy"
    canaries: int = Field(
        8,
        ge=2,
        le=64,
        description="number of secrets for each number of copies, and of secrets never inserted",
    )
    copies: int = Field(
        16,
        ge=1,
        le=256,
        description="the largest number of copies; other secrets are inserted 1, 4 or 16 times",
    )
    length: int = Field(4, ge=1, le=12, description="number of digits in a secret")
    beams: int = Field(
        10, ge=1, le=100, description="number of continuations that the beam search keeps"
    )

    def check(self, network: Network) -> None:
        if self.length >= network.shape[0]:
            raise SettingError(
                f"exposure.length is {self.length}, and the model looks back {network.shape[0]} "
                f"words: give 1 to {network.shape[0] - 1}"
            )

    def inserted(self) -> CanarySpec:
        return CanarySpec(self.canaries, self.copies, self.length)

    def __call__(self, view: OutsiderView, opening: CanaryPrefix, fillings: Tensor) -> Tensor:
        """Return the log-perplexity in bits, averaged over contexts before it.  -> (fillings,)

        Common beginnings are queried once: about one in nine of all.
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
        """Run a beam search.  -> (beams, length)"""
        found, nats = torch.zeros(1, 0, dtype=torch.int64), torch.zeros(1)
        for _ in range(opening.length):
            longer = nats.unsqueeze(1) + _next(view, opening, found)  # (found, words)
            words = longer.shape[1]
            nats, best = longer.flatten().topk(min(self.beams, longer.numel()))
            found = torch.cat([found[best // words], (best % words).unsqueeze(1)], dim=1)
        return found


def _next(view: OutsiderView, opening: CanaryPrefix, starts: Tensor) -> Tensor:
    """Return each next word's log-probability, averaged over contexts.

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
