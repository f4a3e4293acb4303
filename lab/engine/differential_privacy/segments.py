"""Segments: a run cut where a change touches what privacy costs, and what each part releases."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from typing import Any, Literal

from lab.common.settings import SettingError
from lab.engine.data.federation import federated_dataset
from lab.engine.differential_privacy.aborts import Deciding, deciding
from lab.engine.differential_privacy.honest_noise import honest_share, relays, shows_cohort
from lab.engine.participation.cohort_sampling import (
    client_rate,
    is_poisson,
    is_secret,
    select_cohort,
)
from lab.experiment.experiment import Experiment
from lab.interfaces.opening_threshold import FEWEST_IN_SUM
from lab.privacy.accounting.accountants import GaussianReleases, calibrate_noise, compose_epsilon
from lab.privacy.fixed_point import rounding
from lab.privacy.sampling_bounds import cohort_at_least, epoch_at_least

# Who looks: the server, which knows who takes part in a round, or whoever is given the models only.
Adversary = Literal["server", "public"]
MOST = 20  # segments that are counted: each costs the accountant time
LITTLE = 0.5  # of delta, that rounds may use up in which large sums are opened or not
ROUNDED = 1.01  # of a variance under masks: rounding and filling up add less


@dataclass(frozen=True)
class Segment:
    """Rounds in a row in which a round costs the same."""

    first: int
    now: Experiment  # its settings
    before: tuple[
        GaussianReleases, ...
    ] = ()  # what earlier rounds have spent, where it counts for these

    def spending(self, last: int, adversary: Adversary, since: int = 1) -> GaussianReleases:
        """What the rounds from `since` to `last` release about one record, at worst."""
        part = self if since <= self.first else replace(self, first=since)
        return part._releases(last, adversary, self.noise())

    def at_least(self, last: int, delta: float) -> float | None:
        """What epsilon is not below, where draws are not independent; None where that is known."""
        now, rate, rounds = self.now, client_rate(self.now), last + 1 - self.first
        if now.privacy.sampling == "poisson" or now.privacy.place == "local":
            return None
        if now.privacy.kind == "example":
            return self._batches_at_least(last, delta)
        if now.privacy.adapts:  # no pair is known that uses up updates and count together
            return 0.0
        noise = self.noise() * _louder(now)
        return cohort_at_least(rate, noise, rounds, delta) if rate < 1 else None

    def noise(self) -> float:
        """The noise multiplier in force: as set, or as the target needs at the end of the run.

        Where the rounds before have used the target up, as if they were not.
        """
        privacy, end = self.now.privacy, max(self.first, self.now.training.rounds)
        if privacy.noise:
            return privacy.noise
        plan = self._releases(end, faced(self.now), 1.0)
        share = plan.noise or 1.0  # of the noise, that counts; where nobody adds any, all will do
        return _needed(plan, privacy.epsilon, privacy.delta, self.before) / share

    def hides_cohorts(self) -> bool:
        """Whether who takes part stays secret, so that drawing clients adds to their privacy."""
        now = self.now
        secret = is_poisson(now) and now.privacy.place != "local" and not shows_cohort(now)
        rare = deciding(now)
        if not secret or rare is None:
            return False
        rounds = max(self.first, now.training.rounds)
        likely = rounds * client_rate(now) * rare.chance > LITTLE * now.privacy.delta
        return rare.reach <= FEWEST_IN_SUM or not likely

    def adds_or_removes(self) -> bool:
        """Whether one client more or less changes nothing but the sum of the updates."""
        now = self.now
        if client_rate(now) < 1:
            return self.hides_cohorts()
        masks, network = now.secure_aggregation, now.network
        opens = not (masks.enabled and (network.dropout or network.deadline))
        poisson = now.privacy.sampling == "poisson" and now.privacy.place != "local"
        return poisson and opens and not shows_cohort(now)

    def _releases(self, last: int, adversary: Adversary, noise: float) -> GaussianReleases:
        if self.now.privacy.kind == "client":
            return self._updates(last, adversary, noise)
        now, rounds = self.now, last + 1 - self.first
        drawn = now.privacy.sampling == "poisson"
        steps = now.recipe.local_steps(1) if drawn else now.recipe.epochs
        turn = GaussianReleases(now.recipe.poisson or 1.0, noise, self.busiest(last), steps)
        if adversary == "server" or not _uniform(now):
            return turn
        return GaussianReleases(turn.rate, noise, rounds, steps, client_rate(now))

    def _updates(self, last: int, adversary: Adversary, noise: float) -> GaussianReleases:
        """What the rounds to `last` release about one client, if honest clients add the noise."""
        now, rounds = self.now, range(self.first, last + 1)
        noise *= honest_share(now, rounds, adversary == "server") ** 0.5 / _stretched(now)
        if adversary == "server" or now.privacy.place == "local":
            return GaussianReleases(1.0, noise, self.busiest(last))
        if self.hides_cohorts():
            return _sampled(now, noise, len(rounds))
        if now.privacy.sampling == "fixed" and not shows_cohort(now):
            return GaussianReleases(1.0, noise, len(rounds), chance=client_rate(now))
        return GaussianReleases(1.0, noise, self.busiest(last))

    def busiest(self, last: int) -> int:
        """Turns of the client that is asked most often."""
        rounds = last + 1 - self.first
        # Asynchronous: nobody is waited for, so at most one update a round.
        if self.now.training.algorithm.asynchronous or is_secret(self.now):
            return rounds
        return max(_turns(self.now, self.first, last).values(), default=0)

    def _batches_at_least(self, last: int, delta: float) -> float | None:
        """Of shuffled batches: the most that any one client's examples lose for certain."""
        recipe, rounds = self.now.recipe, last + 1 - self.first
        if recipe.cap:  # epochs may be cut short, so that an example may never be used
            return 0.0
        turns: dict[int, int] = dict.fromkeys(range(self.now.data.clients), rounds)
        if not self.now.training.algorithm.asynchronous:
            turns = _turns(self.now, self.first, last)
        sizes = federated_dataset(self.now).sizes.tolist()
        found = {
            (ceil(sizes[client] / recipe.batch_size), times * recipe.epochs)
            for client, times in turns.items()
            if sizes[client]
        }
        if (1, self.busiest(last) * recipe.epochs) in found:  # all of its examples in every step
            return None
        return max(
            (
                epoch_at_least(batches, self.noise(), epochs, delta)
                for batches, epochs in _front(found)
            ),
            default=0.0,
        )


def _sampled(now: Experiment, noise: float, rounds: int) -> GaussianReleases:
    """Of a secret Poisson cohort, rounds that are broken off included."""
    rate, rare = client_rate(now), deciding(now) or Deciding()
    return GaussianReleases(
        rate, noise, rounds, rare=rare.chance, reach=rare.reach, leak=rate * rare.beyond
    )


def _front(found: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Of pairs of batches and epochs, those that no other with fewer and more of them exceeds."""
    front: list[tuple[int, int]] = []
    for batches, epochs in sorted(found, key=lambda pair: (pair[0], -pair[1])):
        if not front or epochs > front[-1][1]:
            front.append((batches, epochs))
    return front


@lru_cache(maxsize=256)
def _turns(now: Experiment, first: int, last: int) -> Counter[int]:
    """How often each client is asked in those rounds."""
    return Counter(
        client for round in range(first, last + 1) for client in select_cohort(now, round)
    )


def _needed(
    plan: GaussianReleases, epsilon: float, delta: float, before: tuple[GaussianReleases, ...]
) -> float:
    """The noise multiplier that the plan needs, beside what was spent before if that leaves any."""
    if before and compose_epsilon(before, delta) < epsilon:
        return calibrate_noise(plan, epsilon, delta, before=before)
    return calibrate_noise(plan, epsilon, delta)


def faced(now: Experiment) -> Adversary:
    """Against whom the guarantee that the lab states by itself holds."""
    own = now.privacy.kind == "example" or now.privacy.place == "local"
    return "server" if own else "public"


def adversaries(now: Experiment) -> tuple[Adversary, ...]:
    """Against whom a round's noise protects, the one that it is made for first."""
    if faced(now) == "server":
        return ("server", "public")
    summed = now.privacy.place == "distributed" and now.secure_aggregation.sealed
    return ("public", "server") if summed else ("public",)


def _louder(now: Experiment) -> float:
    """How much larger the released noise can be than it needs to be."""
    masks = now.secure_aggregation
    if now.privacy.place != "distributed" or not masks.enabled:
        return 1.0
    louder: float = (ROUNDED * masks.surplus) ** 0.5
    return louder


def _stretched(now: Experiment) -> float:
    """How much longer than the clip an update can arrive: rounding, where no noise counts it in."""
    if now.privacy.place != "central" or not now.secure_aggregation.enabled:
        return 1.0
    coordinates = now.architecture.size + now.privacy.adapts
    return 1.0 + rounding(coordinates, now.data.clients)


def _uniform(now: Experiment) -> bool:
    """Whether each round asks every client with one secret chance, whatever happened before."""
    network = now.network
    chosen = now.training.algorithm.asynchronous or network.spare or network.availability < 1
    return not (chosen or now.privacy.secure_noise)  # then only batches are secret, not cohorts


@lru_cache(maxsize=128)
def segments(experiment: Experiment) -> tuple[Segment, ...]:
    """The run, cut where a change touches what privacy costs.  Raises SettingError for too many."""
    cuts = [(1, experiment.at(1))]
    for first in sorted({change.round for change in experiment.changes}):
        now = experiment.at(first)
        if governing(now) != governing(cuts[-1][1]):
            cuts.append((first, now))
    if len(cuts) > MOST:
        raise SettingError(
            f"changes: what privacy costs changes {len(cuts) - 1} times in the course of the run, "
            f"and the accountant counts {MOST - 1} changes at most: give fewer, or start a new run"
        )
    found: list[Segment] = []
    for first, now in cuts:
        found.append(Segment(first, now, _spent_before(found, first, now)))
    return tuple(found)


def _spent_before(
    found: list[Segment], first: int, now: Experiment
) -> tuple[GaussianReleases, ...]:
    """By the earlier segments, against whom the new one's noise protects; none if it is moot."""
    adversary, kind = faced(now), now.privacy.kind
    alike = all(
        part.now.privacy.kind == kind and adversary in adversaries(part.now) for part in found
    )
    if kind == "none" or now.privacy.noise or not alike:
        return ()
    ends = [part.first - 1 for part in found[1:]] + [first - 1]
    return tuple(part.spending(end, adversary) for part, end in zip(found, ends, strict=False))


def governing(now: Experiment) -> tuple[Any, ...]:
    """All that what a round costs depends on."""
    training, privacy, network = now.training, now.privacy, now.network
    if privacy.kind == "none":
        return ("none",)
    goal = (privacy.noise,) if privacy.noise else (0.0, privacy.epsilon, training.rounds)
    common = (privacy.kind, privacy.delta, privacy.sampling, *goal)
    if privacy.kind == "example":
        steps = (training.batch_size, training.epochs, training.steps)
        who = (training.clients_per_round, network.spare, network.availability)
        return (*common, *steps, *who, training.algorithm.asynchronous, privacy.secure_noise)
    place = (adversaries(now), _louder(now), _stretched(now), deciding(now))
    hostile = (now.adversary, privacy.secure_noise) if now.adversary.count else None
    where = privacy.place if hostile else privacy.place == "local"
    return (*common, client_rate(now), privacy.adapts, *place, where, hostile)


def noise_multiplier(experiment: Experiment, round: int) -> float:
    """Standard deviation of the noise over the clip, in force in that round."""
    return [part for part in segments(experiment) if part.first <= round][-1].noise()


def spans(experiment: Experiment, rounds: int) -> list[tuple[Segment, int]]:
    """The segments of the first `rounds` rounds and where each ends; none without a guarantee.

    There is none once a round ran without noise, when the unit of protection has changed, or when
    malicious clients have sent on what others sent.
    """
    parts = [part for part in segments(experiment) if part.first <= rounds]
    units = {part.now.privacy.kind for part in parts}
    if len(units) != 1 or units == {"none"} or relayed(experiment, rounds):
        return []
    ends = [part.first - 1 for part in parts[1:]] + [rounds]
    found = list(zip(parts, ends, strict=True))
    silent = any(not part.spending(end, faced(part.now)).noise for part, end in found)
    return [] if silent else found


def relayed(experiment: Experiment, rounds: int) -> bool:
    """Whether malicious clients have sent on what others sent, without noise of its own."""
    parts = [part for part in segments(experiment) if part.first <= rounds]
    ends = [part.first - 1 for part in parts[1:]] + [rounds]
    pairs = zip(parts, ends, strict=True)
    return any(relays(part.now, range(part.first, end + 1)) for part, end in pairs)
