"""Experiments as text: what is written is read again, and says only what differs."""

from __future__ import annotations

import json
import shlex

from hypothesis import given
from hypothesis import strategies as st

from lab import ROOT
from lab.common.settings_text import flatten, parse_pairs
from lab.experiment.experiment import Experiment, difference_of
from tests.support.experiment_files import with_
from tests.support.experiment_strategies import conducts, experiments, pairs, worlds

# --- by hand ------------------------------------------------------------------------------------


def test_the_default_needs_no_words() -> None:
    assert Experiment().to_url() == ""
    assert Experiment().overrides() == {}
    assert Experiment().command() == "leaklab run experiments/default.toml"


def test_a_command_names_only_what_differs() -> None:
    experiment = with_(
        {"training.rate": 0.5, "data.source": "digits", "aggregation.rule.kind": "krum"}
    )
    assert experiment.command() == (
        "leaklab run experiments/default.toml -s data.source=digits -s training.rate=0.5 "
        "-s aggregation.rule.kind=krum"
    )


def test_a_new_kind_is_written_with_what_differs_from_its_own_defaults() -> None:
    assert with_({"data.partition": "dirichlet"}).overrides() == {
        "data.partition.kind": "dirichlet"
    }
    skewed = {"data.partition.kind": "dirichlet", "data.partition.alpha": 0.1}
    assert with_(skewed).overrides() == skewed
    assert difference_of(Experiment(), with_({"data.partition": "dirichlet"})) == {
        "data.partition.kind": "iid"
    }
    krum, trimmed = (
        {"aggregation.rule.kind": kind, "aggregation.rule.faulty": 2}
        for kind in ("krum", "trimmed-mean")
    )
    assert difference_of(with_(krum), with_(trimmed)) == krum


def test_privacy_is_no_part_and_is_written_by_what_differs() -> None:
    assert with_({"privacy.kind": "client"}).overrides() == {"privacy.kind": "client"}


def test_an_address_may_name_any_setting() -> None:
    query = (
        "data.partition.kind=shards&data.partition.shards=3&secure_aggregation.enabled=true&seed=7"
    )
    experiment = Experiment.from_url(query)
    assert experiment.data.partition.dump() == {"kind": "shards", "shards": 3}
    assert experiment.secure_aggregation.enabled
    assert experiment.seed == 7


# --- promises over drawn experiments ------------------------------------------------------------


@given(experiments())
def test_what_is_written_as_toml_is_read_again(experiment: Experiment) -> None:
    assert Experiment.from_toml(experiment.to_toml()) == experiment


@given(experiments())
def test_what_is_written_as_json_is_read_again(experiment: Experiment) -> None:
    assert Experiment.from_json(experiment.to_json()) == experiment


@given(experiments())
def test_what_is_written_into_an_address_is_read_again(experiment: Experiment) -> None:
    assert Experiment.from_url(experiment.to_url()) == experiment


@given(experiments())
def test_the_command_gives_the_same_experiment(experiment: Experiment) -> None:
    program, verb, file, *flags = shlex.split(experiment.command(), comments=True)
    assert (program, verb, set(flags[::2])) in (
        ("leaklab", "run", {"-s"}),
        ("leaklab", "run", set()),
    )
    assert Experiment.from_file(ROOT / file).changed(parse_pairs(flags[1::2])) == experiment


@given(experiments())
def test_a_file_holds_plain_values_only(experiment: Experiment) -> None:
    assert json.loads(json.dumps(experiment.dump())) == experiment.dump()
    assert Experiment.read(experiment.dump()) == experiment


@given(st.data())
def test_the_order_of_settings_does_not_matter(data: st.DataObject) -> None:
    world = data.draw(worlds())
    settings = world | data.draw(conducts(world))
    mixed = dict(data.draw(st.permutations(list(settings.items()))))
    assert with_(mixed) == with_(settings)


@given(st.data())
def test_every_setting_that_was_given_holds(data: st.DataObject) -> None:
    world = data.draw(worlds())
    settings = world | data.draw(conducts(world))
    now, stages = flatten(with_(settings).dump()), settings.pop("aggregation.pre_aggregators")
    assert now | settings == now
    assert [
        stage["kind"] for stage in now["aggregation.pre_aggregators"]
    ] == stages  # given by their names alone


@given(pairs())
def test_the_difference_leads_from_one_experiment_to_the_other(
    pair: tuple[Experiment, Experiment],
) -> None:
    one, other = pair[0].at(1), pair[1].at(1)
    assert one.changed(difference_of(other, one)) == other
    assert difference_of(one, one) == {}
