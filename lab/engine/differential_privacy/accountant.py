"""The accountant of a run: epsilon spent, a pure function of (experiment, rounds).

Assumes what the lab really does: draws as the settings say, a fixed denominator.  A guarantee
covers one run, and holds as long as what its random draws follow from stays secret.
"""

from __future__ import annotations

from math import isfinite

import numpy as np

from lab.engine.differential_privacy.honest_noise import protected, shows_cohort
from lab.engine.differential_privacy.segments import (
    Adversary,
    Segment,
    adversaries,
    noise_multiplier,
    relayed,
    segments,
    spans,
)
from lab.engine.participation.cohort_sampling import client_rate
from lab.experiment.experiment import Experiment
from lab.privacy.accounting.accountants import (
    Accountant,
    GaussianReleases,
    compose_epsilon,
    privacy_profile,
)
from lab.privacy.guarantee import PrivacyGuarantee

__all__ = [
    "Adversary",
    "budget_left",
    "cautions",
    "detailed",
    "noise_multiplier",
    "opponents",
    "promise",
    "segments",
    "spans",
    "spent",
    "UNCOVERED",
    "gives_away",
]
PROFILE = (3.0, 121)  # how far beyond the stated epsilon, and in how many steps
SLACK = 1e-6  # relative, of arithmetic
NAMES = {"pld": "PLD", "rdp": "RDP (dp-accounting)", "prv": "PRV (Opacus)"}
UNCOVERED = (
    "Epsilon covers the released models. It does not cover what the records hold besides: the "
    "lengths of updates, each client's accuracy, and who took part."
)


def opponents(experiment: Experiment, rounds: int) -> tuple[Adversary, ...]:
    """Against whom there is a guarantee in all of these rounds."""
    parts = spans(experiment, rounds)
    wanted = adversaries(parts[-1][0].now) if parts else ()
    return tuple(
        one
        for one in wanted
        if all(
            one in adversaries(part.now) and part.spending(end, one).noise for part, end in parts
        )
    )


def spent(
    experiment: Experiment,
    rounds: int,
    adversary: Adversary | None = None,
    accountant: Accountant = "pld",
) -> PrivacyGuarantee | None:
    """What the first `rounds` rounds guarantee; None where there is no guarantee to give.

    Against the strongest adversary that noise is calibrated to, if none is named.
    """
    parts, known = spans(experiment, rounds), opponents(experiment, rounds)
    if not known or (adversary and adversary not in known):
        return None
    now, adversary = parts[-1][0].now, adversary or known[0]
    privacy = now.privacy
    spendings = tuple(part.spending(last, adversary) for part, last in parts)
    tight = accountant == "pld" and adversary == known[0]
    epsilon = compose_epsilon(spendings, privacy.delta, accountant)
    if not isfinite(epsilon):  # what may go wrong is likelier than delta
        return None
    return PrivacyGuarantee(
        epsilon=epsilon,
        at_least=_at_least(parts, privacy.delta) if tight else None,
        delta=privacy.delta,
        unit=privacy.kind,
        relation=_relation(parts, adversary),
        against=_adversary(now, adversary),
        sampling=_sampling(now, spendings[-1]),
        accountant=NAMES[accountant],
        noise=tuple(spending.noise for spending in spendings),
        condition=_condition(parts),
    )


def _at_least(parts: list[tuple[Segment, int]], delta: float) -> float | None:
    bounds = [part.at_least(last, delta) for part, last in parts]
    return max((bound for bound in bounds if bound is not None), default=None)


def detailed(
    experiment: Experiment, rounds: int, adversary: Adversary | None = None
) -> PrivacyGuarantee | None:
    """The same with its profile: a delta for each epsilon, from none to many times as large."""
    if (guarantee := spent(experiment, rounds, adversary)) is None:
        return None
    chosen = adversary or opponents(experiment, rounds)[0]
    spendings = tuple(part.spending(last, chosen) for part, last in spans(experiment, rounds))
    epsilons = np.linspace(0.0, PROFILE[0] * max(guarantee.epsilon, 0.01), PROFILE[1])
    pairs = zip(epsilons.tolist(), privacy_profile(spendings, epsilons).tolist(), strict=True)
    return guarantee.model_copy(update={"profile": tuple(pairs)})


def budget_left(experiment: Experiment, round: int) -> str:
    """Why the budget ends the run before that round; empty if it does not."""
    privacy = experiment.at(round).privacy
    if not privacy.stop or privacy.kind == "none":
        return ""
    if (after := spent(experiment, round)) is None:
        return f"round {round} has no guarantee to keep within privacy.epsilon {privacy.epsilon:g}"
    if after.epsilon <= privacy.epsilon * (1 + SLACK):
        return ""
    return (
        f"round {round} would bring epsilon to {after.epsilon:.4g}, past the budget of "
        f"privacy.epsilon {privacy.epsilon:g}"
    )


def promise(experiment: Experiment, rounds: int) -> str:
    """The guarantee in a sentence, or why there is none."""
    if guarantee := spent(experiment, rounds):
        return " ".join(
            filter(None, (f"Guaranteed: {guarantee.sentence()}.", protected(experiment)))
        )
    kinds = {part.now.privacy.kind for part in segments(experiment) if part.first <= rounds}
    if kinds <= {"none"}:
        return "No differential privacy: nothing is guaranteed about anybody."
    if "none" in kinds:
        return "No guarantee: some rounds ran without noise."
    if len(kinds) > 1:
        return "No single guarantee: the unit of protection changed in the course of the run."
    if relayed(experiment, rounds):
        poison = experiment.at(rounds).adversary.attack.kind
        return (
            f"No guarantee: malicious clients ({poison}) know the updates of other clients and "
            "send on what they learn, without the noise that hides it. Choose another "
            "adversary.attack.kind, or privacy.place local."
        )
    return (
        "No guarantee: malicious clients add no noise, and in some round too few honest clients "
        "were there to add it. Use privacy.place central or local, or fewer malicious clients."
    )


def gives_away(experiment: Experiment) -> str:
    """What a link, a file or a report of the run tells besides; empty where there is no noise."""
    starts = {1, *(change.round for change in experiment.changes)}
    noisy = [now for now in map(experiment.at, starts) if now.privacy.kind != "none"]
    if not noisy:
        return ""
    if all(now.privacy.secure_noise for now in noisy):
        return (
            "Links, files and reports of this run hold its records, which epsilon does not cover. "
            "Give them only to people who may see the data."
        )
    return (
        "Links, files and reports of this run hold its seed. Whoever has the seed can repeat the "
        "noise and take it away. Give them only to people who may see the data, or switch on "
        "privacy.secure_noise."
    )


def _relation(parts: list[tuple[Segment, int]], adversary: Adversary) -> str:
    if parts[-1][0].now.privacy.kind == "example":
        return "one example replaced by nothing; how many examples each client holds is public"
    if adversary == "public" and all(part.adds_or_removes() for part, _ in parts):
        return "one client added or removed"
    return "one client replaced by nothing; who takes part is public"


def _adversary(now: Experiment, adversary: Adversary) -> str:
    if adversary == "public":
        return "everybody who sees the released models"
    if now.privacy.kind == "client" and now.privacy.place == "distributed":
        return "a server that follows the protocol and is in league with no client"
    return "the server and everybody who sees its models"


def _sampling(now: Experiment, spending: GaussianReleases) -> str:
    who = "batches" if now.privacy.kind == "example" else "cohorts"
    often = f", joined with chance {spending.chance:.3g}" if spending.chance < 1 else ""
    sampled = now.privacy.kind == "client" and client_rate(now) < 1
    if sampled and spending.rate >= 1 and spending.chance >= 1:
        return f"cohorts are no secret, {spending.times} turns at most"
    if now.privacy.sampling == "fixed":
        each = ", at least for whoever sees each step" if who == "batches" else ""
        return f"{who} of fixed size{often}{each}"
    if spending.rate >= 1:
        return f"no sampling: full {who}{often}"
    return f"Poisson {who}, q = {spending.rate:.4g}{often}"


def _condition(parts: list[tuple[Segment, int]]) -> str:
    """What must stay secret."""
    if all(part.now.privacy.secure_noise for part, _ in parts):
        return "the records stay secret"
    return "the seed and the records stay secret"


def cautions(experiment: Experiment, rounds: int) -> list[str]:
    """What a reader of the epsilon should be told besides, in sentences."""
    if (guarantee := spent(experiment, rounds)) is None:
        return []
    data, told = experiment.data, []
    records = data.clients if guarantee.unit == "client" else data.shared()
    if guarantee.delta > 1 / (10 * records):
        told.append(
            f"Delta {guarantee.delta:g} is large for {records:,} {guarantee.unit}s: publishing one "
            f"outright, once in ten runs, would pass. Use {1 / (10 * records):.0e} or less."
        )
    if guarantee.epsilon > 10:
        told.append(
            f"Epsilon {guarantee.epsilon:.3g} promises next to nothing: the odds may change by a "
            f"factor of e^{guarantee.epsilon:.0f}."
        )
    if guarantee.unit == "example" and records > data.clients:
        told.append(
            "One example is protected and not one client: whatever a client's examples have in "
            "common is not hidden."
        )
    return told + _spoilt(spans(experiment, rounds))


def _spoilt(parts: list[tuple[Segment, int]]) -> list[str]:
    """Why epsilon is larger than the settings suggest."""
    told: list[str] = []
    now = parts[-1][0].now
    hidden = now.privacy.kind != "client" or now.privacy.sampling == "fixed"
    if not hidden and client_rate(now) < 1 and not parts[-1][0].hides_cohorts():
        if now.privacy.place == "local":
            return told
        why = "rounds that secure aggregation breaks off show how many clients took part"
        if shows_cohort(now):
            why = "malicious clients let the released model show how many clients took part"
        told.append(f"Drawing clients at random adds nothing to this guarantee: {why}.")
    before = parts[-1][0].before
    if before and (gone := compose_epsilon(before, now.privacy.delta)) >= now.privacy.epsilon:
        told.append(
            f"The target epsilon {now.privacy.epsilon:g} is out of reach: the rounds before the "
            f"last change have spent {gone:.3g}."
        )
    return told
