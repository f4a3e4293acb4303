"""The masked channel: the server learns only the weighted mean of the updates that arrived.

With buckets the server learns one mean for each random bucket of clients, so that a robust rule can
choose between means (Karimireddy et al. 2022, arXiv:2006.09365).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from defenses.privacy.discrete_gaussian import discrete_gaussian
from defenses.secure_aggregation.checks import Refused
from defenses.secure_aggregation.protocol import Exchange, Scheme, aggregate
from defenses.secure_aggregation.ring import DEVIATIONS, Ring
from defenses.secure_aggregation.terms import FEWEST, Context, Generator, Stage, Terms, enough
from lab.common.random_streams import SystemRandom, random_stream
from lab.common.settings import SettingError
from lab.common.threads import run_in_threads
from lab.interfaces.aggregation import Channel
from lab.interfaces.messages import Cohort, ReceivedUpdates, RevealedMasks, empty_rows

# Steps in a share of the noise, at least: from there on the discrete Gaussian lies within 1e-8 of
# the Gaussian in total variation, for a million parameters.
FINE = 2**16


class Masked(Channel):
    """Hides every update under masks that cancel only in the sum of all clients."""

    kind: Literal["masked"] = "masked"
    title: ClassVar[str] = "Secure aggregation"
    source: ClassVar[str] = "Bonawitz et al. 2017, eprint 2017/281; Bell et al. 2020, 2020/704"
    threshold: float = Field(
        0.67,
        gt=0.5,
        le=1,
        description="share of the clients that must answer before the server can unmask the sum",
    )
    bound: float = Field(
        8.0, gt=0, description="largest coordinate of an update; larger ones are cut off"
    )
    heaviest: float = Field(1.0, gt=0, description="largest weight of a client; public")
    neighbours: int = Field(
        0, ge=0, description="number of neighbours that each client chooses; 0: all other clients"
    )
    buckets: int = Field(
        1, ge=1, description="number of random groups of clients, each with a sum of its own"
    )
    silent: Stage = Field(
        "input", description="the stage of the protocol from which lost clients are silent"
    )
    binding: bool = Field(True, description="bind masks to the model that each client received")
    signatures: bool = Field(False, description="sign the clients' keys and lists of survivors")
    checks: bool = Field(
        True,
        description="clients check the server's requests against the public terms of the round",
    )
    generator: Generator = Field("aes", description="generator of the masks; weak is insecure")
    deviation: float = Field(
        0.0, ge=0, description="standard deviation of the noise on the weighted sum of updates"
    )
    longest: float = Field(
        1.0, gt=0, description="largest change that one client can make to the sum, before rounding"
    )
    secure: bool = Field(
        False, description="draw the noise from the operating system's secure generator"
    )
    most: int = Field(
        0,
        ge=0,
        description=(
            "clients that the ring has room for, if the cohort's size is secret; 0: those asked"
        ),
    )

    def __call__(self, rows: Tensor, cohort: Cohort, sent: Tensor) -> ReceivedUpdates:
        """Return, for each bucket, the weighted mean, up to `Ring.error` and the noise."""
        if self.buckets == 1:
            return self._one(rows, cohort, sent)
        order = random_stream(cohort.seed, "buckets", cohort.round).permutation(len(cohort.clients))
        groups = [sorted(group.tolist()) for group in np.array_split(order, self.buckets)]
        return joined(groups, [self._one(rows[some], cohort.part(some), sent) for some in groups])

    def _one(self, rows: Tensor, cohort: Cohort, sent: Tensor) -> ReceivedUpdates:
        announced = cohort.announced or len(cohort.clients)
        terms, ring = self.terms(announced), self.ring(announced)
        words = self._words(rows, cohort, terms, ring)
        exchange = self._exchanged(words, cohort, sent, terms)
        arrived = torch.zeros_like(cohort.lost)
        arrived[list(exchange.alive)] = True
        down = sent.nbytes * len(cohort.clients) + exchange.bytes_down
        if exchange.total is None:
            # Masked rows may have come, but they tell nothing without the unmasking.
            return ReceivedUpdates(
                rows=empty_rows(rows.shape[1]),
                weights=torch.zeros(0),
                senders=(),
                arrived=torch.zeros_like(cohort.lost),
                bytes_up=exchange.bytes_up,
                bytes_down=down,
                masked=exchange.masked,
                aborted=True,
                note=f"secure aggregation aborted: {exchange.aborted}",
            )
        mean, weight = ring.decode(exchange.total)
        return ReceivedUpdates(
            rows=torch.from_numpy(mean.astype(np.float32)).unsqueeze(0),
            weights=torch.tensor([weight]),
            senders=(tuple(cohort.clients[place] for place in exchange.alive),),
            arrived=arrived,
            bytes_up=exchange.bytes_up,
            bytes_down=down,
            masked=exchange.masked,
            carried=self._carried(len(exchange.alive), ring, terms, rows.shape[1]),
            opened=self._opened(exchange, cohort, words, ring),
            note=self._clipped(rows, arrived),
        )

    def terms(self, clients: int) -> Terms:
        """Return the public terms of a round with so many clients."""
        beside = self.neighbours if self.neighbours < clients - 1 else 0
        return Terms(
            clients=clients,
            threshold=enough(self.threshold, clients, FEWEST),
            neighbours=beside,
            quorum=enough(self.threshold, beside + 1, FEWEST) if beside else 0,
            signatures=self.signatures,
            generator=self.generator,
            checks=self.checks,
        )

    def ring(self, clients: int) -> Ring:
        """Return a ring with room for the noise of all clients, who together add more than needed.

        Where the size of a cohort is secret, the ring is the same for all sizes: rounding reveals
        none.
        """
        noise = self.deviation * (clients / self.terms(clients).threshold) ** 0.5
        return Ring(max(clients, self.most), self.bound, self.heaviest, noise)

    def share(self, ring: Ring, terms: Terms, params: int) -> float:
        """Return the standard deviation of one client's noise, in steps of the ring.

        The fewest clients who can be unmasked already carry the whole noise.  Rounding moves a
        client's
        row by sqrt(params) / 2 steps at most, and the noise is enlarged twice over for it.  Raises
        SettingError where steps are too coarse for the noise to count as Gaussian.
        """
        rounding = params**0.5 * ring.step / self.longest
        share: float = self.deviation * (1 + rounding) / ring.step / terms.threshold**0.5
        if share < FINE:
            raise SettingError(
                f"training.clients_per_round is {ring.clients}: a step of their sum in 32 bits "
                f"is {ring.step:.2g}, too coarse for noise of {self.deviation:.2g}; ask fewer "
                "clients, or give more privacy.noise"
            )
        return share

    def _carried(self, alive: int, ring: Ring, terms: Terms, params: int) -> float:
        if not self.deviation:
            return 0.0
        return alive * (self.share(ring, terms, params) * ring.step / self.deviation) ** 2

    def _words(self, rows: Tensor, cohort: Cohort, terms: Terms, ring: Ring) -> np.ndarray:
        """Return the words that each client masks, with noise.  -> (clients, params + 1) uint32"""
        words = ring.encode(rows.numpy(), cohort.weights.double().numpy())
        if self.deviation and (cohort.announced or len(words) >= terms.threshold):
            share = self.share(ring, terms, rows.shape[1])
            run_in_threads(
                lambda place: self._disturb(words[place], cohort, place, share), range(len(words))
            )
        return words

    def _exchanged(self, words: np.ndarray, cohort: Cohort, sent: Tensor, terms: Terms) -> Exchange:
        """Run the protocol; a lying server runs it under terms other than those announced."""
        clients = len(cohort.clients)
        if clients < terms.threshold and not cohort.announced:
            why = f"{cohort.present} of {clients} clients answered and {terms.threshold} are needed"
            return nothing(why)
        draw = random_stream(cohort.seed, "neighbours", cohort.round)
        contexts = contexts_of(cohort, sent, self.binding)
        leagued = [cohort.clients.index(one) for one in cohort.accomplices]
        own = terms.seized(clients) if cohort.announced else terms
        try:
            scheme = Scheme(leagued, terms)
            return aggregate(words, own, contexts, self._fates(cohort), draw, scheme)
        except Refused as refusal:  # an honest server gives no reason to
            if not cohort.announced:
                raise
            return nothing(refusal.named(cohort.clients))

    def _opened(
        self, exchange: Exchange, cohort: Cohort, words: np.ndarray, ring: Ring
    ) -> RevealedMasks:
        """Return the server's knowledge by client number instead of by place in the cohort."""
        who, most = cohort.clients, float(ring.levels)
        if self.deviation:
            params = words.shape[1] - 1
            most += DEVIATIONS * self.share(ring, self.terms(ring.clients), params)
        return RevealedMasks(
            step=ring.step,
            most=int(most),
            generator=self.generator,
            seeds={who[me]: seed for me, seed in exchange.seeds.items()},
            partners={
                who[me]: tuple(who[peer] for peer in beside)
                for me, beside in exchange.partners.items()
            },
            holders={
                who[me]: tuple(who[peer] for peer in beside)
                for me, beside in exchange.holders.items()
            },
            keys={(who[one], who[other]): key for (one, other), key in exchange.keys.items()},
            told={one: words[who.index(one)] for one in cohort.accomplices},
        )

    def _disturb(self, words: np.ndarray, cohort: Cohort, place: int, deviation: float) -> None:
        """Add each client's noise share, in steps of the ring, to all words but the weight."""
        client = cohort.clients[place]
        own = cohort.private("discrete noise", cohort.round, client)
        source = SystemRandom() if self.secure else own
        words[:-1] += discrete_gaussian(deviation, len(words) - 1, source).astype(np.uint32)

    def _fates(self, cohort: Cohort) -> dict[int, Stage]:
        """Return the stage from which each lost client is silent; late ones send no masked row."""
        found: dict[int, Stage] = {}
        for place in cohort.lost.nonzero().flatten().tolist():
            speechless = any(
                flags is not None and bool(flags[place]) for flags in (cohort.late, cohort.broken)
            )
            found[place] = "input" if speechless else self.silent
        return found

    def _clipped(self, rows: Tensor, arrived: Tensor) -> str:
        low, high = rows.aminmax() if rows.numel() else (0.0, 0.0)
        if -self.bound <= low and high <= self.bound:  # as nearly always: nothing to count
            return ""
        over = int((rows[arrived].abs() > self.bound).sum())
        return f"{over} coordinates were clipped to {self.bound:g} before masking" if over else ""


def nothing(why: str) -> Exchange:
    """Return whether no masked row came."""
    return Exchange(np.zeros((0, 0), np.uint32), (), None, 0, 0, why)


def joined(groups: Sequence[Sequence[int]], found: Sequence[ReceivedUpdates]) -> ReceivedUpdates:
    """Join the server's knowledge from the exchanges of all buckets.

    groups: the places in the cohort of each bucket's clients
    """
    arrived = torch.zeros(sum(map(len, groups)), dtype=torch.bool)
    for group, each in zip(groups, found, strict=True):
        arrived[list(group)] = each.arrived
    masked = [each.masked for each in found if each.masked is not None and each.masked.size]
    return ReceivedUpdates(
        rows=torch.cat([each.rows for each in found]),
        weights=torch.cat([each.weights for each in found]),
        senders=tuple(senders for each in found for senders in each.senders),
        arrived=arrived,
        bytes_up=sum(each.bytes_up for each in found),
        bytes_down=sum(each.bytes_down for each in found),
        masked=np.concatenate(masked) if masked else np.zeros((0, 0), np.uint32),
        carried=sum(each.carried for each in found),
        aborted=all(each.aborted for each in found),
        note="; ".join(each.note for each in found if each.note),
    )


def contexts_of(cohort: Cohort, sent: Tensor, binding: bool = True) -> list[Context]:
    """Return the context of each client's keys: the round, and the model that it received.

    Each client hashes what it received, so a server who sends different models gets masks that
    never cancel.  Pasquini et al. 2022, arXiv:2111.07380.
    """
    session = f"{cohort.seed}|{cohort.round}".encode()
    if not binding:
        return [Context(session)] * len(cohort.clients)
    if cohort.sent is None:
        return [Context(session, _hash(sent))] * len(cohort.clients)
    return [Context(session, _hash(model)) for model in cohort.sent]


def _hash(model: Tensor) -> bytes:
    return sha256(model.contiguous().numpy().tobytes()).digest()
