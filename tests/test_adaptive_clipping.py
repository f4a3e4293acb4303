"""Adaptive clipping: a clip that follows a quantile, and pays for looking."""

from __future__ import annotations

from itertools import pairwise
from math import exp, log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lab import Experiment, run
from lab.accountant import noise_multiplier
from lab.clipping import CLIP
from lab.crew import party_of
from lab.engine import Moment
from lab.exchange import exchange
from lab.ledger import Ledger
from lab.local import cohort
from lab.quantile import LEAST, MOST, count_noise, next_clip, update_noise
from lab.rng import normal, stream
from lab.settings import SettingError
from lab.store import Store
from lab.views import server_view
from lab.wire import Memory, Task
from tests.noise import CLIENTS, is_normal

ADAPTIVE = CLIENTS.changed(
    {"privacy.quantile": 0.5, "privacy.noise": 0.3, "training.clients_per_round": 6}
)

# --- by hand --------------------------------------------------------------------------------------


def test_the_clip_moves_by_a_fifth_of_what_it_is_off() -> None:
    assert next_clip(1.0, 0.5, 0.5) == 1.0
    assert next_clip(2.0, 1.0, 0.5) == pytest.approx(2 * exp(-0.1))
    assert next_clip(2.0, 0.0, 0.9) == pytest.approx(2 * exp(0.18))
    assert (next_clip(1.0, 1e9, 0), next_clip(1.0, -1e9, 0)) == (LEAST, MOST)


@given(noise=st.floats(1e-6, 20), expected=st.floats(1, 1000))
def test_update_and_count_cost_together_what_the_noise_says(noise: float, expected: float) -> None:
    """Theorem 1: precisions add up, and a bit of +- 1/2 has the multiplier 2 sigma_b."""
    if noise >= expected / 10:
        with pytest.raises(SettingError, match=r"give more than .* clients"):
            update_noise(noise, expected)
        return
    alone, count = update_noise(noise, expected), 2 * count_noise(expected)
    assert alone >= noise
    if noise < 0.99 * count:
        assert alone**-2 + count**-2 == pytest.approx(noise**-2, rel=1e-6)


def test_a_calibrated_noise_that_leaves_nothing_is_refused_when_it_is_known() -> None:
    dear = ADAPTIVE.changed({"privacy.noise": 0.0, "privacy.epsilon": 0.1})
    assert noise_multiplier(dear, 1) > 0.6
    with pytest.raises(SettingError, match=r"privacy\.quantile with a noise multiplier of"):
        next(run(dear))


# --- algorithm 1 ----------------------------------------------------------------------------------


def slow_round(experiment: Experiment, moment: Moment, clip: float) -> tuple[Tensor, float]:
    """The released step and the next clip, client by client."""
    record, seed, sent = moment.record, experiment.seed, moment.transcript.sent
    expected, quantile = experiment.cohort_size, experiment.privacy.quantile
    count, noise = expected / 20, experiment.privacy.noise
    deviation = (noise**-2 - (2 * count) ** -2) ** -0.5 * clip
    total, bits = torch.zeros_like(sent), 0.0
    rows = cohort(experiment, record.round, record.clients, Task(sent)).rows
    for client, row in zip(record.clients, rows, strict=True):
        if client not in record.lost:
            total += row * min(1.0, clip / float(row.norm()))
            bits += float(row.norm() <= clip) - 0.5
            own = normal(stream(seed, "noise", record.round, client), len(row) + 1)
            own = own / len(record.clients) ** 0.5
            total += deviation * own[:-1]
            bits += count * float(own[-1])
    missing = len(record.lost) / len(record.clients) if record.clients else 1.0
    names = ("missing noise", "missing noise of bits")
    drawn, one = (
        normal(stream(seed, name, record.round), size)
        for name, size in zip(names, (len(sent), 1), strict=True)
    )
    total += deviation * missing**0.5 * drawn
    bits += count * missing**0.5 * float(one)
    share = bits / expected + 0.5
    return total / expected, clip * exp(-0.2 * (share - quantile))


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_a_run_is_what_a_slow_loop_of_the_algorithm_makes_of_it(dropout: float) -> None:
    now, clip = ADAPTIVE.changed({"network.dropout": dropout}), 0.4
    for moment in run(now):
        assert moment.record.clip == pytest.approx(clip, rel=1e-5)
        released = moment.transcript.released - moment.transcript.sent
        step, clip = slow_round(now, moment, clip)
        assert torch.allclose(released, step, atol=1e-5)


def clips(experiment: Experiment, rows: Tensor, rounds: int) -> list[float]:
    """The clip of each round, where every round has the same updates."""
    memory: Memory = {}
    found: list[float] = []
    for round in range(1, rounds + 1):
        party = party_of(experiment, round, tuple(range(len(rows))))
        exchanged = exchange(experiment, rows, party, torch.zeros(rows.shape[1]), memory)
        memory = exchanged.carried
        assert exchanged.clip is not None
        found.append(exchanged.clip)
    return found


@pytest.mark.parametrize("quantile", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("start", [0.05, 20.0])
def test_the_clip_finds_the_quantile_from_afar(quantile: float, start: float) -> None:
    now = ADAPTIVE.changed(
        {"privacy.quantile": quantile, "privacy.clip": start, "training.clients_per_round": 0}
    )
    rows = torch.zeros(12, now.architecture.size)
    rows[:, 0] = torch.linspace(1, 12, 12)
    late = clips(now, rows, 150)[-60:]
    assert 12 * quantile - 1.5 < sum(late) / 60 < 12 * quantile + 2.5


@pytest.mark.parametrize(
    ("place", "deviation"), [("distributed", 1.0), ("central", 1.0), ("local", 12**0.5)]
)
@pytest.mark.parametrize("gone", [0.5, pytest.param(0.0, marks=pytest.mark.deep)])
def test_the_count_has_the_noise_that_it_should(place: str, deviation: float, gone: float) -> None:
    """Read off the clip: of updates that are all short, 12 expected and as many asked."""
    quantile = 1 - gone / 2  # so that the clip stays about where it is
    now = ADAPTIVE.changed(
        {"privacy.place": place, "training.clients_per_round": 0, "network.dropout": gone,
         "privacy.quantile": quantile}
    )  # fmt: skip
    rows = torch.zeros(12, now.architecture.size)
    found = clips(now, rows, 400)
    moved = torch.tensor([log(b / a) for a, b in pairwise(found)])
    shares = quantile - moved / 0.2
    present = torch.tensor(
        [float(party_of(now, round, tuple(range(12))).present) for round in range(1, 400)]
    )
    noise = (shares - 0.5) * 12 - present / 2
    if place == "local":  # of those who came
        noise, deviation = noise / (present / 12) ** 0.5, 12**0.5
    assert is_normal(noise, deviation * 12 / 20)


# --- in a run -------------------------------------------------------------------------------------


def test_masks_and_poisons_do_not_touch_the_count() -> None:
    central = ADAPTIVE.changed({"privacy.place": "central"})  # as under masks, other noise else
    bare = [moment.record.clip for moment in run(central)]
    masked = list(run(central.changed({"secure_aggregation.enabled": True})))
    aborted = [place for place, one in enumerate(masked) if one.record.note]
    until = aborted[0] + 1 if aborted else len(bare)
    assert [one.record.clip for one in masked][:until] == pytest.approx(bare[:until], rel=1e-4)
    bad = [moment.record for moment in run(central.changed({"adversary.count": 6}))]
    assert bad[1].clip == pytest.approx(bare[1])


def test_attacks_see_updates_and_no_bits() -> None:
    for masked in (False, True):
        for moment in run(ADAPTIVE.changed({"secure_aggregation.enabled": masked})):
            delivery = moment.transcript.delivery
            assert delivery.rows.shape[1] == ADAPTIVE.architecture.size
            assert server_view(moment.transcript) is not None


def test_another_clip_or_quantile_begins_afresh_and_other_noise_does_not() -> None:
    def at_5(settings: dict[str, object]) -> float | None:
        return [moment.record.clip for moment in run(ADAPTIVE.changed_from(5, settings))][4]

    usual = at_5({"training.rate": 0.4})
    assert usual is not None
    assert usual != 0.4
    assert at_5({"privacy.noise": 0.4}) == usual
    assert at_5({"privacy.clip": 0.7}) == 0.7
    assert at_5({"privacy.quantile": 0.6}) == 0.4
    assert at_5({"privacy.quantile": 0.0}) is None
    off = ADAPTIVE.changed_from(3, {"privacy.quantile": 0.0})
    again = off.changed_from(5, {"privacy.quantile": 0.5})
    assert [moment.record.clip for moment in run(again)][2:5] == [None, None, 0.4]


def test_the_store_remembers_the_clip(store: Store) -> None:
    from lab.jobs import pull

    ledger = Ledger(store)
    job = ledger.start(ADAPTIVE)
    found = list(pull(ledger, job))
    whole = list(run(ADAPTIVE))
    assert [each.record for each in found] == [moment.record for moment in whole]
    for round in (2, 5, 8):
        kept = store.state(job.id, round).memory[CLIP]
        assert torch.equal(kept, whole[round - 1].state.memory[CLIP])


def test_without_a_quantile_no_clip_is_told() -> None:
    assert {moment.record.clip for moment in run(CLIENTS)} == {None}
