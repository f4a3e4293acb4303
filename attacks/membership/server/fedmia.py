"""FedMIA: the other clients serve as reference. Zhu et al. 2024, arXiv:2402.06289."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.membership.shared.update_probing import client_losses, cosines
from lab.common.settings import SettingError
from lab.interfaces.attack_data import Candidates, ClientSignals
from lab.interfaces.privacy_attacks import ServerMembershipAttack
from lab.interfaces.views import ServerView

FEWEST = 2  # others in a round: fewer have no variance
LEAST = 1e-8  # added to their variance, for others that all agree


class FedMia(ServerMembershipAttack):
    """Compares a client's signal on a candidate with the other clients', instead of shadow models.

    The attack assumes that no other client holds the candidate, so it is weaker on an example that
    two
    clients hold.
    """

    kind: Literal["fedmia"] = "fedmia"
    title: ClassVar[str] = "FedMIA"
    source: ClassVar[str] = "Zhu et al. 2024, arXiv:2402.06289"
    attacker: ClassVar[str] = "an honest-but-curious server that keeps every update"
    knows: ClassVar[str] = "the architecture, and each candidate with its label"
    fails: ClassVar[str] = "rounds with fewer than three clients, sums of updates, and label skew"
    apart: ClassVar[bool] = True
    measure: Literal["loss", "cosine"] = Field(
        "loss",
        description=(
            "the signal: loss of each client's model (FedMIA-I), or cosine of its update (FedMIA-"
            "II)"
        ),
    )

    def signal(self, view: ServerView, asked: Candidates) -> Tensor:
        """Return the signal, higher for likelier holders.  -> (rows, candidates)"""
        return -client_losses(view, asked) if self.measure == "loss" else cosines(view, asked)

    def gather(self, signals: Tensor) -> Tensor:
        """Return the probability that another client's signal is lower, averaged over rounds.

        The paper adds up over rounds; the mean also compares clients that took part in fewer
        rounds.

        -> (clients, candidates)
        """
        chances = torch.stack([_chances(signal) for signal in signals])
        if not chances.isfinite().any():
            raise SettingError(
                f"{self.kind} compares a client with at least {FEWEST} others of the same round, "
                "and no round had them: use update-cosine, or more training.clients_per_round"
            )
        return chances.nanmean(dim=0)

    def __call__(self, evidence: ClientSignals) -> Tensor:
        """Return the gathered scores.  -> (clients, candidates)"""
        return evidence.target


def _chances(signal: Tensor) -> Tensor:
    """Return each client's probability by a Gaussian through the others.  (clients, candidates)"""
    heard = signal.isfinite()
    known, signal = signal.double().where(heard, 0.0), signal.double()
    others = heard.sum(dim=0) - heard.double()  # (clients, candidates)
    mean = (known.sum(dim=0) - known) / others
    # Deviations from the clients' own mean: squares of the signals would cancel.
    middle = known.sum(dim=0) / heard.sum(dim=0)
    away = (signal - middle).where(heard, 0.0)
    squares = (away.square().sum(dim=0) - away.square()) / others
    variance = (squares - (mean - middle).square()).clamp_min(0) + LEAST
    chances: Tensor = torch.special.ndtr((signal - mean) / variance.sqrt())
    return chances.where(heard & (others >= FEWEST), float("nan")).float()
