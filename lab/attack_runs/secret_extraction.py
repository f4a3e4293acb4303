"""Extraction: a run once more with secrets in it, and what an attack gets out of its model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lab.attack_runs.secret_canaries import Canary, canaries, digits_of, opening_of, typed
from lab.attack_runs.shared.assumptions import accuracy_of
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.attack_runs.shared.run_history import RunHistory
from lab.common.random_streams import random_stream
from lab.common.settings import SettingError
from lab.engine.data.injected_examples import with_injected_examples
from lab.engine.differential_privacy.accountant import detailed
from lab.engine.run import run
from lab.engine.run_state import RunState
from lab.experiment.experiment import Experiment
from lab.interfaces.attack_data import CanaryPrefix
from lab.interfaces.privacy_attacks import SecretExtractionAttack, attack_settings
from lab.interfaces.views import OutsiderView
from lab.privacy.guarantee import PrivacyGuarantee, ceiling_of
from lab.scoring.attack_result import AttackProgress, AttackResult
from lab.scoring.secret_score import (
    LUCK,
    SecretExposureScore,
    bits_of,
    fitted,
    group,
    lucky,
    rank,
    verdict,
)

ENUMERATED = 200_000  # as many secrets are ranked one by one
SAMPLED = 2_000  # of more than that
EXAMPLES = 3  # secrets that are shown
ONE_WINDOW = (
    "the epsilon of this run protects a single window, and a secret is as many as it has digits, "
    "each as often as it was typed"
)


class Verdict(NamedTuple):
    """What became of one secret."""

    exposure: float
    first: bool
    continued: bool
    followed: bool
    distance: float | None  # of the fit, where its rank is an estimate


def check(order: AttackRequest, history: RunHistory) -> None:
    """Any run that has a model will do."""


def start(
    order: AttackRequest, history: RunHistory, apart: float = 0.0
) -> Iterator[AttackProgress]:
    """Attack, as the request says."""
    assert isinstance(order.attack, SecretExtractionAttack)  # so says the table of families
    return run_secret_extraction(order.attack, history.state(order.round), order.client)


def run_secret_extraction(
    spy: SecretExtractionAttack, state: RunState, client: int | None = None
) -> Iterator[AttackProgress]:
    """Train as far as `state` with secrets in clients' text, and attack what is then released.

    client: who types all secrets; None: honest clients in turn.  One glimpse for each round and
    each secret; the last has the result.  Raises SettingError, or Stopped where training does.
    """
    now = state.experiment.at(max(1, state.round))
    if not state.round:
        raise SettingError("round is 0, and an untrained model remembers nothing: give 1 or more")
    chosen = canaries(now, spy.inserted(), client)
    steps, model = state.round + len(chosen), state.model
    changed = with_injected_examples(state.experiment, typed(now, chosen))
    for moment in islice(run(changed), state.round):
        model = moment.state.model
        yield AttackProgress(moment.record.round, steps)
    view, asked = OutsiderView(state.round, now.architecture, model), asked_of(now, spy)
    found: list[Verdict] = []
    for canary in chosen:
        found.append(_judged(spy, view, now, canary, asked))
        if len(found) < len(chosen):
            yield AttackProgress(state.round + len(found), steps)
    result = _result(spy, state, now, model, chosen, found, client)
    yield AttackProgress(steps, steps, result=result)


def asked_of(now: Experiment, spy: SecretExtractionAttack) -> Tensor:
    """All secrets that there could be, or a sample of them.  -> (secrets, length)"""
    digits, length = digits_of(now), spy.inserted().length
    if space_of(now, spy) <= ENUMERATED:
        return torch.tensor(list(product(digits.tolist(), repeat=length)))
    drawn = random_stream(now.seed, "other secrets").integers(len(digits), size=(SAMPLED, length))
    return digits[torch.from_numpy(drawn)]


def space_of(now: Experiment, spy: SecretExtractionAttack) -> int:
    """How many secrets there could be."""
    return int(len(digits_of(now)) ** spy.inserted().length)


def _judged(
    spy: SecretExtractionAttack, view: OutsiderView, now: Experiment, canary: Canary, asked: Tensor
) -> Verdict:
    opening: CanaryPrefix = opening_of(now, canary)
    space, secret = space_of(now, spy), canary.digits
    costs = spy(view, opening, torch.cat([secret.unsqueeze(0), asked]))
    own, others = float(costs[0]), costs[1:]
    continuations = spy.search(view, opening)
    hits = (continuations == secret).all(dim=1)
    spoken = bool(hits[0]), bool(hits.any())
    if space <= ENUMERATED:
        place = rank(own, others)
        return Verdict(bits_of(place, space), place == 1, *spoken, None)
    if not bool(costs.isfinite().all()):
        return Verdict(0.0, False, *spoken, 1.0)
    exposure, distance = fitted(own, others.numpy(), space)
    return Verdict(exposure, own < float(others.min()), *spoken, distance)


def _result(
    spy: SecretExtractionAttack,
    state: RunState,
    now: Experiment,
    model: Tensor,
    chosen: Sequence[Canary],
    found: Sequence[Verdict],
    client: int | None,
) -> AttackResult:
    guarantee = detailed(state.experiment, state.round, "public")
    space = space_of(now, spy)
    bits, copies = float(np.log2(space)), sorted({canary.copies for canary in chosen})
    groups = []
    for often in copies:
        mine = [one for one, canary in zip(found, chosen, strict=True) if canary.copies == often]
        counts = (
            sum(one.first for one in mine),
            sum(one.continued for one in mine),
            sum(one.followed for one in mine),
        )
        most = ceiling(guarantee, bits) if often else None
        groups.append(group(often, [one.exposure for one in mine], counts, bits, most))
    low, high = lucky(spy.inserted().canaries)
    distances = [one.distance for one in found if one.distance is not None]
    record = SecretExposureScore(
        space=float(space),
        groups=tuple(groups),
        expected=LUCK,
        expected_low=low,
        expected_high=high,
        estimated=max(distances) if distances else None,
        examples=tuple(_examples(now, chosen, found)),
        verdict=verdict(tuple(groups)),
        note=ONE_WINDOW if guarantee and guarantee.unit == "example" else "",
    )
    windows = sum(canary.copies * len(canary.digits) for canary in chosen)
    whose = f"client {client}" if client is not None else "honest clients in turn"
    return AttackResult(
        attack=spy.kind,
        settings=attack_settings(spy),
        round=state.round,
        client=client,
        declared={
            "attacker": spy.attacker,
            "knows": spy.knows,
            "trained again": "the same run once more, with secrets in the text of clients; the "
            "run itself was left as it is",
            "inserted": f"{windows:,} windows of {now.data.shared():,}, in place of others, typed "
            f"by {whose}",
            "model": now.model.kind,
            "accuracy on test examples": f"{accuracy_of(now, model):.3f}, "
            f"{accuracy_of(now, state.model):.3f} of the run itself",
            "trials": "1, and nothing was picked among several",
        },
        guarantee=guarantee,
        score=record,
    )


def ceiling(guarantee: PrivacyGuarantee | None, bits: float) -> float | None:
    """The mean exposure that no attack exceeds where a whole client is protected.

    Whatever passes a threshold with a chance of 2^-x by luck passes it at most as often as the
    trade-off function says; the mean is the area under that, over x.
    """
    bound = ceiling_of(guarantee)
    if bound is None or guarantee is None or guarantee.unit != "client":
        return None
    levels = np.linspace(0.0, bits, 2000)
    chances = bound.true_positives(2.0**-levels)
    return float(np.diff(levels) @ chances[:-1])  # from above: chances fall


def _examples(now: Experiment, chosen: Sequence[Canary], found: Sequence[Verdict]) -> Iterator[str]:
    """The most exposed of those that were inserted, as they were typed."""
    words = now.data.source.classes
    pairs = [pair for pair in zip(found, chosen, strict=True) if pair[1].copies]
    for one, canary in sorted(pairs, key=lambda pair: -pair[0].exposure)[:EXAMPLES]:
        text = " ".join(words[int(word)] for word in [*canary.opening[1:], *canary.digits])
        often = "typed once" if canary.copies == 1 else f"typed {canary.copies} times"
        yield f"{text} ({one.exposure:.2f} bits, {often})"
