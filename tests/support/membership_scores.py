"""Membership scores for tests: normal ones, and the exposure of any."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from lab.privacy.guarantee import AttackCeiling
from lab.scoring.membership.membership_score import MembershipScore, score_membership

SEEDS = st.integers(0, 10**6)
Scores = tuple[np.ndarray, np.ndarray]  # of members, of others


def exposed(
    members: np.ndarray,
    others: np.ndarray,
    blind: np.ndarray | None = None,
    ceiling: AttackCeiling | None = None,
) -> MembershipScore:
    member = np.arange(len(members) + len(others)) < len(members)
    return score_membership(np.concatenate([members, others]), member, blind, ceiling)


def drawn(seed: int, members: int, others: int, shift: float = 0.0) -> Scores:
    """Normal scores; members' lie higher by `shift`, so the true AUC is Phi(shift / sqrt 2)."""
    generator = np.random.default_rng(seed)
    return generator.normal(shift, size=members), generator.normal(size=others)
