"""Pairs of a candidate and a client: what a server's membership scores are judged by.

A member stands beside its own client.  Beside that stand outsiders, each with some client, and
members of one client, each with another: who is a non-member decides what the number means.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lab.attack_runs.membership.candidates import MembershipCandidates
from lab.interfaces.attack_data import Candidates
from lab.privacy.guarantee import AttackCeiling
from lab.scoring.membership.blind_baseline import blind_scores
from lab.scoring.membership.membership_score import MembershipScore, score_membership

CELLS = 2000  # of client and label together, at most, that the blind guess tells apart


@dataclass(frozen=True, eq=False)
class CandidatePairs:
    """Members first."""

    candidate: np.ndarray  # (pairs,) places in the line-up
    client: np.ndarray  # (pairs,)
    member: np.ndarray  # (pairs,) bool: whether that client holds that candidate


def against_outsiders(
    lined: MembershipCandidates, heard: np.ndarray, client: int | None, drawn: np.random.Generator
) -> CandidatePairs:
    """Every member with its own client, every outsider with one at random or with `client`.

    heard: the clients of whom the server got anything
    """
    mine, others = _members(lined, heard), np.flatnonzero(lined.owner < 0)
    given = drawn.choice(heard, len(others)) if client is None else np.full(len(others), client)
    return _joined(lined, mine, others, given)


def against_clients(
    lined: MembershipCandidates, heard: np.ndarray, client: int | None, drawn: np.random.Generator
) -> CandidatePairs:
    """Every member with its own client, and with another one at random.

    Where `client` is asked about, its members, and everybody else's with that client.
    """
    mine = _members(lined, heard)
    if client is not None:
        others = np.flatnonzero((lined.owner >= 0) & (lined.owner != client))
        return _joined(lined, mine, others, np.full(len(others), client))
    own = np.searchsorted(heard, lined.owner[mine])
    ahead = drawn.integers(1, len(heard), len(mine))
    return _joined(lined, mine, mine, heard[(own + ahead) % len(heard)])


def _members(lined: MembershipCandidates, heard: np.ndarray) -> np.ndarray:
    return np.flatnonzero(lined.counted & np.isin(lined.owner, heard))


def _joined(
    lined: MembershipCandidates, mine: np.ndarray, others: np.ndarray, given: np.ndarray
) -> CandidatePairs:
    candidate = np.concatenate([mine, others])
    client = np.concatenate([lined.owner[mine], given])
    return CandidatePairs(candidate, client, np.arange(len(candidate)) < len(mine))


def judged(
    scores: Tensor,
    pairs: CandidatePairs,
    asked: Candidates,
    ceiling: AttackCeiling | None = None,
    inputs: bool = True,
) -> MembershipScore:
    """Of all pairs, and among those of the same client whose example has the same label.

    scores (clients, candidates); inputs: whether a blind guess may look at them.  Where the very
    same examples stand on both sides it would only remember them.
    """
    found = scores.double().numpy()[pairs.client, pairs.candidate]
    labels = asked.labels.numpy()[pairs.candidate]
    cells = pairs.client * (int(labels.max()) + 1) + labels
    blind = blind_scores(_seen(pairs, asked, cells, inputs), pairs.member)
    return score_membership(found, pairs.member, blind, ceiling, cells)


def _seen(pairs: CandidatePairs, asked: Candidates, cells: np.ndarray, inputs: bool) -> Candidates:
    """What is to be seen of a pair without any model: under skew, client and label say a lot."""
    place = torch.from_numpy(pairs.candidate)
    shown = asked.inputs[place].flatten(1) if inputs else torch.zeros(len(place), 0)
    if cells.max() < CELLS:
        shown = torch.cat([shown, F.one_hot(torch.from_numpy(cells)).float()], dim=1)
    return Candidates(shown, asked.labels[place])
