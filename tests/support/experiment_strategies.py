"""Drawn experiments: of settings that agree with each other, and changes in mid-run."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from datasets import DATA_SOURCES
from defenses import AGGREGATION_RULES
from lab.common.settings import SettingError
from lab.experiment.experiment import Experiment
from lab.experiment.validation import KEPT
from lab.interfaces.aggregation import Codec
from lab.interfaces.data import DataSource, Partition
from lab.interfaces.poisoning import PoisoningAttack
from lab.models.architectures import Model
from tests.support.experiment_files import DECLARED, with_

# Settings of the network that make sense beside others only.
LINKED = (
    "network.error_feedback",
    "network.devices",
    "network.deadline",
    "network.spare",
)
# And those that a guarantee of privacy refuses.
UNGUARANTEED = ("training.precision", "network.availability")
# And those that not every unit of protection has.
MECHANISMS = ("privacy.quantile", "privacy.place", "privacy.backend")


def value_of(field: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Any value within the bounds that the setting declares."""
    if "enum" in field:
        return st.sampled_from(field["enum"])
    if field["type"] == "boolean":
        return st.booleans()
    if field["type"] == "integer":
        return st.integers(field["minimum"], field["maximum"])
    return st.floats(
        min_value=field.get("minimum", field.get("exclusiveMinimum")),
        max_value=field.get("maximum", field.get("exclusiveMaximum")),
        exclude_min="exclusiveMinimum" in field,
        exclude_max="exclusiveMaximum" in field,
    )


def some_of(section: str, without: tuple[str, ...] = ()) -> st.SearchStrategy[dict[str, Any]]:
    """Some plain settings of a section, as `section.key`."""
    plain = (each for each in DECLARED if not each.kind and each.path not in without)
    here = [each for each in plain if each.path.startswith(f"{section}.")]
    return st.fixed_dictionaries({}, optional={each.path: value_of(each.field) for each in here})


def part_at(path: str, kind: str, most: int = 1000) -> st.SearchStrategy[dict[str, Any]]:
    """A part of that kind, with some of its settings; whole numbers go no further than `most`."""
    given_ = {f"{path}.kind": st.just(kind)}
    optional = {}
    for each in DECLARED:
        if each.kind == {f"{path}.kind": kind}:
            field, whole = each.field, "maximum" in each.field and each.field["type"] == "integer"
            if whole and field["maximum"] > most:
                field = field | {"maximum": max(most, field["minimum"])}
            needed = whole and field["default"] > most
            (given_ if needed else optional)[each.path] = value_of(field)
    return st.fixed_dictionaries(given_, optional=optional)


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    """Seed, data and model: what no change in mid-run may touch."""
    source = DATA_SOURCES[draw(st.sampled_from(list(DATA_SOURCES)))]()
    pictures = len(source.shape) == 3
    few = len(source.groups) < 30  # people, of whom nine in ten may be left out
    senseless = {"natural": not source.groups, "people": few, "feature": not pictures}
    split = draw(st.sampled_from([kind for kind in Partition.table if not senseless.get(kind)]))
    clients = draw(st.integers(3, 20 if split == "people" else 150))
    clients = clients if split != "natural" else len(source.groups)
    most = len(source.classes) if split == "concept" else source.size // clients
    chosen = draw(part_at("data.partition", split, most))
    needed = clients * chosen.get("data.partition.shards", 2)
    models = [kind for kind, model in Model.table.items() if source.content in model.reads]
    return {
        "seed": draw(st.integers(0, 2**53 - 1)),
        "data.source": source.kind,
        "data.clients": clients,
        "data.examples": draw(st.just(0) | st.integers(needed, 100_000)),
        **chosen,
        **draw(part_at("model", draw(st.sampled_from(models)))),
    }


@st.composite
def clocks(draw: st.DrawFn, private: bool) -> dict[str, Any]:
    """Devices, and what needs them."""
    fleet = draw(st.sampled_from(["none", "servers", "mixed"]))
    timed = fleet != "none"
    return {
        "network.devices": fleet,
        "network.deadline": draw(st.floats(0, 1e6)) if timed else 0.0,
        "network.spare": draw(st.floats(0, 4)) if timed and not private else 0.0,
    }


@st.composite
def unguaranteed(draw: st.DrawFn, privacy: str, text: bool) -> dict[str, Any]:
    """What some guarantee of privacy refuses, where it does not."""
    precisions = ["float32"] if text or privacy == "example" else ["float32", "bfloat16"]
    here = st.floats(0.05, 1)
    return {
        "training.precision": draw(st.sampled_from(precisions)),
        "network.availability": 1.0 if privacy == "client" else draw(here),
    }


@st.composite
def protections(draw: st.DrawFn, cohort: int, text: bool) -> dict[str, Any]:
    """Privacy, with what its unit of protection can have."""
    privacy = draw(some_of("privacy", without=MECHANISMS))
    kind, noise = privacy.get("privacy.kind", "none"), privacy.get("privacy.noise", 0.0)
    counted = kind == "none" or (kind == "client" and noise < cohort / 10)
    backends = ["engine"] if text or kind == "client" else ["engine", "opacus"]
    places = ["distributed"] if kind == "example" else ["distributed", "central", "local"]
    return {
        **privacy,
        "privacy.quantile": draw(st.just(0.0) | st.floats(0, 1)) if counted else 0.0,
        "privacy.place": draw(st.sampled_from(places)),
        "privacy.backend": draw(st.sampled_from(backends)),
    }


@st.composite
def masked(draw: st.DrawFn, cohort: int) -> dict[str, Any]:
    """Secure aggregation, with as many buckets and neighbours as a cohort allows."""
    counts = ("secure_aggregation.neighbours", "secure_aggregation.buckets")
    some, buckets = draw(some_of("secure_aggregation", counts)), draw(st.integers(1, cohort // 3))
    chosen = draw(st.just(0) | st.integers(2, min(1000, cohort // buckets - 1)))
    return some | dict(zip(counts, (chosen, buckets), strict=True))


def poisons_at(
    kind: str, source: DataSource, privacy: dict[str, Any]
) -> st.SearchStrategy[dict[str, Any]]:
    """A poison that can do with such examples, and lies about weights only where there are any."""

    def fits(drawn: dict[str, Any]) -> bool:
        try:
            poison = PoisoningAttack.pick(
                {path.split(".")[-1]: value for path, value in drawn.items()}
            )
            poison.check(source.shape, len(source.classes))
        except SettingError:
            return False
        alike = privacy.get("privacy.kind") == "client" and kind == "inflated-weight"
        return poison.stranger != source.kind and not alike

    # Of classes to call up, and of pixels in half a side; others count trials.
    most = 1000 if kind.startswith("opt-") else min(len(source.classes) - 1, source.shape[-1] // 2)
    return part_at("adversary.attack", kind, most).filter(fits)


@st.composite
def conducts(draw: st.DrawFn, world: dict[str, Any]) -> dict[str, Any]:
    """All other settings, none of which contradicts another or the world."""
    source, clients = DATA_SOURCES[world["data.source"]](), world["data.clients"]
    asked = draw(st.just(0) | st.integers(3, clients))
    text = source.content == "text"
    privacy, masks = draw(protections(asked or clients, text)), draw(masked(asked or clients))
    blind = masks.get("secure_aggregation.enabled") or privacy.get("privacy.kind") == "client"
    rule = "mean" if blind else draw(st.sampled_from(list(AGGREGATION_RULES)))
    codec = "none" if blind else draw(st.sampled_from(list(Codec.table)))
    poisons = [
        kind
        for kind, poison in PoisoningAttack.table.items()
        if len(source.shape) == 3 or not poison.pictures_only
    ]
    # What every client carries over must fit into memory.
    carries = codec in ("top-k", "sign") and 4 * clients * with_(world).architecture.size <= KEPT
    faulty = ((asked or clients) - 3) // (4 if rule == "bulyan" else 2)
    return {
        **draw(some_of("training", without=("training.clients_per_round", *UNGUARANTEED))),
        **draw(part_at("training.algorithm", "fedavg")),
        "training.clients_per_round": asked,
        **privacy,
        **masks,
        **draw(some_of("network", without=(*LINKED, *UNGUARANTEED))),
        **draw(unguaranteed(privacy.get("privacy.kind", "none"), text)),
        **draw(clocks(private=privacy.get("privacy.kind") == "client")),
        **draw(part_at("network.compression", codec)),
        "network.error_feedback": carries and draw(st.booleans()),
        "adversary.count": draw(st.integers(0, clients)),
        **draw(poisons_at(draw(st.sampled_from(poisons)), source, privacy)),
        # A mean that looks at weights one by one does not go with what hides them.
        **(
            {"aggregation.rule.kind": rule}
            if blind
            else draw(part_at("aggregation.rule", rule, faulty))
        ),
        "aggregation.pre_aggregators": []
        if blind
        else draw(st.sampled_from([[], ["norm-bound"], ["nnm", "arc"]])),
    }


TWEAKS = st.fixed_dictionaries(
    {},
    optional={
        "training.rate": st.floats(0, 10, exclude_min=True),
        "training.rounds": st.integers(1, 2000),
        "network.dropout": st.floats(0, 0.95),
        "privacy.noise": st.floats(0, 1000),
        "privacy.quantile": st.just(0.0),
        "aggregation.rule.kind": st.just("mean"),
        "aggregation.rule": st.sampled_from(["mean", {"kind": "mean"}]),
        "adversary.attack.kind": st.just("label-flip"),
        "secure_aggregation.on_abort": st.sampled_from(["skip", "stop"]),
    },
).filter(
    # An adaptive clip does not go with any noise.
    lambda tweaks: (
        tweaks
        and not {"aggregation.rule", "aggregation.rule.kind"} <= tweaks.keys()
        and ("privacy.noise" not in tweaks or "privacy.quantile" in tweaks)
    )
)


@st.composite
def changes(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Changes in mid-run, in order, that agree with whatever was there before."""
    rounds = draw(st.lists(st.integers(2, 12), max_size=3, unique=True))
    return [{"round": round, "set": draw(TWEAKS)} for round in sorted(rounds)]


@st.composite
def experiments(draw: st.DrawFn, world: dict[str, Any] | None = None) -> Experiment:
    world = draw(worlds()) if world is None else world
    plain = with_(world | draw(conducts(world)))
    return Experiment.read(plain.dump() | {"changes": draw(changes())})


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Experiment, Experiment]:
    """Two experiments of one world: a run may go over from the one to the other."""
    world = draw(worlds())
    return draw(experiments(world)), draw(experiments(world))
