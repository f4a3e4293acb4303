"""The line-up: whom a membership attack is asked about, and who of them is a member.

Members and others come from one distribution: all are training examples of one source, and only
where these run out, its test examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lab.common.random_streams import random_stream
from lab.common.settings import SettingError
from lab.engine.data.malicious_clients import malicious_clients
from lab.engine.data.public_examples import outsiders, test_data
from lab.experiment.experiment import Experiment
from lab.interfaces.attack_data import Candidates
from lab.interfaces.data import FederatedDataset
from lab.interfaces.privacy_attacks import AttackResources
from lab.models.inputs import as_floats

SPARED = 4  # one in so many others, at most, is made public


@dataclass(frozen=True, eq=False)
class MembershipCandidates:
    """Candidates, what is public, and the truth, which only the judge may read."""

    pool: Candidates  # as their source keeps them: pictures are bytes
    public: Candidates  # none of them is a candidate, and no model was trained on them
    owner: np.ndarray  # (candidates,) the client that holds each, -1 for nobody
    counted: np.ndarray  # (candidates,) bool: those by whom the attack is judged
    others: str  # where the non-members are from, in words

    @cached_property
    def candidates(self) -> Candidates:
        """The pool as attacks read it."""
        return _read(self.pool)

    @property
    def member(self) -> np.ndarray:
        """(candidates,) bool"""
        return self.owner >= 0


def select_candidates(
    now: Experiment, needs: AttackResources, client: int | None = None
) -> MembershipCandidates:
    """Everybody who is asked about, members first.

    An attack with shadow models is asked about as many others as members, or they would have to
    train on more examples than the federation has.  client: judged by whose members; None: by all.

    Raises SettingError where there is nobody to tell apart.
    """
    federation = test_data(now)
    honest = [one for one in federation.everyone if one not in malicious_clients(now)]
    if client is not None and (client not in honest or not len(federation.held(client))):
        raise SettingError(f"client {client} is malicious or holds nothing: choose from {honest}")
    shares = [federation.held(one) for one in honest]
    if not sum(map(len, shares)):
        raise SettingError("no honest client holds anything: lower adversary.count")
    held, others = torch.cat(shares), _others(now, federation)
    spared = min(needs.public, len(others) // SPARED)
    most = len(held) if needs.shadows else len(others)
    asked = others[: min(most, len(others) - spared)]
    public = others[len(asked) : len(asked) + spared]
    known = torch.cat([held, asked])
    owner = np.full(len(known), -1)
    owner[: len(held)] = np.repeat(honest, [len(share) for share in shares])
    free = int((asked < len(federation.labels)).sum())
    return MembershipCandidates(
        _those(federation, known),
        _read(_those(federation, public)),
        owner,
        (owner < 0) | np.isin(owner, honest if client is None else [client]),
        f"{free:,} that no client holds, {len(asked) - free:,} test",
    )


def _others(now: Experiment, federation: FederatedDataset) -> Tensor:
    """Indices of non-members in pool and test examples together, those of the pool first."""
    free, tests = outsiders(now), torch.arange(len(federation.test_labels))
    drawn = random_stream(now.seed, "lineup")
    shuffled = [part[drawn.permutation(len(part))] for part in (free, tests)]
    return torch.cat([shuffled[0], len(federation.labels) + shuffled[1]])


def _those(federation: FederatedDataset, index: Tensor) -> Candidates:
    """Of the pool, and of the test examples behind it, which come last; as they are kept."""
    here = index < len(federation.labels)
    known, tests = index[here], index[~here] - len(federation.labels)
    return Candidates(
        torch.cat([federation.inputs[known], federation.test_inputs[tests]]),
        torch.cat([federation.labels[known], federation.test_labels[tests]]),
    )


def _read(stored: Candidates) -> Candidates:
    return Candidates(as_floats(stored.inputs), stored.labels)
