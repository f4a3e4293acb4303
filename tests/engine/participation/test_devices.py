"""Devices: a simulated clock, by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lab import Experiment, figures, run
from lab.common.settings import SettingError
from lab.engine.evaluation.record import RoundRecord
from lab.engine.participation.devices import FLEETS, PROFILES, durations, on_time
from lab.interfaces.messages import Cohort
from lab.models.architectures import MODELS
from lab.models.network import Network

DIGITS = Experiment.read(
    {
        "data": {"source": "digits", "clients": 12, "partition": {"kind": "quantity", "skew": 1.0}},
        "training": {"rounds": 2, "clients_per_round": 6},
        "network": {"devices": "mixed"},
    }
)


def party(now: Experiment, seen: list[float], gone: tuple[int, ...] = ()) -> Cohort:
    clients = len(seen)
    lost = torch.tensor([client in gone for client in range(clients)])
    nobody = torch.zeros(clients, dtype=torch.bool)
    return Cohort(
        0, 1, tuple(range(clients)), torch.ones(clients), nobody, lost, float(now.cohort_size),
        seen=torch.tensor(seen),
    )  # fmt: skip


def test_work_is_six_operations_a_weight_and_place() -> None:
    mlp = Network(MODELS["mlp"](hidden=5), (1, 4, 4), 3)
    assert mlp.work == 6 * (16 * 5 + 5 * 3)
    cnn = Network(MODELS["cnn"](channels=2, hidden=7), (1, 8, 8), 3)
    assert cnn.work == 6 * (2 * 25 * 64 + 4 * 2 * 25 * 16 + 4 * 4 * 7 + 7 * 3)
    lenet = Network(MODELS["lenet"](), (1, 8, 8), 2)
    assert lenet.work == 6 * (12 * 25 * 16 + 144 * 25 * 4 + 144 * 25 * 4 + 48 * 2)


def test_a_client_takes_its_download_its_training_and_its_upload(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, sent = DIGITS, torch.zeros(DIGITS.architecture.size)
    speeds = torch.tensor([[now.architecture.work, 10.0, 100.0]]).double().expand(12, 3)
    monkeypatch.setattr("lab.engine.participation.devices._speeds", lambda *_: speeds)
    seen = torch.tensor([0.0, 3.0])
    found = durations(now, (0, 1), seen, [50, 70], sent.nbytes)
    assert found.tolist() == pytest.approx(
        [50 / 10 + sent.nbytes / 100, 3 + 70 / 10 + sent.nbytes / 100]
    )
    scaffold = now.changed({"training.algorithm": "scaffold"})
    both = durations(scaffold, (0,), seen[:1], [50], sent.nbytes)
    assert float(both) == pytest.approx((50 + sent.nbytes) / 10 + 2 * sent.nbytes / 100)


@pytest.mark.parametrize(
    ("settings", "gone", "late", "lasted"),
    [
        ({}, (), [], 5.0),
        ({}, (4,), [], 4.0),  # nobody waits for who was lost
        ({"network.deadline": 3.5}, (), [3, 4], 3.5),
        ({"network.deadline": 9.0}, (), [], 5.0),
        ({"network.deadline": 9.0}, (0,), [], 9.0),  # and the server does not know better
        ({"network.spare": 0.7, "training.clients_per_round": 3}, (), [3, 4], 3.0),
        ({"network.spare": 0.7, "training.clients_per_round": 3}, (0,), [4], 4.0),
        ({"network.spare": 0.7, "training.clients_per_round": 3, "network.deadline": 2.5},
         (), [2, 3, 4], 2.5),
        ({"network.deadline": 0.5}, (), [0, 1, 2, 3, 4], 0.5),
    ],
)  # fmt: skip
def test_who_is_late_and_how_long_the_round_lasts(
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    gone: tuple[int, ...],
    late: list[int],
    lasted: float,
) -> None:
    """Five clients who take 1 to 5 seconds."""
    monkeypatch.setattr(
        "lab.engine.participation.devices.durations",
        lambda *_: torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]).double(),
    )
    now = DIGITS.changed({"training.clients_per_round": 5, **settings})
    found = on_time(now, party(now, [1.0] * 5, gone), torch.zeros(1))
    assert found.late is not None
    assert found.late.nonzero().flatten().tolist() == late
    assert found.lost.nonzero().flatten().tolist() == sorted({*late, *gone})
    assert found.lasted == lasted


def test_without_devices_there_is_no_clock() -> None:
    record = next(run(DIGITS.changed({"network.devices": "none"}))).record
    assert record.duration is None
    assert record.late == ()


@pytest.mark.parametrize("fleet", FLEETS)
def test_a_fleet_keeps_time(fleet: str) -> None:
    moments = list(run(DIGITS.changed({"network.devices": fleet})))
    again = list(run(DIGITS.changed({"network.devices": fleet})))
    assert [moment.record for moment in moments] == [moment.record for moment in again]
    assert all(moment.record.duration for moment in moments)


def test_better_devices_are_faster() -> None:
    lasted = [
        next(run(DIGITS.changed({"network.devices": fleet}))).record.duration
        for fleet in ("servers", "laptops", "phones")
    ]
    assert lasted == sorted(lasted, key=float)
    assert PROFILES["phone"].work < PROFILES["laptop"].work < PROFILES["server"].work


def test_spare_clients_are_asked_and_the_slowest_left_out() -> None:
    record = next(run(DIGITS.changed({"network.spare": 0.5}))).record
    assert len(record.clients) == 9
    assert len(record.late) == 3
    assert len(record.arrived) == 6
    assert record.late == record.lost


def test_a_deadline_costs_whoever_has_much_to_do() -> None:
    """Powers of ten apart in size, on like machines: the large ones come too late."""
    waits = DIGITS.changed({"network.devices": "phones", "training.clients_per_round": 12})
    patient = next(run(waits)).record
    assert patient.duration is not None
    hasty = next(run(waits.changed({"network.deadline": patient.duration / 2}))).record
    assert hasty.late
    assert hasty.duration == patient.duration / 2
    assert hasty.accuracy != patient.accuracy


def test_compression_saves_time() -> None:
    slow = next(run(DIGITS)).record.duration
    fast = next(run(DIGITS.changed({"network.compression": "sign"}))).record.duration
    assert slow is not None
    assert fast is not None
    assert fast < slow


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"network.devices": "none", "network.deadline": 3.0}, "network.deadline is 3"),
        ({"network.devices": "none", "network.spare": 0.5}, "network.spare is 0.5"),
        ({"network.spare": 0.5, "privacy.kind": "client"}, "network.spare is 0.5"),
    ],
)
def test_a_clock_that_cannot_be_is_refused(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingError, match=named):
        DIGITS.changed(settings)


def test_curves_can_be_drawn_against_what_rounds_cost() -> None:
    records = [
        RoundRecord(round=k, accuracy=0.5, loss=1.0, epsilon=None, bytes_up=2_000_000,
               bytes_down=1_000_000, duration=4.0)
        for k in (1, 2)
    ]  # fmt: skip
    for against, expected in (("rounds", [1, 2]), ("megabytes", [3, 6]), ("seconds", [4, 8])):
        assert list(figures.curves(records, against=against).data[0].x) == expected
