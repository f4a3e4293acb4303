"""What it takes to open one client under masks is said in words, with its chance (review B6)."""

from __future__ import annotations

from typing import Any

import pytest

from defenses.secure_aggregation import Masked
from defenses.secure_aggregation.graph import accomplices_needed, chance_of_capture
from lab import ROOT, Experiment
from lab.attack_runs.secure_aggregation.neighbourhood_capture import captured, mask_cautions

README = (ROOT / "README.md").read_text(encoding="utf-8")
MASKED = Experiment().changed({"data.clients": 30, "secure_aggregation.enabled": True})
SIGNED = MASKED.changed({"secure_aggregation.signatures": True})


def masked(**settings: Any) -> Experiment:
    return SIGNED.changed({f"secure_aggregation.{name}": it for name, it in settings.items()})


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, ["A lying server opens a client's update with 12 accomplices among the 29 others"]),
        (
            {"neighbours": 2},  # both: 3 * 2 of 29 * 28 ordered pairs
            [
                "A lying server opens a client's update with 2 accomplices among the 2 neighbours "
                "that it chose",
                "If 3 of the 29 others are its accomplices, the chance is 0.74% a client",
            ],
        ),
        (
            {"signatures": False},
            [
                "A lying server that exchanges no keys opens a client's update with 12 accomplices "
                "among the 29 others"
            ],
        ),
        (
            {"checks": False},
            ["Clients check nothing of the round: a lying server needs two accomplices"],
        ),
    ],
    ids=str,
)
def test_it_is_said_how_many_accomplices_open_a_client(
    settings: dict[str, Any], told: list[str]
) -> None:
    assert captured(masked(**settings)) == told


@pytest.mark.parametrize(
    ("settings", "chance"),
    [
        ({}, ""),
        ({"neighbours": 10}, ""),
        ({"neighbours": 2}, "0.74%"),
        ({"neighbours": 10, "threshold": 0.51}, "73.48%"),  # one accomplice is enough
        ({"threshold": 0.51}, "100.00%"),  # 16 of 30: two who tell both stories
    ],
    ids=str,
)
def test_a_chance_that_matters_is_a_caution(settings: dict[str, Any], chance: str) -> None:
    told = " ".join(mask_cautions(masked(**settings), 0))
    assert bool(told) == bool(chance)
    assert chance in told


def test_few_neighbours_without_signatures_are_a_caution() -> None:
    now = MASKED.changed({"secure_aggregation.neighbours": 10})
    assert "a lying server needs no accomplice" in " ".join(mask_cautions(now, 0))
    assert mask_cautions(MASKED, 0) == []


def test_the_settings_in_force_are_the_ones_that_count() -> None:
    later = masked().changed_from(2, {"secure_aggregation.neighbours": 2})
    assert mask_cautions(later, 1) == []
    assert "0.74%" in " ".join(mask_cautions(later, 2))


def test_without_masks_nothing_is_said() -> None:
    assert captured(Experiment()) == mask_cautions(Experiment(), 3) == []


def test_the_table_of_readme_is_computed() -> None:
    table = README.split("| accomplices that open one client |")[1].split("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    assert len(rows) > 5
    for clients, neighbours, needed, *chances in rows:
        chosen = 0 if neighbours == "all" else int(neighbours)
        terms = Masked(threshold=0.67, neighbours=chosen).terms(int(clients))
        assert needed == f"{accomplices_needed(terms)} of {terms.holders - 1}"
        for chance, share in zip(chances, (0.1, 0.2), strict=True):
            corrupt = round(share * (int(clients) - 1))
            assert float(chance) == float(f"{chance_of_capture(terms, corrupt):.2g}")
