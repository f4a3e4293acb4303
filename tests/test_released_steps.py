"""The guard of client-level privacy: what one client moves, beside the noise, is what is stated.

Nothing is believed.  How far one client moves what is released is measured with the noise switched
off, in two worlds that differ in this client only.  The noise is measured with updates of zeros.
The quotient of both must not be less than the noise multiplier in the statement.

A review of soundness found statements that this guard now watches: A1 (poisons), A3 (FedDyn), A7
(rounding under masks).
"""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from attacks import POISONS
from lab.aggregator import Aggregator, Answer
from lab.algorithms import ALGORITHMS
from lab.assembly import acting
from lab.clipping import CLIP
from lab.cohorts import asked
from lab.engine import begin
from lab.experiment import Experiment
from lab.settings import SettingError
from tests.depth import few
from tests.drawn_guarantees import BASE, CLIENTS, Combination, drawn, poison
from tests.neighbours import ROUNDED, Setting, Statement, measured
from tests.observed_rounds import Noise, Observed, other_noise, run_round, silence

DRAWS = 4  # experiments of each combination
TABLE = BASE | {
    "data.clients": 8,
    "data.examples": 160,
    "model.kind": "logistic",
    "privacy.kind": "client",
    "privacy.clip": 0.5,
    "privacy.noise": 2.0,
}
OPEN = ("distributed", "central")  # places of noise whose cohorts can be a secret


def experiment_of(settings: dict[str, Any]) -> Experiment | None:
    """None: the lab refuses it, so that there is nothing to hold."""
    try:
        return Experiment().changed(TABLE | settings)
    except SettingError:
        return None


def attacked(kind: str) -> dict[str, Any]:
    return {"adversary.count": 3, "adversary.poison": poison(kind)}


def rounds_of(experiment: Experiment) -> list[int]:
    """The first round under each of the settings."""
    return [1, *(change.round for change in experiment.changes)]


# --- drawn experiments ----------------------------------------------------------------------------


@pytest.mark.parametrize("number", few(range(DRAWS), 0))
@pytest.mark.parametrize("combination", CLIENTS, ids=str)
def test_one_client_is_hidden_as_well_as_stated(combination: Combination, number: int) -> None:
    experiment = drawn(combination, DRAWS)[number]
    for round in rounds_of(experiment):
        for found in measured(experiment, round):
            assert found.sound, str(found)


@pytest.mark.parametrize("combination", CLIENTS, ids=str)
def test_every_combination_has_statements_to_be_measured(combination: Combination) -> None:
    stated = [
        experiment
        for experiment in drawn(combination, DRAWS)
        if any(Statement.of(experiment, 1, one) for one in ("public", "server"))
    ]
    assert len(stated) >= 2


# --- every poison ---------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["poisson", "fixed"])
@pytest.mark.parametrize("place", OPEN)
@pytest.mark.parametrize("kind", POISONS)
def test_no_poison_makes_a_statement_false(kind: str, place: str, sampling: str) -> None:
    """A1: a poison may leave noise out, or pass on what it knows of others' updates."""
    settings = {
        "privacy.place": place,
        "privacy.sampling": sampling,
        "training.clients_per_round": 6,
    }
    experiment = experiment_of(settings | attacked(kind))
    if experiment is None:
        return
    cohort, bad = set(asked(experiment, 2)), set(acting(experiment, 2))
    assert len(cohort & bad) >= 2
    assert len(cohort - bad) >= 2
    for found in measured(experiment, 2):
        assert found.sound, str(found)


# --- secret cohorts -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_the_next_model_follows_from_the_released_steps_alone(kind: str) -> None:
    """A3: not from how many clients took part, which is a secret, nor from their updates."""
    settings = {"training.algorithm": kind, "model.kind": "mlp", "model.hidden": 8}
    experiment = experiment_of(settings | {"training.clients_per_round": 4})
    if experiment is None:
        return
    few = models_of(experiment, [(0, 1), (3,), (5,)])
    many = models_of(experiment, [tuple(range(8))] * 3)
    for round, (one, other) in enumerate(zip(few, many, strict=True), 1):
        apart = float((one - other).norm() / (other - begin(experiment).model).norm())
        assert apart == 0, f"{kind}: models differ by {apart:.3g} of their way after round {round}"


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_a_round_that_asks_nobody_is_run(kind: str) -> None:
    experiment = experiment_of({"training.algorithm": kind, "training.clients_per_round": 1})
    if experiment is None:
        return
    shown = run_round(begin(experiment), ()).answer.step
    assert float(shown.std()) > 0


def models_of(experiment: Experiment, cohorts: list[tuple[int, ...]]) -> list[Tensor]:
    """The models of rounds that release the same steps, whatever clients send."""

    def answer(self: Aggregator, *_: Any) -> Answer:
        return Answer(torch.randn(self.shared, generator=torch.manual_seed(self.round)))

    state, models = begin(experiment), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Aggregator, "answer", answer)
        for cohort in cohorts:
            generator = torch.manual_seed(len(cohort))
            rows = torch.randn(len(cohort), len(state.model), generator=generator)
            state = run_round(state, cohort, dict(zip(cohort, rows, strict=True))).state
            models.append(state.model)
    return models


HIDDEN = [(place, False, kind) for place, kind in product(OPEN, ["", *POISONS])] + [
    (place, True, kind) for place, kind in product(OPEN, ["", "sign-flip", "free-rider"])
]


@pytest.mark.parametrize(
    ("place", "masks", "kind"),
    HIDDEN,
    ids=[f"{p}-{'masked' if m else 'plain'}-{k or 'nobody'}" for p, m, k in HIDDEN],
)
def test_the_noise_does_not_tell_how_many_took_part(place: str, masks: bool, kind: str) -> None:
    """Nor whether masks were taken off: with two clients they are not."""
    settings: dict[str, Any] = {"privacy.place": place, "secure_aggregation.enabled": masks}
    settings |= attacked(kind) if kind else {}
    experiment = experiment_of(settings | {"training.clients_per_round": 6})
    if experiment is None:
        return
    stated = Statement.of(experiment, 1, "public")
    if stated is None or not stated.added:
        return
    bad = acting(experiment, 1)
    honest = [client for client in range(8) if client not in bad]
    few, many = (
        Setting(experiment, begin(experiment), tuple(sorted(cohort)), honest[0]).noise("public")
        for cohort in ([*bad, *honest[: 1 if bad else 2]], range(8))
    )
    assert few.least <= many.most, f"{experiment.overrides_as_text()}: {few} and {many}"
    assert many.least <= few.most, f"{experiment.overrides_as_text()}: {few} and {many}"


# --- rounding under masks -------------------------------------------------------------------------


@pytest.mark.parametrize("bound", few([8.0, 1e4, 1e5, 1e6], 8.0, 1e5))
@pytest.mark.parametrize("sampling", ["poisson", "fixed"])
@pytest.mark.parametrize("place", ["distributed", "central", "local"])
def test_rounding_under_masks_is_counted(place: str, sampling: str, bound: float) -> None:
    """A7: a clipped update may come out of the ring longer than the clip.

    A ring that is made for the clients who take part also rounds others' updates anew with them.
    """
    settings = {
        "model.kind": "mlp",
        "model.hidden": 20,  # many coordinates, each of which is rounded
        "training.clients_per_round": 7,
        "privacy.place": place,
        "privacy.sampling": sampling,
        "privacy.clip": 0.02,
        "secure_aggregation.enabled": True,
        "secure_aggregation.bound": bound,
    }
    experiment = experiment_of(settings)
    assert experiment is not None or bound > 8
    for found in measured(experiment, 1) if experiment else ():
        assert found.sound, str(found)


# --- adaptive clipping ----------------------------------------------------------------------------

TIMES = {False: 150, True: 60}  # rounds, each of which has one noisy count; fewer under masks
ADAPTIVE = {"data.clients": 4, "privacy.quantile": 0.5, "privacy.noise": 0.3}
FOUR = range(4)


@pytest.mark.parametrize("masks", [False, True], ids=["plain", "masked"])
@pytest.mark.parametrize("place", ["distributed", "central", "local"])
def test_an_update_and_its_bit_are_hidden_together(place: str, masks: bool) -> None:
    settings = ADAPTIVE | {
        "privacy.place": place,
        "secure_aggregation.enabled": masks,
        "secure_aggregation.threshold": 1.0,  # no more noise than needed
    }
    experiment = experiment_of(settings)
    assert experiment is not None
    stated = Statement.of(experiment, 1, "server" if place == "local" else "public")
    assert stated is not None
    steps, bits = noise_with_bits(experiment, TIMES[masks])
    for length in (0.999, 100.0):  # of the client's update, in clips: left whole, or shortened
        step, bit = moved_with_bits(experiment, length)
        cost = (step / steps.most) ** 2 + (bit / bits.most) ** 2
        assert cost**0.5 * stated.noise <= 1 + ROUNDED, (place, step, bit, steps, bits, stated)
        assert step > 0.99
        assert bit > 0


def noise_with_bits(experiment: Experiment, times: int) -> tuple[Noise, Noise]:
    """Of the step, in clips, and of the logarithm of the next clip."""
    with silence():
        still = shown_with_bits(experiment, run_round(begin(experiment), FOUR))
    drawn = []
    for number in range(times):
        with other_noise(number):
            drawn.append(shown_with_bits(experiment, run_round(begin(experiment), FOUR)))
    steps, bits = (Noise.of([one[part] - still[part] for one in drawn]) for part in (0, 1))
    return steps, bits


def moved_with_bits(experiment: Experiment, length: float) -> tuple[float, float]:
    """What the last client's update moves: step and next clip, as above."""
    params, last = experiment.architecture.size, FOUR[-1]
    update = torch.randn(params, generator=torch.manual_seed(0))
    update *= length * experiment.privacy.clip / update.norm()
    state = begin(experiment)
    with silence():
        here = shown_with_bits(experiment, run_round(state, FOUR, {last: update}))
        if experiment.privacy.place == "local":  # its neighbour says nothing at all
            return float(here[0].norm()), float(here[1].norm())
        there = shown_with_bits(experiment, run_round(state, FOUR[:-1]))
    return float((here[0] - there[0]).norm()), float((here[1] - there[1]).norm())


def shown_with_bits(experiment: Experiment, observed: Observed) -> tuple[Tensor, Tensor]:
    """-> (1, params), (1, 1)"""
    privacy, last = experiment.privacy, FOUR[-1]
    if privacy.place == "local":
        return observed.own[last].unsqueeze(0) / privacy.clip, observed.bits[last].unsqueeze(0)
    step = observed.answer.step.unsqueeze(0) * experiment.cohort_size / privacy.clip
    return step, observed.state.memory[CLIP].log().unsqueeze(0)
