"""Every component has a title for people, another in each table."""

from __future__ import annotations

import pytest

from lab import catalog
from lab.common.settings import Component
from tests.project.test_catalog import PARTS

FIELDS_SPELLING = ("iDLG", "q-FedAvg")


@pytest.mark.parametrize(("part", "kind"), PARTS)
def test_a_part_has_a_title_for_people(part: type[Component], kind: str) -> None:
    assert 2 <= len(part.title) <= 40
    assert part.title[0].isupper() or part.title.startswith(FIELDS_SPELLING)
    assert not part.title.endswith(".")


@pytest.mark.parametrize("name", catalog.tables())
def test_titles_are_unique_in_their_table(name: str) -> None:
    titles = [part.title.lower() for part in catalog.table(name).values()]
    assert len(set(titles)) == len(titles)


# Names that the field writes with a lower-case letter first.
