"""The budget on its page."""

from __future__ import annotations

import pytest

from lab.engine.differential_privacy.accountant import spent
from lab.privacy.accounting.accountants import GaussianReleases, calibrate_noise
from lab.storage.store import Store
from tests.support.app_pages import TINY, choose, opened, trained, words


def test_the_budget_counts_what_a_run_spends_and_will_spend(store: Store) -> None:
    private = TINY.changed({"privacy.kind": "client", "privacy.noise": 2.0})
    run = trained(store, private)
    app = opened("budget", run=run)
    metrics = {metric.label: metric.value for metric in app.metric}
    guarantee = spent(private, 2)
    assert guarantee is not None
    assert metrics["Spent after round 2"] == f"{guarantee.epsilon:.3g}"
    assert metrics["Protects one"] == "client"
    assert "leaklab account --rate 1 --noise 2 --steps 2 --delta 0.001" in words(app)
    app = choose(app, "Target epsilon", 1.0)
    noise = next(one.value for one in app.metric[::-1] if one.label == "Noise multiplier")
    wanted = calibrate_noise(GaussianReleases(1.0, 1.0, 2), 1.0, 1e-3)
    assert float(noise) == pytest.approx(wanted, rel=1e-3)


def test_budgets_that_mean_different_things_are_not_drawn_together(store: Store) -> None:
    runs = [
        trained(store, TINY.changed({"privacy.kind": kind, "privacy.delta": delta}))
        for kind, delta in (("client", 1e-3), ("example", 1e-3), ("client", 1e-3), ("client", 1e-4))
    ]
    app = opened("budget", run=runs[0])
    for other, told in zip(runs[1:], ("unit and", None, "in delta"), strict=True):
        app = choose(app, "Compare with", other)
        if told:
            assert "Not drawn" in words(app)
            assert told in words(app)
        else:
            assert "Not drawn" not in words(app)


def test_a_budget_without_a_guarantee_says_why(store: Store) -> None:
    assert "Nothing here has differential privacy" in words(opened("budget"))
    mixed = TINY.changed({"privacy.kind": "client"}).changed_from(2, {"privacy.kind": "none"})
    assert "No guarantee: some rounds ran without noise" in words(
        opened("budget", run=trained(store, mixed))
    )
