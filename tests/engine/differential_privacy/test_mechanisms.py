"""Promises of every mechanism of privacy, and the three places of its noise."""

from __future__ import annotations

from itertools import islice, product
from typing import Any

import pytest
import torch

from defenses import UPDATE_TRANSFORMS
from lab import Experiment, run
from lab.engine.client import cohort_trainer
from lab.engine.differential_privacy.accountant import noise_multiplier
from lab.engine.differential_privacy.update_transforms import privacy_transforms
from lab.engine.round import Round
from lab.engine.run import initial_state
from lab.engine.run_state import RoundResult
from tests.defenses.privacy.test_update_transforms import VARIANCE_ERROR, cohort_of
from tests.support.private_runs import CLIENTS, PARAMS, correlation, is_normal

PLACES = ("distributed", "central", "local")
BASE = CLIENTS.changed(
    {"model.kind": "mlp", "model.hidden": 5, "training.clients_per_round": 8,
     "training.rounds": 4, "network.dropout": 0.2, "privacy.noise": 0.5}
)  # fmt: skip
MECHANISMS: list[dict[str, Any]] = [
    {"privacy.kind": kind, "privacy.place": place, "privacy.quantile": quantile,
     "privacy.per_layer": per_layer}
    for kind, place, quantile, per_layer in product(
        ("client", "example"), PLACES, (0.0, 0.4), (False, True)
    )
    if kind == "client" or (place, quantile) == ("distributed", 0.0)
]  # fmt: skip
every_mechanism = pytest.mark.parametrize(
    "settings", MECHANISMS, ids=lambda settings: " ".join(map(str, settings.values()))
)


def same(one: list[RoundResult], other: list[RoundResult]) -> bool:
    pairs = list(zip(one, other, strict=True))
    models = [torch.equal(mine.state.model, yours.state.model) for mine, yours in pairs]
    return all(models) and all(mine.record == yours.record for mine, yours in pairs)


# --- promises -------------------------------------------------------------------------------------


@every_mechanism
def test_a_run_repeats_itself_and_can_be_cut_anywhere(settings: dict[str, Any]) -> None:
    now = BASE.changed(settings)
    whole = list(run(now))
    assert same(whole, list(run(now)))
    for cut in (1, 2, 3):
        begun = list(islice(run(now), cut))
        assert same(whole, begun + list(run(now, begun[-1].state)))


@every_mechanism
def test_a_mechanism_can_be_switched_on_and_off_in_mid_run(settings: dict[str, Any]) -> None:
    plain = BASE.changed({"privacy.kind": "none"})
    there = plain.changed_from(2, settings)
    back = there.changed_from(4, {"privacy.kind": "none"})
    moments = list(run(back))
    assert len(moments) == 4
    begun = list(islice(run(plain), 1))
    assert same(moments[:3], begun + list(islice(run(there, begun[-1].state), 2)))


@pytest.mark.parametrize("settings", [each for each in MECHANISMS if "client" in each.values()])
@pytest.mark.parametrize("size", [0.0, 1e-3, 1.0, 1e6])
def test_no_client_moves_the_sum_by_more_than_the_noise_allows_for(
    settings: dict[str, Any], size: float
) -> None:
    """Its row, and its bit where the clip adapts, are no longer than deviation / multiplier."""
    now = BASE.changed(settings)
    party = cohort_trainer.cohort_of(now, 1, tuple(range(12)))
    found = Round.begin(initial_state(now)).clipping
    assert found is not None
    clip = privacy_transforms(now, found, "client")[0]
    rows = size * torch.randn(12, now.architecture.size, generator=torch.manual_seed(3))
    sent = clip(rows, party)
    assert float(sent.norm(dim=1).max()) <= now.privacy.clip * (1 + 1e-6)
    if now.privacy.adapts:
        sent = found.with_bits(rows, sent)
    most = found.deviation / noise_multiplier(now, 1)
    assert most >= now.privacy.clip * (1 - 1e-6)
    assert float(sent.norm(dim=1).max()) <= most * (1 + 1e-6)


def test_the_noise_is_the_multiplier_times_the_clip() -> None:
    for place in PLACES:
        found = Round.begin(initial_state(BASE.changed({"privacy.place": place}))).clipping
        assert found is not None
        assert found.deviation == pytest.approx(0.5 * 0.4)


# --- places of the noise --------------------------------------------------------------------------


@pytest.mark.parametrize("gone", range(6))
def test_the_server_adds_all_noise_whoever_is_lost(gone: int) -> None:
    party = cohort_of(range(5), gone=range(gone), expected=4.0)
    stage = UPDATE_TRANSFORMS["release"](deviation=3.0, place="central")
    released = stage(torch.zeros(max(1, 5 - gone), PARAMS), party).mean(dim=0) * 4.0
    assert is_normal(released, 3.0)


@pytest.mark.parametrize("gone", range(5))
def test_local_noise_is_whole_in_every_row_and_the_server_adds_none(gone: int) -> None:
    party = cohort_of(range(5), gone=range(gone), expected=4.0)
    rows = UPDATE_TRANSFORMS["noise"](deviation=3.0, place="local")(torch.zeros(5, PARAMS), party)
    for place, row in enumerate(rows):
        assert is_normal(row, 3.0)
        for other in rows[:place]:
            assert abs(correlation(row, other)) < 5 / PARAMS**0.5
    arrived = rows[gone:]
    stage = UPDATE_TRANSFORMS["release"](deviation=3.0, place="local")
    released = stage(arrived, party).mean(dim=0) * 4.0
    assert torch.allclose(released, arrived.sum(dim=0), atol=1e-4)
    assert float(released.var()) == pytest.approx(9.0 * len(arrived), rel=VARIANCE_ERROR)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("place", PLACES)
def test_what_a_round_releases_and_what_the_server_sees(
    place: str, dropout: float, masked: bool
) -> None:
    """Of updates that are next to nothing."""
    now = Experiment.read(BASE.dump()).changed(
        {"privacy.place": place, "network.dropout": dropout, "training.rate": 1e-9,
         "secure_aggregation.enabled": masked, "training.clients_per_round": 0}
    )  # fmt: skip
    for moment in islice(run(now), 3):
        present = len(moment.record.arrived)
        released = (moment.transcript.released - moment.transcript.sent) * 12
        times = present if place == "local" else 1
        assert is_normal(released, 0.5 * 0.4 * times**0.5)
        if not masked:
            seen = {"distributed": 1 / 12, "central": 0.0, "local": 1.0}[place]
            for row in moment.transcript.delivery.rows:
                assert float(row.var()) == pytest.approx(0.04 * seen, rel=0.3, abs=1e-9)


def test_nobody_knows_whom_to_thank_for_noise_that_is_nobodys() -> None:
    """A round without clients releases the noise, unless clients add all of it themselves."""
    lonely = BASE.changed({"network.dropout": 0.95, "training.rounds": 30})
    for place in PLACES:
        empty = [m for m in run(lonely.changed({"privacy.place": place})) if not m.record.arrived]
        assert empty
        for moment in empty:
            released = (moment.transcript.released - moment.transcript.sent) * 8
            assert released.any() == (place != "local")
            assert place == "local" or is_normal(released, 0.2)
