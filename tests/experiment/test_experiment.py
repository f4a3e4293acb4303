"""Experiments: what a file may say, what it then means, and values that never change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from datasets import DATA_SOURCES
from defenses import AGGREGATION_RULES
from lab.experiment import presets
from lab.experiment.experiment import Experiment, SettingsChange
from tests.support.experiment_files import BACKDOOR, EXAMPLE, refusal, with_

# --- by hand: what is accepted ------------------------------------------------------------------


def test_the_example_says_what_it_says() -> None:
    experiment = Experiment.from_toml(EXAMPLE)
    assert experiment.data.source == DATA_SOURCES["fashion-mnist"]()
    assert experiment.data.partition.dump() == {"kind": "dirichlet", "alpha": 0.3}
    assert experiment.model.dump() == {
        "kind": "cnn",
        "channels": 16,
        "hidden": 64,
        "norm": "none",
    }
    assert experiment.training.clients_per_round == experiment.cohort_size == 10
    written = {"kind": "client", "epsilon": 8.0, "delta": 1e-3, "clip": 1.0, "noise": 0.0}
    assert experiment.privacy.dump() | written == experiment.privacy.dump()
    assert experiment.adversary.attack.dump() == {
        "kind": "sign-flip",
        "scale": 3.0,
        "reading": "own",
    }
    assert experiment.network.dropout == 0.05
    assert experiment.changes == ()


def test_an_empty_file_is_the_default_experiment() -> None:
    assert Experiment.from_toml("") == Experiment.from_json("{}") == Experiment()
    assert Experiment.from_url("") == Experiment()


@pytest.mark.parametrize("file", presets.experiments().values(), ids=lambda file: file.stem)
def test_every_file_that_comes_with_the_lab_can_be_read(file: Path) -> None:
    experiment = Experiment.from_file(file)
    assert Experiment.from_toml(experiment.to_toml()) == experiment


@pytest.mark.parametrize("written", ["krum", {"kind": "krum"}, AGGREGATION_RULES["krum"]()])
def test_a_part_is_a_kind_or_a_table_or_the_part_itself(written: object) -> None:
    assert Experiment.read(
        {"aggregation": {"rule": written}}
    ).aggregation.rule == AGGREGATION_RULES["krum"](faulty=1)


def test_a_setting_may_be_as_large_as_its_neighbours_allow() -> None:
    assert with_({"aggregation.rule.kind": "krum", "aggregation.rule.faulty": 8}).cohort_size == 20
    assert (
        with_({"aggregation.rule.kind": "trimmed-mean", "aggregation.rule.faulty": 9}).cohort_size
        == 20
    )
    assert with_({"training.clients_per_round": 20}).cohort_size == 20
    assert with_({"secure_aggregation.enabled": True, "data.clients": 3}).cohort_size == 3
    assert with_({"adversary.count": 20}).adversary.count == 20
    assert with_({"data.examples": 20}).data.shared() == 20
    shards = {"data.partition.kind": "shards", "data.partition.shards": 50, "data.clients": 200}
    assert with_(shards).data.shared() == 10_000
    assert with_(BACKDOOR | {"adversary.attack.target": 9}).adversary.count == 1
    assert with_(BACKDOOR | {"adversary.attack.pixels": 14}).adversary.count == 1
    four = {"data.source": "heart", "data.partition.kind": "natural", "data.clients": 4}
    assert with_(four).data.partition.kind == "natural"


@pytest.mark.parametrize("strange", [{"data.source": "heart"}, {"adversary.attack.target": 99}])
def test_a_backdoor_that_nobody_uses_may_stay_in_the_file(strange: dict[str, Any]) -> None:
    assert with_(BACKDOOR | strange | {"adversary.count": 0}).adversary.attack.kind == "backdoor"
    assert refusal(lambda: with_(BACKDOOR | strange))
    idle = with_(BACKDOOR | strange | {"adversary.count": 0})
    assert refusal(lambda: idle.changed_from(3, {"adversary.count": 1}))


def test_more_examples_than_there_are_means_all_of_them() -> None:
    assert with_({"data.examples": 100_000}).data.shared() == 10_000
    assert with_({"data.examples": 123}).data.shared() == 123
    assert Experiment().data.shared() == 10_000


def test_the_recipe_says_what_clients_are_told() -> None:
    recipe = with_({"training.steps": 3, "training.epochs": 2, "training.rate": 0.5}).recipe
    assert (recipe.epochs, recipe.cap, recipe.batch_size, recipe.rate) == (2, 3, 32, 0.5)
    assert recipe.poisson is None
    assert recipe.weighted
    assert recipe.mean_size == 500.0


def test_protected_examples_are_drawn_with_one_common_probability() -> None:
    private = {"privacy.kind": "example", "training.batch_size": 50}
    assert with_(private).recipe.poisson == 0.1
    assert with_(private | {"data.examples": 100}).recipe.poisson == 1.0
    assert with_(private).recipe.weighted


def test_protected_clients_do_not_tell_how_much_they_hold() -> None:
    assert not with_({"privacy.kind": "client"}).recipe.weighted


def test_the_architecture_fits_the_data() -> None:
    network = with_({"data.source": "heart", "model.kind": "logistic"}).architecture
    assert (network.shape, network.classes, network.size) == ((22,), 2, 46)


def test_the_title_tells_what_is_special() -> None:
    assert Experiment().title() == "Fashion-MNIST · MLP · 20 clients · IID"
    special = Experiment.from_toml(EXAMPLE).changed(
        {"aggregation.rule.kind": "mean", "privacy.noise": 1.5}
    )
    assert special.title() == (
        "Fashion-MNIST · CNN · 20 clients · Dirichlet label skew (alpha 0.3) · "
        "client-level noise 1.5 · 4 malicious: Sign flipping"
    )
    masked = with_({"secure_aggregation.enabled": True, "data.clients": 5})
    tuned = masked.changed_from(3, {"training.rate": 1.0}).changed_from(5, {"training.rate": 0.1})
    assert (
        tuned.title()
        == "Fashion-MNIST · MLP · 5 clients · IID · secure aggregation · changed in mid-run"
    )
    defended = with_({"privacy.kind": "example", "aggregation.rule.kind": "median"})
    assert defended.title().endswith("20 clients · IID · example-level epsilon 8 · Median")


# --- by hand: values ----------------------------------------------------------------------------


def test_experiments_are_frozen() -> None:
    experiment = Experiment.from_toml(EXAMPLE)
    for owner, name in [
        (experiment, "seed"),
        (experiment.data, "clients"),
        (experiment.data.partition, "alpha"),
        (experiment.aggregation.rule, "kind"),
    ]:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(owner, name, 3)
    assert experiment == Experiment.from_toml(EXAMPLE)


def test_experiments_compare_by_value() -> None:
    one, other = Experiment.from_toml(EXAMPLE), Experiment.from_toml(EXAMPLE)
    assert one is not other
    assert one == other
    assert len({one, other, Experiment()}) == 2
    assert one != one.changed({"data.partition.alpha": 0.31})


def test_parts_of_different_kinds_differ_even_with_equal_settings() -> None:
    assert with_({"aggregation.rule.kind": "mean"}) != with_({"aggregation.rule.kind": "median"})
    assert DATA_SOURCES["digits"]() != DATA_SOURCES["mnist-5k"]()


def test_experiments_with_changes_hash_by_value() -> None:
    one = Experiment().changed_from(3, {"training.rate": 0.2})
    assert hash(one) == hash(Experiment().changed_from(3, {"training.rate": 0.2}))


def test_changes_are_frozen() -> None:
    change = SettingsChange(round=3, set={"training.rate": 0.2})
    with pytest.raises((TypeError, ValidationError)):
        change.set["training.rate"] = 0.3
