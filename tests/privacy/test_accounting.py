"""The accountant: against tight values from two other libraries, and what an epsilon means."""

from __future__ import annotations

import math

import pytest
from dp_accounting import gaussian_mechanism  # type: ignore[import-untyped]
from opacus.accountants import PRVAccountant
from scipy.special import ndtr

from lab.engine.differential_privacy.accountant import (
    cautions,
    noise_multiplier,
    promise,
    segments,
    spent,
)
from lab.engine.participation.cohort_sampling import select_cohort
from lab.experiment.experiment import Experiment
from lab.privacy.accounting.accountants import (
    ACCOUNTANTS,
    Accountant,
    GaussianReleases,
    calibrate_noise,
    compose_epsilon,
)

# rate, noise, steps, delta, epsilon: PLD and a PRV bracket agree on these to 0.006 % (computed
# independently with dp-accounting 0.6 and Opacus 1.6).
TIGHT = [
    (0.05, 1.0, 400, 1e-4, 5.73503),
    (1.0, 10.0, 100, 1e-4, 3.80444),
    (0.01, 0.4, 1000, 1e-5, 27.7186),
    (1.0, 5.0, 20, 1e-2, 1.99574),
    (0.05, 0.8, 100, 1e-4, 4.70906),
    (0.2, 0.5, 30, 1e-2, 16.1971),
    (0.00416667, 1.1, 14400, 1e-5, 2.34964),
    (0.00416667, 1.3, 3600, 1e-5, 0.85303),
    (0.00654939, 1.0, 4120, 1e-9, 3.55377),
]
# The same by Renyi differential privacy and by Opacus' PRV bracket, each by its own library.
BESIDE = [
    ((0.05, 1.0, 400, 1e-4), 6.46525, 5.74547),
    ((1.0, 10.0, 100, 1e-4), 4.17587, 3.8147),
    ((0.01, 0.4, 1000, 1e-5), 31.9385, 27.7304),
    ((0.001, 4.0, 1000, 1e-6), 0.0668977, 0.037125),
    ((0.05, 0.8, 100, 1e-4), 5.59991, 4.71952),
    ((0.00416667, 1.1, 14400, 1e-5), 2.56172, 2.3597),
]
# rate, steps, delta, epsilon, noise: the tight noise for a target.
NEEDED = [
    (0.05, 400, 1e-4, 1.0, 3.3257),
    (0.05, 400, 1e-4, 8.0, 0.8521),
    (1.0, 20, 1e-2, 2.0, 4.992),
    (1.0, 20, 1e-2, 8.0, 1.8263),
    (0.05, 100, 1e-4, 5.0, 0.77991),
]


def experiment(**settings: object) -> Experiment:
    return Experiment().changed({path.replace("__", "."): v for path, v in settings.items()})


@pytest.mark.parametrize(("rate", "noise", "steps", "delta", "epsilon"), TIGHT)
def test_epsilon_is_tight_and_never_optimistic(
    rate: float, noise: float, steps: int, delta: float, epsilon: float
) -> None:
    found = compose_epsilon((GaussianReleases(rate, noise, steps),), delta)
    assert -0.0005 * epsilon <= found - epsilon <= 0.005 * epsilon


def test_a_tiny_epsilon_is_tight_too() -> None:
    """A grid fifty times finer has 0.026968 from above, and 0.026468 from below."""
    found = compose_epsilon((GaussianReleases(0.001, 4.0, 1000),), 1e-6)
    assert 0.026468 < found < 1.001 * 0.026968


@pytest.mark.parametrize(("releases", "rdp", "prv"), BESIDE)
def test_other_accountants_say_what_their_libraries_say(
    releases: tuple[float, float, int, float], rdp: float, prv: float
) -> None:
    rate, noise, steps, delta = releases
    spendings = (GaussianReleases(rate, noise, steps),)
    assert compose_epsilon(spendings, delta, "rdp") == pytest.approx(rdp, rel=1e-5)
    assert compose_epsilon(spendings, delta, "prv") == pytest.approx(prv, rel=1e-4)
    assert compose_epsilon(spendings, delta) < compose_epsilon(spendings, delta, "prv")


@pytest.mark.parametrize("accountant", ACCOUNTANTS)
def test_segments_compose_in_every_accountant(accountant: Accountant) -> None:
    one, other = GaussianReleases(0.05, 1.0, 50), GaussianReleases(0.1, 2.0, 30)
    both = compose_epsilon((one, other), 1e-4, accountant)
    alone = [compose_epsilon((each,), 1e-4, accountant) for each in (one, other)]
    assert max(alone) < both < sum(alone) * 1.3
    halves = GaussianReleases(0.05, 1.0, 20), GaussianReleases(0.05, 1.0, 30)
    whole = compose_epsilon((one,), 1e-4, accountant)
    assert compose_epsilon(halves, 1e-4, accountant) == pytest.approx(whole, rel=0.005)
    assert compose_epsilon((GaussianReleases(0.05, 1.0, 0),), 1e-4, accountant) == 0.0


@pytest.mark.parametrize(("noise", "steps", "delta"), [(5.0, 20, 1e-2), (10.0, 100, 1e-4)])
def test_without_sampling_it_is_the_analytic_gaussian(
    noise: float, steps: int, delta: float
) -> None:
    exact = gaussian_mechanism.get_epsilon_gaussian(noise / math.sqrt(steps), delta)
    assert compose_epsilon((GaussianReleases(1.0, noise, steps),), delta) == pytest.approx(
        exact, rel=1e-6
    )


def test_opacus_agrees() -> None:
    accountant = PRVAccountant()
    accountant.history = [(1.0, 0.05, 400)]
    other = accountant.get_epsilon(delta=1e-4)
    assert compose_epsilon((GaussianReleases(0.05, 1.0, 400),), 1e-4) == pytest.approx(
        other, rel=0.005
    )


@pytest.mark.parametrize(("rate", "steps", "delta", "epsilon", "noise"), NEEDED)
def test_noise_for_a_target_is_the_least_that_meets_it(
    rate: float, steps: int, delta: float, epsilon: float, noise: float
) -> None:
    found = calibrate_noise(GaussianReleases(rate, 1.0, steps), epsilon, delta)
    assert found == pytest.approx(noise, rel=1e-3)
    assert compose_epsilon((GaussianReleases(rate, found, steps),), delta) <= epsilon


@pytest.mark.parametrize("epsilon", [0.01, 0.5, 100.0])
def test_every_target_within_bounds_can_be_met(epsilon: float) -> None:
    found = calibrate_noise(GaussianReleases(0.5, 1.0, 30), epsilon, 1e-3)
    assert compose_epsilon((GaussianReleases(0.5, found, 30),), 1e-3) <= epsilon


@pytest.mark.parametrize("kind", ["example", "client"])
def test_a_run_ends_at_its_target_and_spends_more_every_round(kind: str) -> None:
    now = experiment(privacy__kind=kind, privacy__epsilon=3.0, training__rounds=12)
    found = [guarantee.epsilon for r in range(1, 13) if (guarantee := spent(now, r))]
    assert len(found) == 12
    assert found == sorted(found)
    assert found[-1] == pytest.approx(3.0, rel=1e-3)
    assert found[-1] <= 3.0


def test_a_guarantee_says_what_it_means() -> None:
    now = experiment(privacy__kind="client", training__clients_per_round=5, training__rounds=4)
    guarantee = spent(now, 4)
    assert guarantee is not None
    words = guarantee.sentence()
    for part in (
        "one client",
        "delta 0.001",
        "added or removed",
        "Poisson cohorts, q = 0.25",
        "PLD",
    ):
        assert part in words


def test_the_server_gets_no_amplification_from_choosing_clients() -> None:
    """Example by example, who takes part is known to the server: only turns taken count."""
    now = experiment(
        privacy__kind="example", privacy__noise=2.0, training__clients_per_round=5,
        training__rounds=10,
    )  # fmt: skip
    turns = max(sum(client in select_cohort(now, r) for r in range(1, 11)) for client in range(20))
    steps = now.recipe.local_steps(500)
    expected = compose_epsilon((GaussianReleases(32 / 500, 2.0, turns * steps),), 1e-3)
    found = spent(now, 10)
    assert found is not None
    assert found.epsilon == pytest.approx(expected, rel=1e-6)


def test_a_client_that_never_took_part_has_spent_nothing() -> None:
    now = experiment(privacy__kind="example", training__clients_per_round=1, training__rounds=1)
    found = spent(now, 0)
    assert found is None or found.epsilon == 0


def test_toggling_something_else_leaves_the_noise_alone() -> None:
    now = experiment(privacy__kind="client", privacy__epsilon=4.0)
    changed = now.changed_from(11, {"training.rate": 0.01})
    assert len(segments(changed)) == 1
    assert noise_multiplier(changed, 20) == noise_multiplier(now, 20)
    assert spent(changed, 30) == spent(now, 30)


def test_segments_with_different_noise_compose() -> None:
    now = experiment(privacy__kind="client", privacy__noise=4.0)
    changed = now.changed_from(11, {"privacy.noise": 8.0})
    found = spent(changed, 30)
    assert found is not None
    # Gaussians without sampling compose exactly: their squared inverse noises add up.
    together = (10 / 4.0**2 + 20 / 8.0**2) ** -0.5
    exact = gaussian_mechanism.get_epsilon_gaussian(together, 1e-3)
    assert found.epsilon == pytest.approx(exact, rel=1e-3)
    assert found.noise == (4.0, 8.0)


def test_a_tighter_target_in_mid_run_never_takes_back_what_was_spent() -> None:
    now = experiment(privacy__kind="client", privacy__epsilon=8.0)
    changed = now.changed_from(16, {"privacy.epsilon": 1.0})
    early, late = spent(changed, 15), spent(changed, 30)
    assert early is not None
    assert late is not None
    assert late.epsilon > early.epsilon > 1.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "No differential privacy"),
        ({"privacy.kind": "client"}, "No guarantee: some rounds ran without noise"),
    ],
)
def test_where_there_is_no_guarantee_it_is_said_why(changes: dict[str, object], words: str) -> None:
    now = experiment().changed_from(5, changes) if changes else experiment()
    assert spent(now, 10) is None
    assert promise(now, 10).startswith(words)


def test_a_changed_unit_of_protection_has_no_single_guarantee() -> None:
    now = experiment(privacy__kind="client").changed_from(5, {"privacy.kind": "example"})
    assert spent(now, 10) is None
    assert promise(now, 10).startswith("No single guarantee")


def test_what_a_reader_should_be_told_besides() -> None:
    loose = experiment(privacy__kind="client", privacy__epsilon=20.0, privacy__delta=0.01)
    assert [told.split()[0] for told in cautions(loose, 30)] == ["Delta", "Epsilon"]
    sound = {"privacy__epsilon": 2.0, "privacy__delta": 1e-6}
    assert cautions(experiment(privacy__kind="client", **sound), 30) == []
    assert "not one client" in cautions(experiment(privacy__kind="example", **sound), 30)[0]
    assert cautions(experiment(), 30) == []


def test_releases_that_come_by_chance_lie_between_a_wrong_rate_and_none() -> None:
    """Ten local steps in a round that a client joins with chance 0.1: the steps come together."""
    turns = GaussianReleases(rate=0.1, noise=1.0, times=20, steps=10, chance=0.1)
    found = compose_epsilon((turns,), 1e-5)
    wrong = compose_epsilon(
        (GaussianReleases(0.01, 1.0, 200),), 1e-5
    )  # as if each step drew by itself
    assert wrong < found < compose_epsilon((turns.always(),), 1e-5)
    assert compose_epsilon((GaussianReleases(0.1, 1.0, 20, 10),), 1e-5) == pytest.approx(
        compose_epsilon((turns.always(),), 1e-5), rel=1e-3
    )


def test_releases_by_chance_are_a_mixture() -> None:
    """Without sampling inside, delta is the mean over how often the chance came true."""
    epsilon = compose_epsilon((GaussianReleases(1.0, 2.0, 30, chance=0.2),), 1e-3)
    deltas = [0.0] + [_delta(2.0 / math.sqrt(turns), epsilon) for turns in range(1, 31)]
    chances = [math.comb(30, turns) * 0.2**turns * 0.8 ** (30 - turns) for turns in range(31)]
    assert sum(map(math.prod, zip(chances, deltas, strict=True))) == pytest.approx(1e-3, rel=0.01)


def _delta(noise: float, epsilon: float) -> float:
    """Of one Gaussian mechanism.  Balle and Wang 2018, arXiv:1805.06530, theorem 8."""
    far, near = -epsilon * noise - 0.5 / noise, -epsilon * noise + 0.5 / noise
    return float(ndtr(near) - math.exp(epsilon) * ndtr(far))


def test_segments_of_very_different_size_compose() -> None:
    """Each alone is counted on a grid of its own, and both together on one."""
    small, large = GaussianReleases(0.001, 4.0, 1000), GaussianReleases(0.05, 0.5, 40)
    both = compose_epsilon((small, large), 1e-5)
    assert 0 < both - compose_epsilon((large,), 1e-5) < compose_epsilon((small,), 1e-5) + 0.05
