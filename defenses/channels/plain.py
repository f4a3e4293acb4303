"""The plain channel: the server receives every update unprotected."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from lab.interfaces.aggregation import Channel
from lab.interfaces.messages import Cohort, ReceivedUpdates


class Plain(Channel):
    """Sends each client's update by itself; the server sees every one of them."""

    kind: Literal["plain"] = "plain"
    title: ClassVar[str] = "Plain channel"

    def __call__(self, rows: Tensor, cohort: Cohort, sent: Tensor) -> ReceivedUpdates:
        arrived = ~cohort.lost
        senders = [client for client, here in zip(cohort.clients, arrived, strict=True) if here]
        return ReceivedUpdates(
            rows=rows if arrived.all() else rows[arrived],
            weights=cohort.weights[arrived],
            senders=tuple((client,) for client in senders),
            arrived=arrived,
            bytes_up=cohort.bytes_of(rows),
            bytes_down=sent.nbytes * len(cohort.clients),
        )
