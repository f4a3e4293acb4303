"""The post: all that the server got in a round, as pictures, and what can be read off each.

The server's eye: rows as they came.  Under masks that is noise from each client, and one sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lab.attack_runs.reconstruction.quick_look import SECONDS, quick_look_at
from lab.attack_runs.shared.update_image import UpdateImage
from lab.engine.run_state import RoundResult
from lab.interfaces.views import server_view
from lab.scoring.reconstruction.image_score import ImageScore

SHOWN = 12  # letters


@dataclass(frozen=True, eq=False)
class ReceivedUpdate:
    """What came from one client, or from several in one sum."""

    senders: tuple[int, ...]
    picture: Tensor  # (1, height, width) some of its numbers as greys, on a scale of their own
    norm: float | None  # its length; None for a masked row, which has none
    reading: Tensor | None = None  # what an attack made of it: (colours, height, width)
    private: Tensor | None = None  # and the example that it was after, which the server never saw
    told: str = ""  # how good the reading is, in words


@dataclass(frozen=True, eq=False)
class ServerSnapshot:
    """One round's post."""

    letters: tuple[ReceivedUpdate, ...]
    masked: tuple[ReceivedUpdate, ...]  # the rows behind a sum
    came: int  # letters, of which the first are shown
    note: str


def server_snapshot(moment: RoundResult) -> ServerSnapshot:
    """What was read takes about a second in all."""
    view = server_view(moment.transcript)
    rows, senders = view.rows[:SHOWN], view.senders[:SHOWN]
    window = (
        UpdateImage.on(view.network, view.rows.mean(dim=0)) if len(view.rows) else UpdateImage()
    )
    each = SECONDS / max(1, len(senders))
    letters = tuple(
        _letter(moment, window, row, some, each) for row, some in zip(rows, senders, strict=True)
    )
    words = () if view.masked is None else tuple(view.masked[:SHOWN])
    masked = tuple(
        ReceivedUpdate((client,), window.words(one), None)
        for client, one in zip(senders[0] if senders else (), words, strict=False)
    )
    return ServerSnapshot(letters, masked, len(view.senders), moment.record.note)


def _letter(
    moment: RoundResult,
    window: UpdateImage,
    row: Tensor,
    senders: tuple[int, ...],
    seconds: float,
) -> ReceivedUpdate:
    picture, norm = window.grey(row), float(torch.linalg.vector_norm(row))
    glimpse = quick_look_at(moment, senders[0], seconds)
    found = glimpse.score if glimpse else None
    if not isinstance(found, ImageScore) or glimpse is None or glimpse.pictures["guess"].ndim != 4:
        return ReceivedUpdate(senders, picture, norm)
    told = f"{found.psnr:.0f} dB, guess {found.floor:.0f}"
    pictures = glimpse.pictures
    return ReceivedUpdate(
        senders, picture, norm, pictures["guess"][0], pictures["private"][0], told
    )
