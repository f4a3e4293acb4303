"""The exhibit: what the server saw of a round under masks, beside what was underneath."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from lab.attack_runs.secure_aggregation.malicious_server import check_masked, true_updates
from lab.attack_runs.secure_aggregation.neighbourhood_capture import captured
from lab.attack_runs.shared.update_image import UpdateImage
from lab.engine.participation.cohort_sampling import dropped_clients
from lab.engine.run_state import RoundResult, RunState
from lab.interfaces.views import server_view

SHOWN = 8  # clients whose rows are shown
UNLIKELY = 1e-6  # truly random bytes look less random than that once in a million rows
FATES = {
    "keys": "before its keys were there: nobody shares masks with it",
    "shares": "before it shared its secrets: nobody shares masks with it",
    "input": "before its masked row came: its masks were taken off with the others' shares",
    "unmasking": "after its masked row had come: it counts, and others helped to unmask",
}


@dataclass(frozen=True, eq=False)
class MaskedUpdate:
    """One client's row."""

    client: int
    masked: Tensor  # (1, height, width) what the server saw
    sent: Tensor  # (1, height, width) its update, which the server did not see
    chance: float  # that random bytes look as uneven as the masked row's, by chi-square

    @property
    def caption(self) -> str:
        return f"client {self.client}, p = {self.chance:.2g}"


@dataclass(frozen=True, eq=False)
class MaskedRound:
    """One round under secure aggregation."""

    seen: tuple[MaskedUpdate, ...]  # of the first clients that arrived
    arrived: int
    bare: float  # the same chance of an update's own bytes, the likeliest of those shown
    mean: Tensor | None  # (1, height, width); None: the round was broken off
    fates: tuple[str, ...]  # who was lost, and when
    capture: tuple[str, ...]  # what it takes to open one client's update
    bytes_up: int
    bytes_down: int
    note: str

    def sentences(self) -> list[str]:
        """Whether the rows tell anything, who was lost, and what the round cost."""
        told = []
        if self.seen:
            uneven = [str(each.client) for each in self.seen if each.chance < UNLIKELY]
            bare = "below a millionth" if self.bare < UNLIKELY else f"{self.bare:.2g}"
            told += [
                f"Not random: the masked rows of client {', '.join(uneven)}"
                if uneven
                else "No masked row can be told from random bytes",
                f"The updates' own bytes would have p {bare}",
            ]
        if len(self.seen) < self.arrived:
            told.append(f"{len(self.seen)} of {self.arrived} clients are shown")
        told += self.fates or ["Nobody was lost"]
        up, down = self.bytes_up / 1e6, self.bytes_down / 1e6
        cost = f"{up:.2f} megabytes came up and {down:.2f} went down"
        return [*told, cost, *self.capture]


def masked_round(before: RunState, moment: RoundResult) -> MaskedRound:
    """before: the state that the round began with.  Raises SettingError without masks."""
    round, record = moment.record.round, moment.record
    check_masked(before.experiment, round)
    view = server_view(moment.transcript)
    senders = view.senders[0] if view.senders else ()
    shown = senders[:SHOWN]
    truth = true_updates(before, shown)
    masked = np.zeros((0, 0), np.uint32) if view.masked is None else view.masked
    mean = view.rows[0] if len(view.rows) else None
    window = UpdateImage() if mean is None else UpdateImage.on(view.network, mean)
    now = before.experiment.at(round)
    gone = sorted({*dropped_clients(now, round)} & {*record.clients} | {*record.lost})
    fate = now.secure_aggregation.silent
    return MaskedRound(
        seen=tuple(
            MaskedUpdate(client, window.words(words), window.grey(update), evenness(words))
            for client, words, update in zip(shown, masked, truth, strict=False)
        ),
        arrived=len(senders),
        bare=max((evenness(update.float().numpy()) for update in truth), default=0.0),
        mean=None if mean is None else window.grey(mean),
        fates=tuple(
            f"Client {one} was lost " + (FATES["input"] if one in record.late else FATES[fate])
            for one in gone
        ),
        capture=tuple(captured(now)),
        bytes_up=record.bytes_up,
        bytes_down=record.bytes_down,
        note=record.note,
    )


def evenness(row: np.ndarray) -> float:
    """Chance that random bytes are spread as unevenly as those of the row, by chi-square."""
    from scipy.stats import chisquare

    counts = np.bincount(np.ascontiguousarray(row).view(np.uint8), minlength=256)
    return float(chisquare(counts).pvalue)
