"""Samples that are not independent: what is drawn, and what may be said of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, chisquare

from lab.engine.client.batches import batches
from lab.engine.differential_privacy.accountant import opponents, spent
from lab.engine.participation.cohort_sampling import select_cohort
from lab.experiment.experiment import Experiment
from lab.privacy.accounting.accountants import GaussianReleases, compose_epsilon
from lab.privacy.sampling_bounds import cohort_at_least, epoch_at_least
from tests.support.experiment_files import with_

CLIENT = {
    "privacy.kind": "client",
    "privacy.noise": 1.0,
    "data.clients": 100,
    "training.clients_per_round": 10,
    "training.rounds": 50,
}
EXAMPLE = {"privacy.kind": "example", "privacy.noise": 1.0, "training.rounds": 5}
FIXED = {"privacy.sampling": "fixed"}

# rate, noise, rounds, delta, and a bound known beforehand, from the same pairs by other means.
COHORTS = [(0.1, 1.0, 50, 1e-3, 8.48), (0.05, 0.8, 100, 1e-4, 15.7), (0.05, 1.0, 400, 1e-4, 18.7)]
# batches, noise, delta, and the bound of Chua et al. 2024.
EPOCHS = [(100, 0.7, 1e-6, 7.37), (1000, 1.0, 1e-6, 3.72)]


@pytest.mark.parametrize(("rate", "noise", "rounds", "delta", "known"), COHORTS)
def test_cohorts_of_fixed_size_cost_more_than_poisson_cohorts(
    rate: float, noise: float, rounds: int, delta: float, known: float
) -> None:
    found = cohort_at_least(rate, noise, rounds, delta)
    assert found == pytest.approx(known, rel=5e-3)
    poisson = compose_epsilon((GaussianReleases(rate, noise, rounds),), delta)
    assert (
        2 * poisson
        < found
        < compose_epsilon((GaussianReleases(1.0, noise, rounds, chance=rate),), delta)
    )


@pytest.mark.parametrize(("count", "noise", "delta", "known"), EPOCHS)
def test_a_shuffled_epoch_costs_more_than_poisson_batches(
    count: int, noise: float, delta: float, known: float
) -> None:
    found = epoch_at_least(count, noise, 1, delta)
    assert found == pytest.approx(known, rel=5e-3)
    poisson = compose_epsilon((GaussianReleases(1 / count, noise, count),), delta)
    assert 2 * poisson < found <= compose_epsilon((GaussianReleases(1.0, noise, 1),), delta)


@pytest.mark.parametrize("settings", [CLIENT, EXAMPLE])
def test_fixed_sizes_get_an_interval_and_poisson_a_number(settings: dict[str, object]) -> None:
    drawn, fixed = spent(with_(settings), 5), spent(with_(settings | FIXED), 5)
    assert drawn is not None
    assert fixed is not None
    assert drawn.at_least is None
    assert fixed.at_least is not None
    assert drawn.epsilon < fixed.at_least <= fixed.epsilon
    assert f"epsilon {fixed.at_least:.3g} to {fixed.epsilon:.3g}" in fixed.sentence()
    assert "replaced by nothing" in fixed.relation
    secret_cohorts = settings["privacy.kind"] == "client"  # who holds how much is never secret
    assert ("relation" in fixed.differs(drawn)) == secret_cohorts
    assert drawn.differs(drawn) == []


@pytest.mark.parametrize("settings", [CLIENT, EXAMPLE])
def test_a_target_is_met_by_the_upper_end_of_the_interval(settings: dict[str, object]) -> None:
    now = with_(settings | FIXED | {"privacy.noise": 0.0, "privacy.epsilon": 5.0})
    found = spent(now, now.training.rounds)
    assert found is not None
    assert found.epsilon == pytest.approx(5.0, rel=1e-3)
    assert found.epsilon <= 5.0


def test_cohorts_are_drawn_as_the_accountant_assumes() -> None:
    """Sizes are binomial, and every client comes as often as any other."""
    now, rounds = with_(CLIENT), 2000
    drawn = [select_cohort(now, round) for round in range(1, rounds + 1)]
    sizes = np.bincount([min(max(len(cohort), 4), 17) for cohort in drawn], minlength=18)[4:]
    chances = np.diff([0.0, *binom.cdf(range(4, 17), 100, 0.1), 1.0])
    assert chisquare(sizes, rounds * chances).pvalue > 1e-3
    turns = np.bincount([client for cohort in drawn for client in cohort], minlength=100)
    assert chisquare(turns).pvalue > 1e-3
    fixed = with_(CLIENT | FIXED)
    assert {len(select_cohort(fixed, round)) for round in range(1, 50)} == {10}


def test_batches_are_drawn_as_the_accountant_assumes() -> None:
    now = with_(EXAMPLE | {"data.examples": 2000, "training.batch_size": 20})
    size = 100
    drawn = [batch for round in range(1, 400) for batch in batches(now, round, 3, size)]
    sizes = np.bincount([min(max(len(batch), 12), 28) for batch in drawn], minlength=29)[12:]
    chances = np.diff([0.0, *binom.cdf(range(12, 28), size, 0.2), 1.0])
    assert chisquare(sizes, len(drawn) * chances).pvalue > 1e-3
    fixed = now.changed(FIXED)
    epoch = batches(fixed, 1, 3, size)
    assert [len(batch) for batch in epoch] == [20] * 5
    assert sorted(np.concatenate(epoch)) == list(range(size))


def test_who_takes_part_is_secret_from_all_but_the_server() -> None:
    now: Experiment = with_(EXAMPLE | {"training.clients_per_round": 2, "training.rounds": 20})
    server, public = spent(now, 20, "server"), spent(now, 20, "public")
    assert server is not None
    assert public is not None
    assert spent(now, 20) == server
    assert public.epsilon < server.epsilon
    assert server.differs(public) == ["against"]
    assert "chance 0.1" in public.sampling
    spare = now.changed({"network.devices": "phones", "network.spare": 0.5})
    assert "chance" not in getattr(spent(spare, 20, "public"), "sampling", "chance")


def test_noise_of_its_own_protects_a_client_from_the_server_turn_by_turn() -> None:
    now = with_(CLIENT | {"privacy.place": "local"})
    turns = max(sum(client in select_cohort(now, r) for r in range(1, 51)) for client in range(100))
    found, outside = spent(now, 50), spent(now, 50, "public")
    assert found is not None
    assert outside is not None
    assert found.epsilon == compose_epsilon((GaussianReleases(1.0, 1.0, turns),), 1e-3)
    assert "the server" in found.against
    assert outside.epsilon == found.epsilon
    assert "replaced by nothing" in found.relation
    fixed = spent(now.changed(FIXED), 50)
    assert fixed is not None
    assert fixed.at_least is None


def test_who_sees_what_decides_against_whom_there_is_a_guarantee() -> None:
    shares, masks = with_(CLIENT), {"secure_aggregation.enabled": True}
    central = {"privacy.place": "central"}
    assert opponents(shares, 50) == ("public",)
    assert spent(shares, 50, "server") is None
    assert opponents(shares.changed(central), 50) == ("public",)
    assert opponents(shares.changed(central | masks), 50) == ("public",)
    masked = shares.changed(masks)
    assert opponents(masked, 50) == ("public", "server")
    server, public = spent(masked, 50, "server"), spent(masked, 50)
    assert server is not None
    assert public is not None
    assert public.epsilon < server.epsilon  # which knows the cohort
    assert "no secret" in server.sampling
    weak = masked.changed({"secure_aggregation.generator": "weak"})
    assert opponents(weak, 50) == ("public",)
    assert "in league with no client" in server.against
    late = shares.changed_from(20, masks)
    assert opponents(late, 19) == opponents(late, 50) == ("public",)
    mixed = masked.changed_from(20, {"privacy.place": "local"})
    assert set(opponents(mixed, 50)) == {"public", "server"}


def test_how_a_guarantee_is_kept_does_not_change_it() -> None:
    now = with_(CLIENT)
    for how in ({"privacy.per_layer": True}, {"privacy.secure_noise": True}):
        assert spent(now.changed_from(20, how), 50) == spent(now, 50)


def test_more_noise_than_is_needed_lowers_what_epsilon_is_at_least() -> None:
    """Under masks a sum carries more; an adaptive clip has no known worst pair."""
    fixed = with_(CLIENT | FIXED)
    bare = spent(fixed, 50)
    masked = spent(fixed.changed({"secure_aggregation.enabled": True}), 50)
    adaptive = spent(fixed.changed({"privacy.quantile": 0.5, "privacy.noise": 0.9}), 50)
    assert bare is not None
    assert masked is not None
    assert adaptive is not None
    assert bare.at_least is not None
    assert masked.at_least is not None
    assert 0 < masked.at_least < bare.at_least <= bare.epsilon == masked.epsilon
    louder = (1.01 / 0.67) ** 0.5
    assert masked.at_least == cohort_at_least(0.1, louder, 50, 1e-3)
    assert adaptive.at_least == 0.0
