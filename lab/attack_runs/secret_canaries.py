"""Canaries: secrets of an experimenter's own, and the text in which clients then type them.

    ... my panda number is 4 0 2 9

The word before "number" is another one for each secret, so that they do not disturb one another,
and an attacker knows it; the digits are all equally likely.  A secret is typed in the course of
what its client types: each digit is a window of its own, with the client's own words before it.
These windows take the places of others, so a client has as many as it had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lab.common.random_streams import random_stream
from lab.common.settings import SettingError
from lab.engine.data.federation import federated_dataset
from lab.engine.data.injected_examples import InjectedExamples
from lab.engine.data.malicious_clients import malicious_clients
from lab.engine.data.public_examples import test_data
from lab.experiment.experiment import Experiment
from lab.interfaces.attack_data import CanaryPrefix
from lab.interfaces.privacy_attacks import CanarySpec

BEGINS = ("¶", "my", "", "number", "is")  # the empty one is the secret's own word
DIGITS = tuple("0123456789")
STEP = 4  # how much more often each further group of secrets is inserted
SHORTEST = 4  # letters of a secret's own word
CONTEXTS = 4  # windows of public text before which an attacker puts the opening
NOBODY = -1


@dataclass(frozen=True, eq=False)
class Canary:
    """One secret."""

    opening: Tensor  # (words,) float: how it begins
    digits: Tensor  # (length,) int64: word numbers, all that is secret of it
    copies: int
    client: int  # who types it

    def windows(self, before: Tensor) -> tuple[Tensor, Tensor]:
        """As typed after `before` (places,).  -> (length, places), the next words (length,)"""
        places, text = len(before), torch.cat([before, self.opening, self.digits.float()])
        ends = len(text) - len(self.digits) + torch.arange(len(self.digits))
        return torch.stack([text[end - places : end] for end in ends.tolist()]), self.digits


def canaries(now: Experiment, insertion: CanarySpec, client: int | None = None) -> list[Canary]:
    """Those that are never inserted first, then by how often.  They follow from the seed.

    client: who types all of them; None: honest clients in turn

    Raises SettingError where they cannot be typed.
    """
    words = now.data.source.classes
    alphabet, often = digits_of(now), _levels(insertion.copies)
    generator, count = random_stream(now.seed, "canaries"), insertion.canaries * (len(often) + 1)
    own = [place for place, word in enumerate(words) if len(word) >= SHORTEST and word.isalpha()]
    slots = generator.permutation(own)[:count].tolist()
    secrets = alphabet[torch.from_numpy(generator.integers(10, size=(count, insertion.length)))]
    honest = [one for one in federated_dataset(now).everyone if one not in malicious_clients(now)]
    if client is not None and client not in honest:
        raise SettingError(f"client {client} is malicious: choose from {honest}")
    typists = np.resize(generator.permutation(honest) if client is None else [client], count)
    found = []
    for place, (slot, digits) in enumerate(zip(slots, secrets, strict=True)):
        copies = [0, *often][place // insertion.canaries]
        begins = [slot if not word else words.index(word) for word in BEGINS]
        opening = torch.tensor(begins, dtype=torch.float32)
        found.append(Canary(opening, digits, copies, int(typists[place]) if copies else NOBODY))
    return found


def digits_of(now: Experiment) -> Tensor:
    """Their word numbers.  -> (10,)  Raises SettingError where the data cannot spell secrets."""
    words = now.data.source.classes
    missing = [word for word in (*BEGINS, *DIGITS) if word and word not in words]
    if missing:
        raise SettingError(
            f"{now.data.source.kind} has no word {missing[0]}, so no secret can be typed in it: "
            "use data.source chat"
        )
    return torch.tensor([words.index(digit) for digit in DIGITS])


def typed(now: Experiment, chosen: Sequence[Canary]) -> list[InjectedExamples]:
    """What the clients then hold.  Raises SettingError where they have too few examples."""
    return [
        _plant(now, client, [canary for canary in chosen if canary.client == client])
        for client in sorted({canary.client for canary in chosen} - {NOBODY})
    ]


def opening_of(now: Experiment, canary: Canary) -> CanaryPrefix:
    """What an attacker knows of it, after words of public text."""
    public = test_data(now).test_inputs
    drawn = random_stream(now.seed, "contexts").permutation(len(public))[:CONTEXTS]
    before = public[torch.from_numpy(np.sort(drawn))]
    begins = canary.opening.expand(len(before), -1)
    return CanaryPrefix(torch.cat([before, begins], dim=1), digits_of(now), len(canary.digits))


def _levels(most: int) -> list[int]:
    """1, 4, 16 and so on, and `most`."""
    found = [1]
    while found[-1] * STEP < most:
        found.append(found[-1] * STEP)
    return found if found[-1] == most else [*found, most]


def _plant(now: Experiment, client: int, mine: Sequence[Canary]) -> InjectedExamples:
    federation = federated_dataset(now)
    held = federation.held(client)
    needed = sum(canary.copies * len(canary.digits) for canary in mine)
    if needed > len(held):
        raise SettingError(
            f"client {client} holds {len(held)} examples, and its secrets take {needed} windows: "
            "give fewer canaries, copies or length, or fewer data.clients"
        )
    order = random_stream(now.seed, "typed", client).permutation(len(held))[:needed]
    positions, windows = torch.from_numpy(order), []
    copies = [canary for canary in mine for _ in range(canary.copies)]
    for canary, places in zip(
        copies, positions.split([len(canary.digits) for canary in copies]), strict=True
    ):
        windows.append(canary.windows(federation.inputs[held[places[0]]]))
    inputs, labels = (torch.cat(parts) for parts in zip(*windows, strict=True))
    return InjectedExamples(client, positions, inputs, labels)
