"""Helpers of attacks on secure aggregation: reading sums, words and masks as a server can."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from torch import Tensor

from lab.common.settings import SettingError
from lab.interfaces.attack_data import MaliciousServer, StagedRound
from lab.interfaces.messages import RevealedMasks
from lab.interfaces.views import ServerView

WORD = np.dtype("<u4")


def everybody(server: MaliciousServer) -> tuple[int, ...]:
    """Return the clients whose updates are in the round's sum."""
    return server.view.senders[0]


def others_than(server: MaliciousServer, target: int, fewest: int, kind: str) -> tuple[int, ...]:
    """Return all clients in the sum but the target.  Raises SettingError below `fewest`."""
    found = tuple(one for one in everybody(server) if one != target)
    if len(found) < fewest:
        raise SettingError(
            f"{kind} needs {fewest + 1} clients in the sum, and there are {len(found) + 1}: "
            "choose another round, or a run with more clients"
        )
    return found


def staged(server: MaliciousServer, plot: StagedRound) -> ServerView:
    """Run a round that must complete.  Raises SettingError where it is aborted."""
    view = server.play(plot)
    if not len(view.rows):
        raise SettingError(f"the round that the server staged came to nothing: {view.note}")
    return view


def total(view: ServerView) -> tuple[Tensor, float]:
    """Return the weighted sum of the updates (params,) float64, and the sum of the weights."""
    weight = float(view.weights[0])
    return view.rows[0].double() * weight, weight


def opened(view: ServerView) -> RevealedMasks:
    """Return the server's knowledge from the unmasking."""
    if view.opened is None:
        raise SettingError(f"round {view.round} was not unmasked: {view.note}")
    return view.opened


def read(words: np.ndarray, view: ServerView) -> tuple[Tensor, float]:
    """Decode a client's words, or their sum modulo 2^32, to updates (params,) and weight."""
    signed = words[: view.shared].view(np.int32).astype(np.float64) * opened(view).step
    return F.pad(torch.from_numpy(signed), (0, view.network.size - view.shared)), float(words[-1])


def left_of(view: ServerView) -> tuple[Tensor, float]:
    """Return the weighted sum (params,) and weight without the accomplices' known contributions."""
    update, weight = total(view)
    for words in opened(view).told.values():
        known, its_weight = read(words, view)
        update, weight = update - known, weight - its_weight
    return update, weight


def expanded(key: bytes, words: int, generator: str) -> np.ndarray:
    """Expand the mask of a known key, as anybody can.  -> (words,) uint32"""
    if generator == "weak":
        return weak_words(int(np.bitwise_xor.reduce(np.frombuffer(key, WORD))), words)
    stream = Cipher(AES(key), CTR(bytes(16))).encryptor()
    return np.frombuffer(stream.update(bytes(WORD.itemsize * words)), WORD)


def weak_words(seed: int, words: int) -> np.ndarray:
    """Expand the weak generator: MT19937, as NumPy seeds it.  -> (words,) uint32"""
    return np.random.MT19937(seed).random_raw(words).astype(np.uint32)
