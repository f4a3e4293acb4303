"""A poisoned round: its updates, for an experimenter who knows which clients are malicious."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lab.common.settings import SettingError
from lab.engine.client.cohort_trainer import cohort_of
from lab.engine.evaluation.record import RoundRecord
from lab.engine.round import Round
from lab.engine.run_state import RoundResult, RunState
from lab.engine.server.server import FATES
from lab.interfaces.messages import ReceivedUpdates
from lab.scoring.poisoning.update_geometry import Geometry, geometry


@dataclass(frozen=True, eq=False)
class PoisonedRound:
    """One round's updates, client by client."""

    record: RoundRecord  # with who acted, how far each moved the model, and what became of each
    clients: tuple[int, ...]  # whose update came, in the order of the geometry
    geometry: Geometry
    fates: tuple[str, ...]  # of FATES, for each of them; empty: every update counts somewhere

    @property
    def malicious(self) -> list[bool]:
        found: list[bool] = self.geometry.malicious.tolist()
        return found

    def moved(self) -> str:
        """What the malicious clients have of the step; empty where that is unknown."""
        record, bad = self.record, set(self.record.malicious)
        if not bad or not record.influence:
            return ""
        places = [place for place, client in enumerate(record.clients) if client in bad]
        weight, share = (
            sum(values[place] for place in places) for values in (record.influence, record.share)
        )
        against = "; the others together pulled the other way" if share > 1 else ""
        against = "; the others made the step against them" if share < 0 else against
        return (
            f"{len(bad)} of {len(record.clients)} clients are malicious: they have {weight:.0%} of "
            f"the weight, and {share:.0%} of the step came from them{against}"
        )

    def judged(self) -> list[str]:
        """How many of each kind met each fate."""
        told = []
        for fate in FATES if self.fates else ():
            both = zip(self.malicious, self.fates, strict=True)
            here, whole = [bad for bad, met in both if met == fate], sum(self.malicious)
            told.append(
                f"{fate.capitalize()}: {sum(here)} of {whole} malicious and "
                f"{len(here) - sum(here)} of {len(self.clients) - whole} honest"
            )
        return told


def poisoned_round(before: RunState, moment: RoundResult) -> PoisonedRound:
    """before: the state that the round began with.

    Raises SettingError where the server has no client's update by itself.
    """
    delivery, record = moment.transcript.delivery, moment.record
    _check_seen(delivery, record.round)
    clients = tuple(client for (client,) in delivery.senders)
    cohort = cohort_of(before.experiment, record.round, record.clients)
    seen, step = Round.begin(before).server.seen(delivery, cohort)
    filled = record.model_copy(update=seen)
    bad = set(filled.malicious)
    fate = dict(zip(filled.clients, filled.verdict, strict=False))
    return PoisonedRound(
        record=filled,
        clients=clients,
        geometry=geometry(
            delivery.rows,
            torch.tensor([client in bad for client in clients]),
            step,
        ),
        fates=tuple(fate[client] for client in clients) if fate else (),
    )


def _check_seen(delivery: ReceivedUpdates, round: int) -> None:
    if any(len(senders) > 1 for senders in delivery.senders):
        raise SettingError(
            f"in round {round} the server got sums under masks and cannot see single updates: who "
            "moved the model how far, nobody can tell; choose a round without secure aggregation"
        )
    if not len(delivery.rows):
        raise SettingError(f"in round {round} the server got nobody's update: choose another round")
