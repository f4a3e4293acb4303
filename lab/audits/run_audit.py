"""Running an audit: a run with canaries, and its lower bounds beside the claimed epsilon."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from lab.audits import Audit
from lab.audits.audit import AuditedRun, CanaryScores
from lab.audits.faults import FITTING
from lab.engine.differential_privacy.accountant import detailed, spans, spent
from lab.interfaces.privacy_attacks import attack_settings
from lab.privacy.accounting.accountants import GaussianReleases
from lab.privacy.audit_bounds import FAMILY, GAUSSIAN, METHODS, EpsilonBound, plug_in
from lab.privacy.audit_bounds.bound import FEWEST
from lab.privacy.audit_bounds.clopper_pearson import upper
from lab.privacy.audit_bounds.held_out import SOME, counts, parted, thresholds
from lab.privacy.guarantee import PrivacyGuarantee
from lab.scoring.attack_result import AttackProgress, AttackResult
from lab.scoring.audit_score import AuditReading, AuditScore, verdict_of

LOOKS = 24  # rounds in which bounds are taken, at most
EVEN = "total-errors"
ASIDE = 0.2  # share of the doubt that is kept for scores besides the main one
STRICTER = 50  # times less doubt is left when a mechanism is called broken: 0.1 % of 5 %
POINTS = 6  # thresholds of what was reached


def run_audit(spy: Audit, past: AuditedRun) -> Iterator[AttackProgress]:
    """Yield one result for each round that the audit has completed; the last is the final one."""
    spy.suits(past.experiment.architecture)
    judge = AuditScorer(spy, past)
    readings: tuple[AuditReading, ...] = ()
    for seen in spy(past):
        if seen.round in judge.looks:
            reading, bounds = judge.read(seen)
            readings += (reading,)
            found = judge.audited(readings, bounds, seen)
        last = seen.round == past.round
        conclude = partial(judge.result, found) if readings else None
        yield AttackProgress(
            seen.round,
            past.round,
            score=found if readings else None,
            result=judge.result(found) if last else None,
            conclude=conclude,
        )


@dataclass(frozen=True)
class AuditScorer:
    """Turns scores into bounds."""

    spy: Audit
    past: AuditedRun

    @property
    def looks(self) -> set[int]:
        """Return the rounds in which bounds are taken, the last one among them."""
        return {round(step) for step in np.linspace(1, self.past.round, LOOKS)}

    def guarantee(self, rounds: int) -> PrivacyGuarantee | None:
        return spent(self.past.experiment, rounds, self.spy.against)

    def delta(self) -> float:
        return self.past.experiment.at(self.past.round).privacy.delta

    def read(self, seen: CanaryScores) -> tuple[AuditReading, tuple[EpsilonBound, ...]]:
        guarantee, claim = self.guarantee(seen.round), self._claim(seen.round)
        doubt = 1 - self.spy.confidence
        best, certain = (self._best(seen, claim, one) for one in (doubt, doubt / STRICTER))
        main = next(iter(seen.scores.values()))
        beside = {
            name: method(*_sides(seen, main), claim, self.delta(), self.spy.confidence)
            for name, method in METHODS.items()
            if name != self.spy.main and (claim or name not in FAMILY)
        }
        reading = AuditReading(
            round=seen.round,
            claimed=guarantee.epsilon if guarantee else None,
            proven=best.epsilon,
            certain=certain.epsilon,
            beside={name: bound.epsilon for name, bound in beside.items()},
            point=self._point(*_sides(seen, main), claim),
        )
        return reading, (best, *beside.values())

    def _point(
        self, inside: np.ndarray, outside: np.ndarray, claim: tuple[GaussianReleases, ...]
    ) -> float:
        """Return an estimate; where examples were sampled, scores are not Gaussian.

        Then it is the value that the truth exceeds as likely as not.
        """
        if any(each.rate < 1 or each.chance < 1 for each in claim):
            return METHODS[EVEN](inside, outside, claim, self.delta(), 0.5).epsilon
        return plug_in(inside, outside, self.delta()).epsilon

    def _claim(self, rounds: int) -> tuple[GaussianReleases, ...]:
        parts = spans(self.past.experiment, rounds)
        return tuple(part.spending(last, self.spy.against) for part, last in parts)

    def _best(
        self, seen: CanaryScores, claim: tuple[GaussianReleases, ...], doubt: float
    ) -> EpsilonBound:
        """Return the highest of the scores' bounds, which share the doubt (Bonferroni)."""
        sides = [_sides(seen, scores) for scores in seen.scores.values()]
        sides = sides[:1] + [pair for pair in sides[1:] if min(map(len, pair)) >= FEWEST]
        others = len(sides) - 1
        shares = [1 - ASIDE, *[ASIDE / others] * others] if others else [1.0]
        bounds = [
            METHODS[self.spy.main](*pair, claim, self.delta(), 1 - doubt * share)
            for pair, share in zip(sides, shares, strict=True)
        ]
        best = max(bounds, key=lambda bound: bound.epsilon)
        return best.model_copy(update={"confidence": 1 - doubt})

    def audited(
        self,
        readings: tuple[AuditReading, ...],
        bounds: tuple[EpsilonBound, ...],
        seen: CanaryScores,
    ) -> AuditScore:
        guarantee, main = self.guarantee(seen.round), next(iter(seen.scores.values()))
        detects = bounds[0].premise == GAUSSIAN and self.spy.fault not in FITTING
        return AuditScore(
            readings=readings,
            delta=self.delta(),
            confidence=self.spy.confidence,
            adversary=f"{self.spy.attacker}, who knows {self.spy.knows}",
            unit=guarantee.unit if guarantee else "example",
            canaries=len(seen.inside),
            included=int(seen.inside.sum()),
            fault=self.spy.fault,
            bounds=bounds,
            reached=reached(*_sides(seen, main), 1 - self.spy.confidence),
            detects=detects,
            verdict=verdict_of(readings[-1], self.spy.fault, bounds[0].premise, detects),
        )

    def result(self, found: AuditScore, stopped: str = "") -> AttackResult:
        round = found.last.round
        ended = {"stopped": f"{stopped} after round {round}"} if stopped else {}
        return AttackResult(
            attack=self.spy.kind,
            settings=attack_settings(self.spy),
            round=round,
            client=self.past.client,
            declared=ended | {"attacker": self.spy.attacker, "knows": self.spy.knows},
            guarantee=detailed(self.past.experiment, round, self.spy.against),
            score=found,
        )


def _sides(seen: CanaryScores, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores of included and of excluded canaries, as far as there are any."""
    known = ~np.isnan(scores)
    return scores[known & seen.inside], scores[known & ~seen.inside]


def reached(
    inside: np.ndarray, outside: np.ndarray, doubt: float
) -> tuple[tuple[float, float], ...]:
    """Return bounds: false positive rates at most, true positive rates at least; all hold together.

    Thresholds are chosen on some of the canaries and counted on the others.
    """
    parts = parted(inside, outside, SOME)
    limits = thresholds(*parts.chosen_on)
    chosen = limits[np.linspace(0, len(limits) - 1, POINTS + 2).astype(int)[1:-1]]
    found = counts(*parts.counted, chosen)
    alarms = upper(found.alarms, found.outside, doubt / (2 * POINTS))
    missed = upper(found.missed, found.inside, doubt / (2 * POINTS))
    pairs = zip(alarms.tolist(), (1 - missed).tolist(), strict=True)
    return tuple(sorted(pairs))
