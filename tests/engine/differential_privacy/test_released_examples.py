"""The guard of example-level privacy: what one example moves in a local step is what is stated.

How far one example moves its client's update is measured with the noise switched off, in two worlds
whose batches differ in this example only.  The noise is measured on empty batches.  All that
comes after an update leaves its client, from poisons to rules, can only take from what it shows.
"""

from __future__ import annotations

import pytest

from tests.support.guarantee_strategies import EXAMPLES, Combination, drawn
from tests.support.neighbouring_clients import Statement
from tests.support.neighbouring_examples import measured_examples

DRAWS = 6  # experiments of each combination


@pytest.mark.parametrize("number", range(DRAWS))
@pytest.mark.parametrize("combination", EXAMPLES, ids=str)
def test_one_example_is_hidden_as_well_as_stated(combination: Combination, number: int) -> None:
    experiment = drawn(combination, DRAWS)[number]
    for round in (1, *(change.round for change in experiment.changes)):
        for found in measured_examples(experiment, round):
            assert found.sound, str(found)


@pytest.mark.parametrize("combination", EXAMPLES, ids=str)
def test_every_combination_has_statements_to_be_measured(combination: Combination) -> None:
    stated = [
        experiment
        for experiment in drawn(combination, DRAWS)
        if any(Statement.of(experiment, 1, one) for one in ("public", "server"))
    ]
    assert len(stated) >= DRAWS // 2
