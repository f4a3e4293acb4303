"""Guarantees where rounds are broken off, which a hostile review found false (A8)."""

from __future__ import annotations

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution  # type: ignore[import-untyped]
from scipy.stats import binom, norm

from lab.engine.differential_privacy.aborts import deciding
from lab.engine.differential_privacy.accountant import cautions, spent
from lab.interfaces.opening_threshold import enough
from tests.support.guaranteed_runs import CLIENT, epsilon, made


def _law(others: int, rate: float, dropout: float, joins: float) -> np.ndarray:
    """The chances of each number of updates in the sum, of clients who all send the same."""
    law = np.zeros(others + 2)
    for came in range(others + 1):
        for joined, chance in ((0, 1 - joins), (1, joins)):
            size = came + joined
            for answered in range(size + 1):
                likely = binom.pmf(came, others, rate) * chance
                likely *= binom.pmf(answered, size, 1 - dropout)
                law[answered if answered >= enough(0.67, size, 3) else 0] += likely
    return law


def _delta(one: np.ndarray, other: np.ndarray, deviation: float, epsilon: float) -> float:
    """By which the two worlds are told apart: sums of so many, with noise."""
    x = np.linspace(-10 * deviation, len(one) + 10 * deviation, 100_001)
    densities = [
        sum(chance * norm.pdf(x, count, deviation) for count, chance in enumerate(law))
        for law in (one, other)
    ]
    gaps = [a - np.exp(epsilon) * b for a, b in (densities, densities[::-1])]
    return max(float(np.maximum(gap, 0).sum() * (x[1] - x[0])) for gap in gaps)


@pytest.mark.parametrize(
    ("clients", "cohort", "dropout", "noise"),
    [
        (4, 3, 0.0, 10.0),
        (6, 3, 0.0, 10.0),
        (10, 3, 0.0, 10.0),
        (40, 20, 0.01, 3.0),
        (30, 3, 0.0, 2),
    ],
)
def test_rounds_that_one_client_opens_or_closes_are_counted(
    clients: int, cohort: int, dropout: float, noise: float
) -> None:
    settings = {**CLIENT, "data.clients": clients, "training.clients_per_round": cohort}
    settings |= {"secure_aggregation.enabled": True, "network.dropout": dropout}
    now = made({**settings, "privacy.noise": noise, "training.rounds": 1})
    found = spent(now, 1)
    assert found is not None
    assert found.relation == "one client added or removed"
    rate, deviation = cohort / clients, noise * (1.001 / 0.67) ** 0.5
    worlds = [_law(clients - 1, rate, dropout, joins) for joins in (0.0, rate)]
    assert _delta(*worlds, deviation, found.epsilon) <= 1e-3 * (1 + 1e-3)
    unmasked = epsilon(now.changed({"secure_aggregation.enabled": False}), 1)
    assert _delta(*worlds, deviation, unmasked) > 1e-3 or clients > 12 or dropout


def test_many_such_rounds_are_what_another_library_says() -> None:
    """A mixture of two Gaussian mechanisms, of which it is known which one it was."""
    settings = {**CLIENT, "data.clients": 100, "training.clients_per_round": 10}
    settings |= {"secure_aggregation.enabled": True, "privacy.noise": 1.0, "training.rounds": 30}
    chance = float(binom.pmf(2, 99, 0.1))
    usual, far = (
        privacy_loss_distribution.from_gaussian_mechanism(
            noise, value_discretization_interval=1e-3, sampling_prob=0.1
        )
        for noise in (1.0, 1 / 3)
    )
    mixture = usual.compute_mixture(far, 1 - chance).self_compose(30)
    assert epsilon(made(settings), 30) == pytest.approx(
        mixture.get_epsilon_for_delta(1e-3), rel=1e-3
    )


def test_where_such_rounds_cannot_be_counted_sampling_counts_for_nothing() -> None:
    settings = {**CLIENT, "data.clients": 40, "training.clients_per_round": 20}
    settings |= {"secure_aggregation.enabled": True, "network.dropout": 0.1, "training.rounds": 4}
    now = made({**settings, "secure_aggregation.neighbours": 6})
    assert deciding(now) is None
    found = spent(now, 4)
    assert found is not None
    assert "who takes part is public" in found.relation
    assert "secure aggregation breaks off" in cautions(now, 4)[-1]
    fewer = now.changed({"secure_aggregation.neighbours": 0, "network.dropout": 0.01})
    assert deciding(fewer) is not None
    assert epsilon(fewer, 4) < found.epsilon
    likelier = fewer.changed({"network.dropout": 0.1})  # large sums are closed too often
    assert epsilon(likelier, 4) == found.epsilon
