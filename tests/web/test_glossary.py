"""The glossary: nothing is in a menu without its entry, and pictures are what the parts do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from defenses import AGGREGATION_RULES
from lab.catalog import tables
from lab.common.settings import Component
from lab.common.settings_text import flatten
from lab.experiment.experiment import Experiment
from lab.figures.toy_updates import (
    CLASSES,
    CLIENTS,
    EACH,
    FAR,
    HONEST,
    MALICIOUS,
    of_lie,
    of_poison,
    of_rule,
    of_split,
    of_stage,
)
from lab.interfaces.aggregation import AggregationRule, UpdateTransform
from lab.interfaces.data import Partition
from lab.interfaces.poisoning import PoisoningAttack
from lab.web.glossary import glossary
from lab.web.guided_tour import memory, stop
from lab.web.terms import TERMS
from tests.support.app_pages import opened

KNOWN = glossary()
PARTS = [(family, name) for family, table in tables().items() for name in table]
ONE_OF_EACH = {entry.kind: key for key, entry in KNOWN.items()}


# --- nothing is left out --------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "name"), PARTS)
def test_every_part_has_an_entry_with_all_its_settings(family: str, name: str) -> None:
    entry, part = KNOWN[f"{family}.{name}"], tables()[family][name]
    assert entry.part is part
    assert set(entry.settings) == set(part.model_fields) - {"kind"}
    assert all(len(told) > 10 for told in (entry.about, *entry.settings.values()))


@pytest.mark.parametrize(
    ("family", "name"),
    [
        pair
        for pair in PARTS
        if pair[0] in ("aggregation-rules", "poisoning-attacks", "privacy-attacks")
    ],
)
def test_attacks_and_rules_say_where_they_are_from_and_what_they_assume(
    family: str, name: str
) -> None:
    entry = KNOWN[f"{family}.{name}"]
    assert entry.source
    assert entry.notes
    if family == "privacy-attacks":
        assert {"by", "knows", "fails on"} <= set(entry.notes)


@pytest.mark.parametrize("path", flatten(Experiment().dump()))
def test_every_setting_of_an_experiment_has_an_entry(path: str) -> None:
    """A part's own settings are told with the part."""
    at = max((key for key in KNOWN if f"{path}.".startswith(f"{key}.")), key=len)
    assert len(KNOWN[at].about) > 10


def test_a_term_is_explained_once() -> None:
    names = [term.name for group in TERMS.values() for term in group]
    assert len(names) == len(set(names))
    assert all(f"term.{name}" in KNOWN for name in names)


def test_bounds_and_defaults_are_told() -> None:
    assert "1 at least, 2000 at most, usually 30" in KNOWN["training.rounds"].about
    assert "above 0, below 1" in KNOWN["privacy.delta"].about
    assert "one of none, example, client" in KNOWN["privacy.kind"].about


# --- pictures are computed ------------------------------------------------------------------------


def parts(family: str) -> list[type[Component]]:
    return list(tables()[family].values())


def test_the_mean_of_the_toy_is_the_mean_by_hand() -> None:
    found = of_rule(AGGREGATION_RULES["mean"]())
    assert found.answer is not None
    by_hand = (HONEST * found.before[:HONEST].mean(dim=0) + torch.tensor(FAR).sum(dim=0)) / 10
    assert torch.allclose(found.answer, by_hand, atol=1e-6)


@pytest.mark.parametrize("part", parts("aggregation-rules"), ids=lambda part: part.__name__)
def test_every_rule_answers_the_toy(part: type[AggregationRule]) -> None:
    found = of_rule(part())
    assert found.answer is not None
    assert found.answer.shape == (2,)
    assert found.answer.isfinite().all()


@pytest.mark.parametrize("part", parts("update-transforms"), ids=lambda part: part.__name__)
def test_every_stage_passes_on_the_toy(part: type[UpdateTransform]) -> None:
    found = of_stage(part())
    assert found.after is not None
    assert found.after.shape[1] == 2
    assert found.after.isfinite().all()


@pytest.mark.parametrize("part", parts("poisoning-attacks"), ids=lambda part: part.__name__)
def test_every_poison_shows_what_it_does(part: type[PoisoningAttack]) -> None:
    """To updates, to data, or to what it reports; whoever does none of these has no picture."""
    drawn, lie = of_poison(part()), of_lie(part())
    assert drawn or lie or part.claims is not PoisoningAttack.claims
    if drawn:
        assert drawn.after is not None
        assert torch.equal(drawn.after[:HONEST], drawn.before[:HONEST])  # nobody else's
        assert len(drawn.after) == HONEST + MALICIOUS
    if lie:
        same = torch.equal(lie.before, lie.after)
        assert not same or any(true != meant for true, meant in lie.labels)


@pytest.mark.parametrize("part", parts("partitions"), ids=lambda part: part.__name__)
def test_every_split_deals_out_the_toy(part: type[Partition]) -> None:
    counts = of_split(part())
    assert counts.shape == (CLIENTS, CLASSES)
    assert 0 < counts.sum() <= CLASSES * EACH
    assert np.all(counts.sum(axis=0) <= EACH)


def test_the_tour_shows_what_defences_do() -> None:
    bare, masked, noisy = (stop(name).likeness for name in ("bare", "masked", "noisy"))
    assert bare.psnr > 46
    assert masked.psnr < masked.floor + 3
    assert noisy.psnr < noisy.floor


def test_the_tour_shows_what_a_model_remembers() -> None:
    assert memory().auc_low > 0.55


# --- the pages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ONE_OF_EACH.values())
def test_an_entry_of_each_kind_opens(key: str) -> None:
    app, entry = opened("glossary", entry=key), KNOWN[key]
    assert app.subheader[0].value == entry.name
    assert entry.about in [one.value for one in app.markdown]


def test_an_entry_that_is_not_there_is_told_and_another_can_be_chosen() -> None:
    app = opened("glossary", entry="aggregation-rules.nonsense")
    assert "does not exist" in app.warning[0].value
    app.selectbox[0].set_value("term.epsilon").run()
    assert not app.warning
    assert "term.epsilon" in app.query_params["entry"]
    assert app.subheader[0].value == "epsilon"
