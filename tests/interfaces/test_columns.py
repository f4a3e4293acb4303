"""Columns: rows of a table in words and back, by hand and for the real tables."""

from __future__ import annotations

import pytest
import torch

from datasets import DATA_SOURCES
from datasets.sources import adult
from lab.interfaces.columns import NONE, UNKNOWN, Column, cells_of, places, rows_of, words
from tests.support.data import examples_of

TABLES = [kind for kind in DATA_SOURCES if DATA_SOURCES[kind].content == "table"]
AGE = Column("age", centre=40, spread=10, step=1)
DOSE = Column("dose", centre=0.5, spread=0.25, step=0.1, missing="dose not taken")
PAIN = Column("pain", ("none", "some", "much"))
ECG = Column("ECG", ("normal", "odd"), blank=True)
MALE = Column("sex", ("male",), blank=True)
ABSENT = Column("dose not taken", ("yes",), blank=True)
COLUMNS = (AGE, DOSE, PAIN, ECG, MALE, ABSENT)
ROWS = torch.tensor(
    [
        [1.2, -0.8, 0, 0, 1, 0, 1, 1, 0],
        [-0.5, 0.0, 1, 0, 0, 0, 0, 0, 1],
    ]
)
CELLS = torch.tensor(
    [[52, 0.3, 2, 1, 0, NONE], [35, UNKNOWN, 0, NONE, NONE, 0]], dtype=torch.float64
)


def test_a_row_is_read_cell_by_cell() -> None:
    assert torch.equal(cells_of(COLUMNS, ROWS), CELLS)


def test_cells_make_the_row_again() -> None:
    assert torch.allclose(rows_of(COLUMNS, CELLS), ROWS)


def test_a_record_is_told_in_words() -> None:
    assert words(COLUMNS, CELLS[0]) == [
        "age 52", "dose 0.3", "pain much", "ECG odd", "sex male", "dose not taken no",
    ]  # fmt: skip
    assert words(COLUMNS, CELLS[1]) == [
        "age 35", "dose not known", "pain none", "ECG no answer", "sex not male",
        "dose not taken yes",
    ]  # fmt: skip


def test_floats_that_are_a_little_off_are_the_same_cells() -> None:
    assert torch.equal(cells_of(COLUMNS, ROWS + 0.04), CELLS)
    assert not torch.equal(cells_of(COLUMNS, ROWS + 0.06), CELLS)  # the age is another


def test_a_choice_that_must_have_an_answer_gets_the_likeliest() -> None:
    row = torch.tensor([[0.0, 0, 0.1, 0.3, 0.2, 0.1, 0.3, 0.4, 0]])
    assert cells_of(COLUMNS, row)[0, 2:].tolist() == [1, NONE, NONE, NONE]


def test_columns_lie_one_after_the_other() -> None:
    starts = [(where.start, where.stop) for where in places(COLUMNS)]
    assert starts == [(0, 1), (1, 2), (2, 5), (5, 7), (7, 8), (8, 9)]


def test_the_first_census_record_reads_as_in_the_file() -> None:
    columns = DATA_SOURCES["adult"]().columns()
    (cells,) = cells_of(columns, examples_of("adult").inputs[:1])
    assert words(columns, cells)[:2] == ["age 81", "fnlwgt 184762"]
    assert "occupation Tech-support" in words(columns, cells)
    assert sum(len(told.split()) for told in adult.ANSWERS.values()) == 98


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_is_the_same_after_reading_and_writing(kind: str) -> None:
    """To the last bit: whoever knows the cells knows the floats."""
    columns, examples = DATA_SOURCES[kind]().columns(), examples_of(kind)
    for rows in (examples.inputs, examples.test_inputs):
        assert torch.equal(rows_of(columns, cells_of(columns, rows)), rows)


@pytest.mark.parametrize("kind", DATA_SOURCES)
def test_tables_tell_their_columns_and_pictures_have_none(kind: str) -> None:
    widths = [column.width for column in DATA_SOURCES[kind]().columns()]
    names = [column.name for column in DATA_SOURCES[kind]().columns()]
    assert sum(widths) == (DATA_SOURCES[kind].shape[0] if kind in TABLES else 0)
    assert len(set(names)) == len(names)
