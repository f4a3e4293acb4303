"""Dossier: the score of reconstructed records, by hand and beside guesses without the gradient."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torch import Tensor

from lab.interfaces.attack_data import ReconstructedBatch
from lab.interfaces.columns import Column, rows_of
from lab.scoring.reconstruction.image_scorer import ReconstructionScorer
from lab.scoring.reconstruction.record_score import RecordScore, RecordScorer, paired

COLUMNS = (
    Column("age", centre=40, spread=10, step=1),
    Column("pain", ("none", "some", "much")),
    Column("sex", ("male",), blank=True),
)
PRIVATE = [[52.0, 2, 0], [35, 0, -1], [35, 1, -1]]
PUBLIC = [[35.0, 0, 0]] * 3 + [[20, 2, -1], [60, 0, -1]]


def rows(cells: list[list[float]]) -> Tensor:
    return rows_of(COLUMNS, torch.tensor(cells, dtype=torch.float64).view(len(cells), 3))


def score(cells: list[list[float]], labels: list[int], others: list[list[float]]) -> RecordScore:
    judge = ReconstructionScorer(
        inputs=rows(PRIVATE),
        labels=torch.tensor([0, 1, 1]),
        others=rows(others),
        public=rows(PUBLIC),
        public_labels=torch.tensor([0, 1, 0, 1, 0]),
    )
    return RecordScorer(COLUMNS, judge).score(
        ReconstructedBatch(rows(cells), torch.tensor(labels).long(), 1, 1)
    )


FAR = [[99.0, 2, 0]]


def test_records_in_any_order_are_exact() -> None:
    for order in permutations(range(3)):
        found = score([PRIVATE[k] for k in order], [[0, 1, 1][k] for k in order], FAR)
        assert (found.exact, found.precision, found.cells, found.labels) == (1, 1, 1, 1)
        assert found.verdict == "exact: every record"


def test_false_records_cost_precision() -> None:
    found = score([*PRIVATE, [1.0, 1, 0]], [0, 1, 1, 0], FAR)
    assert (found.exact, found.precision, found.guessed) == (1, 0.75, 4)
    assert found.verdict == "exact: every record, and false ones"


def test_cells_are_counted_by_hand() -> None:
    """The first record whole, of the second the age alone, and of the third nothing."""
    found = score([PRIVATE[0], [35.0, 2, 0]], [0, 0], FAR)
    assert found.found == 1
    assert found.cells == pytest.approx(4 / 9)
    assert found.right == pytest.approx((2 / 3, 1 / 3, 1 / 3))
    assert found.labels == pytest.approx(1 / 3)
    assert found.verdict == "partly exact: 1 of 3 records to the last cell"


def test_guesses_without_the_gradient_are_counted_by_hand() -> None:
    """Commonest: 35, none, male.  It has 1, 2 and 1 cells of the three private records."""
    found = score(PRIVATE, [0, 1, 1], FAR)
    assert found.common == pytest.approx((2 / 3, 1 / 3, 1 / 3))
    assert found.floors["commonest cells"] == pytest.approx(4 / 9)
    # The first, middle and last public record: 35 none male, twice over, and 60 none not-male.
    assert found.floors["public records"] == pytest.approx(4 / 9)
    assert found.chance == 0
    assert found.nearest == pytest.approx((2 + 0 + 0) / 9)  # 99, much, male


def test_what_anybody_would_guess_is_no_leak() -> None:
    found = score([[35.0, 0, 0]] * 3, [0, 0, 0], FAR)
    assert found.verdict == "no better than a guess without the gradient"


def test_a_record_as_near_as_others_is_no_more_than_partly_right() -> None:
    near = [[52.0, 2, -1], [35, 0, 0], [35, 1, 0]]
    assert score(near, [0, 1, 1], near).verdict.startswith("partial: better than a guess")
    assert score(near, [0, 1, 1], FAR).verdict.startswith("recognisable")


def test_nothing_found_is_nothing_right() -> None:
    found = score([], [], FAR)
    assert (found.exact, found.precision, found.cells, found.labels) == (0, 0, 0, 0)
    assert found.verdict == "no better than a guess without the gradient"
    assert RecordScore.model_validate_json(found.model_dump_json()) == found
    assert "records exact: 0 of 3; 0% of the 0 guessed are" in found.lines()


def test_the_pairing_prefers_whole_records_to_many_cells() -> None:
    """One guess is whole for the first and near to the second; another near to both."""
    guesses = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 2]])
    truths = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 3]])
    assert paired(guesses, truths) == [(0, 0), (1, 1)]
