"""Audits: canaries go through the engine's own mechanism, and prove what they must."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
import torch

from lab import figures
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.audits import AUDITS, Audit, fitting
from lab.audits.audit import AuditedRun, log_ratios
from lab.audits.canary_gradients import CanaryCoordinates, Joined, Planting
from lab.audits.client_canary import ClientCanary
from lab.audits.faults import Fault
from lab.audits.one_run import OneRun
from lab.audits.run_audit import reached, run_audit
from lab.common.random_streams import random_stream
from lab.common.settings import SettingError
from lab.engine.differential_privacy.dp_sgd import DpSgdMechanism
from lab.engine.injected_clients import InjectedClients
from lab.engine.participation.cohort_sampling import select_cohort
from lab.engine.round import run_round
from lab.engine.run import initial_state
from lab.experiment.experiment import Experiment
from lab.jobs.attack_job import carry_out_attack
from lab.models.stacked_gradients import LayerGradients, stacked
from lab.privacy.audit_bounds import GAUSSIAN, NOTHING, Premise
from lab.privacy.guarantee import AttackCeiling
from lab.scoring.attack_result import AttackResult
from lab.scoring.audit_score import AuditReading, AuditScore, verdict_of
from lab.storage.replay import StoredRun
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from lab.storage.worker_store import WorkerStore
from tests.audits.test_faults import COHORTS, SMALL
from tests.support.app_pages import trained


def past_of(experiment: Experiment, rounds: int = 2) -> AuditedRun:
    return AuditedRun(experiment, rounds, lambda _: initial_state(experiment).model)


# --- by hand ------------------------------------------------------------------------------------


def test_a_planted_gradient_is_clipped_divided_and_subtracted_by_the_guard() -> None:
    now = SMALL.changed({"training.rate": 0.5, "privacy.clip": 2.0})
    network = now.architecture
    coordinates = torch.tensor([5, network.size - 1])
    guard = DpSgdMechanism(now, 0.0, torch.tensor([100]), [random_stream(0, "unused")])
    target = stacked(network, torch.zeros(1, network.size))
    drawn = [(torch.tensor([0]), 50.0)]  # far longer than the clip of 2
    planting = Planting(guard, network, CanaryCoordinates.of(network, coordinates), iter(drawn), [])
    planting.descend(target, [], torch.zeros(1, 0))
    # Clipped to 2, over an expected batch of 0.2 * 100, at rate 0.5; the other one is not in.
    assert now.recipe.poisson == pytest.approx(0.2)
    assert planting.steps[0].tolist() == pytest.approx([-0.5 * 2 / 20, 0.0])


def test_spots_read_what_the_flat_vector_holds() -> None:
    network = SMALL.architecture
    flat = torch.arange(network.size, dtype=torch.float32)
    coordinates = torch.tensor([0, 17, network.size // 2, network.size - 1])
    stack = stacked(network, flat.unsqueeze(0))
    assert CanaryCoordinates.of(network, coordinates).read(stack).tolist() == coordinates.tolist()


def test_examples_beside_canaries_step_as_without_them() -> None:
    """Canaries that are 0 change nothing."""
    now = SMALL
    network, generator = now.architecture, torch.Generator().manual_seed(0)
    dense = next(layer for layer in network.layers if layer in network.trained)
    place = network.layers.index(dense)
    kept, slopes = (torch.randn(1, 3, size, generator=generator) for size in (64, 40))
    target = [stacked(network, torch.zeros(1, network.size)) for _ in range(2)]
    guard = DpSgdMechanism(now, 0.0, torch.tensor([10]), [random_stream(0, "unused")])
    part = torch.zeros(2, dtype=torch.int64)
    joined = Joined(dense, 3, part, part, torch.zeros(2))
    guard.descend(target[0], [LayerGradients(place, dense, kept, slopes)], torch.ones(1, 3))
    guard.descend(target[1], [LayerGradients(place, joined, kept, slopes)], torch.ones(1, 5))
    torch.testing.assert_close(target[0][place][0], target[1][place][0])


def test_without_clipping_every_canary_weighs_one() -> None:
    part, offset = torch.tensor([0, 0]), torch.tensor([4, 7])
    joined = Joined(None, 0, part, offset, torch.tensor([2.0, -1.0]))
    own, weighted = [torch.zeros(1, 3, 3)], [torch.zeros(1, 3, 3)]
    joined.descend(own, None, torch.zeros(0), 0.5)
    joined.descend_weighted(weighted, None, torch.ones(1, 2), 0.5)
    assert own[0].flatten().tolist() == [0, 0, 0, 0, -1.0, 0, 0, 0.5, 0]
    assert torch.equal(own[0], weighted[0])


def test_the_likelihood_ratio_is_that_of_a_mixture() -> None:
    from scipy.stats import norm

    seen, noise, rate = np.array([-1.0, 0.3, 2.0]), 0.8, 0.25
    inside = (1 - rate) * norm.pdf(seen, 0, noise) + rate * norm.pdf(seen, 1, noise)
    expected = np.log(inside / norm.pdf(seen, 0, noise))
    found = log_ratios(torch.from_numpy(seen), noise, rate)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_scores_of_canaries_are_what_the_claim_says() -> None:
    """Full batches: a canary that is in lies steps / noise^2 higher, amid steps / noise^2."""
    now = SMALL.changed({"training.batch_size": 200, "data.examples": 400, "privacy.noise": 5.0})
    *_, last = OneRun(canaries=1500, beside=20)(past_of(now, 6))
    scores, steps = last.scores["likelihood ratio"], 6
    gap = scores[last.inside].mean() - scores[~last.inside].mean()
    assert gap == pytest.approx(steps / 25, rel=0.25)
    assert scores[~last.inside].std() == pytest.approx(steps**0.5 / 5, rel=0.1)


def test_a_verdict_accuses_by_what_is_certain_only() -> None:
    reading = AuditReading(round=1, claimed=4.0, proven=4.5, certain=3.0, beside={}, point=None)
    assert verdict_of(reading, "none", GAUSSIAN).startswith("suspicious")
    sound = reading.model_copy(update={"proven": 3.5})
    assert verdict_of(sound, "none", GAUSSIAN) == (
        "nothing speaks against epsilon 4.00: at least 3.50 is proven of a Gaussian mechanism"
    )
    assert verdict_of(sound, "none", NOTHING).endswith("at least 3.50 is proven")
    assert verdict_of(sound, "no-clipping", GAUSSIAN, True).startswith("not caught (no-clipping)")
    nothing = sound.model_copy(update={"claimed": None})
    assert verdict_of(nothing, "none", NOTHING).startswith("nothing is promised")


@pytest.mark.parametrize(
    ("premise", "detects", "rest"),
    [
        (GAUSSIAN, True, "; how large its epsilon is stays open"),
        (GAUSSIAN, False, "; if only its noise is too small, epsilon is at least 4.50"),
        (NOTHING, False, "; epsilon is at least 4.50"),
    ],
)
def test_a_broken_mechanism_is_detected_and_bounded_only_under_the_premise_of_the_bound(
    premise: Premise, detects: bool, rest: str
) -> None:
    """B4 of the review: a Gaussian bound proves nothing of a mechanism that is none."""
    reading = AuditReading(round=1, claimed=4.0, proven=4.5, certain=4.1, beside={}, point=None)
    found = verdict_of(reading, "none", premise, detects)
    assert found == f"detected: the mechanism is not what is claimed at epsilon 4.00{rest}"


def test_what_is_reached_lies_below_the_truth() -> None:
    """Two Gaussians one apart, whose best rates are known."""
    from scipy.stats import norm

    generator, above = np.random.default_rng(3), 0
    for _ in range(100):
        pair = generator.normal(1, 1, 400), generator.normal(0, 1, 400)
        alarms, hits = np.array(reached(*pair, 0.05)).T
        above += bool((hits > norm.cdf(norm.ppf(alarms) + 1) + 1e-9).any())
    assert above <= 5


# --- promises -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", AUDITS)
def test_an_audit_declares_its_attacker_and_its_limits(kind: str) -> None:
    for name in ("attacker", "knows", "fails", "source", "against"):
        assert len(vars(AUDITS[kind])[name]) > 5
    assert issubclass(AUDITS[kind], Audit)


@pytest.mark.parametrize(
    ("spy", "experiment"), [(OneRun(canaries=200), SMALL), (ClientCanary(canaries=200), COHORTS)]
)
def test_an_audit_is_repeated_by_its_seed(spy: Audit, experiment: Experiment) -> None:
    past = past_of(experiment)
    one, same = ([glimpse.score for glimpse in run_audit(spy, past)] for _ in range(2))
    assert one == same
    other = past_of(experiment.changed({"seed": 5}))
    assert [glimpse.score for glimpse in run_audit(spy, other)] != one


def test_guests_leave_all_others_draws_alone() -> None:
    for round in range(1, 5):
        alone, together = select_cohort(COHORTS, round), select_cohort(COHORTS, round, 50)
        assert tuple(one for one in together if one < 20) == alone
    everybody = COHORTS.changed({"training.clients_per_round": 0})
    assert select_cohort(everybody, 1, 3) == tuple(range(23))


def test_a_guest_counts_as_any_client_does() -> None:
    """Beside the same noise, the model moves by the clipped guest over the expected cohort."""
    now = COHORTS.changed({"privacy.place": "central", "privacy.clip": 0.5})
    state = initial_state(now)
    row = torch.zeros(1, now.architecture.size)
    row[0, 3] = 7.0
    alone = run_round(state, InjectedClients((), row[:0], 40.0)).state.model
    joined = run_round(state, InjectedClients((20,), row, 40.0)).state.model
    expected = torch.zeros_like(alone)
    expected[3] = 0.5 / 40
    torch.testing.assert_close(joined - alone, expected, atol=1e-6, rtol=0)


def test_glimpses_tell_every_round_and_end_with_the_result() -> None:
    glimpses = list(run_audit(OneRun(canaries=200), past_of(SMALL, 3)))
    assert [(one.step, one.steps) for one in glimpses] == [(1, 3), (2, 3), (3, 3)]
    assert [len(one.score.readings) for one in glimpses if one.score] == [1, 2, 3]
    result = glimpses[-1].result
    assert result is not None
    assert AttackResult.read(result.dump()) == result
    assert glimpses[0].conclude is not None
    stopped = glimpses[0].conclude("by hand")
    assert stopped.declared["stopped"] == "by hand after round 1"


def test_the_final_model_shows_less_than_all_of_them() -> None:
    proven = []
    for sees in ("all", "final"):
        *_, last = run_audit(ClientCanary(canaries=1000, sees=sees), past_of(COHORTS, 4))  # type: ignore[arg-type]
        assert last.score is not None
        proven.append(last.score.last.proven)
    assert proven[1] <= proven[0]


@pytest.mark.parametrize(
    ("spy", "changes", "words"),
    [
        (OneRun(), {"privacy.kind": "none"}, "privacy.kind is none"),
        (OneRun(), {"privacy.kind": "client"}, "promise to one example"),
        (OneRun(), {"privacy.sampling": "fixed"}, "privacy.sampling is fixed"),
        (OneRun(canaries=5000), {}, "canaries is 5000"),
        (ClientCanary(), {}, "promise to one client"),
        (ClientCanary(), {"privacy.kind": "client", "privacy.place": "local"}, "place local"),
        (
            ClientCanary(),
            {"privacy.kind": "client", "aggregation.rule": "median"},
            "aggregation.rule.kind median",
        ),
    ],
)
def test_what_cannot_be_audited_is_refused_in_words(
    spy: Audit, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(SettingError, match=words):
        next(run_audit(spy, past_of(SMALL.changed(changes))))


def test_the_fitting_audit_follows_the_promise() -> None:
    assert fitting(SMALL) == "one-run"
    assert fitting(COHORTS) == "client-canary"
    assert fitting(SMALL.changed({"privacy.kind": "none"})) == "black-box"


# --- in the store -------------------------------------------------------------------------------


def test_an_audit_is_a_job_and_uses_the_models_that_were_sent(store: Store) -> None:
    run = trained(store, SMALL.changed({"training.rounds": 2}))
    ledger = WorkerStore(store)
    order = AttackRequest.read({"kind": "one-run", "canaries": 200, "round": 2})
    assert (
        order.command(run) == f"leaklab audit --kind one-run --run {run} --round 2 -s canaries=200"
    )
    job = ledger.start_attack(run, order)
    deque(carry_out_attack(ledger, job), maxlen=0)
    ended = store.job(job.id)
    assert ended.status == "finished"
    assert ended.result is not None
    found = AttackResult.read(ended.result).score
    assert found is not None
    assert AuditScore.read(store.sights(job.id)[-1].body["score"]) == found
    for round in (1, 2):
        torch.testing.assert_close(
            StoredRun(store, run).sent_model(round), StoredRun(store, run).state(round - 1).model
        )


def test_an_audit_that_fits_nothing_is_refused_when_it_is_ordered(store: Store) -> None:
    run = trained(store, SMALL.changed({"training.rounds": 1, "privacy.kind": "none"}))
    with pytest.raises(SettingError, match=r"privacy\.kind is none"):
        RunCommands(store).attack(run, AttackRequest.read({"kind": "one-run", "round": 1}))


# --- as pictures --------------------------------------------------------------------------------


def test_the_picture_says_bounds_as_lines_and_estimates_as_points() -> None:
    *_, last = run_audit(OneRun(canaries=200), past_of(SMALL, 3))
    assert last.score is not None
    figure = figures.promises(last.score, 3)
    modes = {trace.name: trace.mode for trace in figure.data}
    assert modes["estimate"] == "markers"
    assert "lines" in modes["proven"]
    assert modes["claimed"] == "lines"
    told = " ".join(note.text for note in figure.layout.annotations)
    assert f"claimed ≤ {last.score.last.claimed:.2f}" in told
    assert f"proven ≥ {last.score.last.proven:.2f}, Gaussian" in told
    assert "no assumption" in told


@pytest.mark.parametrize(
    ("fault", "detects"), [("none", False), ("noise-halved", False), ("always-sampled", True)]
)
def test_what_bounds_nothing_is_called_a_detection_in_words_and_in_the_picture(
    fault: Fault, detects: bool
) -> None:
    """B4 of the review.  A mechanism with half of the noise is still Gaussian."""
    *_, last = run_audit(OneRun(canaries=400, beside=40, fault=fault), past_of(SMALL, 2))
    assert last.score is not None
    found = last.score
    told = " ".join(found.lines())
    picture = figures.promises(found, 2)
    names = {trace.name for trace in picture.data}
    assert found.detects == detects
    assert ("no bound by trade-off" in told) == detects
    assert ("which assumes a Gaussian mechanism" in told) == (not detects)
    assert "one run of guesses, which assumes nothing of mechanism and scores" in told
    assert "generic Clopper-Pearson, which assumes independent scores" in told
    assert ("detected" in names, "proven" in names) == (detects, not detects)
    assert ("f-dp" in names) == (not detects)
    assert found.unconditional == found.last.beside["steinke"]


def test_an_audit_stored_before_bounds_named_their_premise_can_still_be_read() -> None:
    *_, last = run_audit(OneRun(canaries=200), past_of(SMALL, 2))
    assert last.score is not None
    old = last.score.dump()
    del old["detects"]
    for bound in old["bounds"]:
        del bound["premise"]
    found = AuditScore.read(old)
    assert found.premise is None
    assert found.lines()
    assert figures.promises(found, 2).data


def test_the_reachable_region_is_the_hull_of_what_was_counted() -> None:
    """A point below the line between its neighbours adds nothing."""
    pairs = ((0.1, 0.4), (0.2, 0.41), (0.5, 0.9))
    figure = figures.reach(AttackCeiling(epsilon=2.0, delta=1e-5), pairs, {})
    shade = next(trace for trace in figure.data if trace.name == "reached, independent scores")
    assert np.interp(0.2, shade.x, shade.y) == pytest.approx(0.4 + 0.5 * 0.1 / 0.4, abs=0.01)
    assert np.interp(0.05, shade.x, shade.y) == pytest.approx(0.2, abs=0.01)


def test_a_broken_mechanism_is_drawn_in_another_colour() -> None:
    *_, last = run_audit(OneRun(canaries=400), past_of(SMALL, 2))
    assert last.score is not None
    sound = last.score
    end = sound.last.model_copy(update={"certain": 99.0})
    broken = sound.model_copy(update={"readings": (*sound.readings[:-1], end)})
    lines = [figures.promises(one, 2).data[0].line.color for one in (sound, broken)]
    assert lines[0] != lines[1]
