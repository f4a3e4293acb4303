"""Visibility: what the server must see, against what masks and noise hide from it."""

from __future__ import annotations

from lab.common.settings import SettingError
from lab.experiment.round_settings import RoundSettings
from lab.interfaces.opening_threshold import FEWEST_IN_SUM
from lab.models.torch_modules import torch_module
from lab.privacy.adaptive_clipping import update_noise


def agree_on_privacy(it: RoundSettings) -> None:
    """Whether guarantees hold for what the server does.  Raises SettingError."""
    if it.choosy and it.privacy.kind == "client":
        raise SettingError(
            f"{it.choosy} with privacy.kind client has no known guarantee: its noise is "
            f"calibrated to the mean; use {it.plain}, or privacy.kind example"
        )
    if it.training.algorithm.models > 1 and (
        any(stage.begin(1, 1) for stage in it.aggregation.pre_aggregators)
        or it.aggregation.rule.public
    ):
        raise SettingError(
            f"training.algorithm.kind {it.training.algorithm.kind} folds the updates of "
            "several models, and fltrust and pre-aggregators with a memory know of one: use "
            "another rule and other pre-aggregators, or fedavg"
        )
    privacy = it.privacy
    if privacy.adapts and privacy.noise:  # calibrated noise is known to the accountant only
        update_noise(privacy.noise, it.cohort_size)
    if privacy.kind == "example" and privacy.backend == "opacus":
        torch_module(it.architecture.layers)


def agree_on_messages(it: RoundSettings) -> None:
    """Whether the server can make anything of what it is sent.  Raises SettingError."""
    packing = it.network.compression.kind
    if packing != "none" and it.secure_aggregation.enabled:
        raise SettingError(
            f"network.compression.kind {packing} packs each update by itself, and "
            "secure_aggregation.enabled adds them up before anybody unpacks: use "
            "network.compression none, or switch the masks off"
        )
    if packing != "none" and it.privacy.kind == "client":
        raise SettingError(
            f"network.compression.kind {packing} with privacy.kind client has no known "
            "guarantee: the noise protects the sum, and each share of it would be packed "
            "by itself; use network.compression none, or privacy.kind example"
        )
    if it.secure_aggregation.enabled:
        _on_masks(it)
    else:
        check_rows(it, it.cohort_size)


def _on_masks(it: RoundSettings) -> None:
    masks, cohort = it.secure_aggregation, it.cohort_size
    smallest = cohort // masks.buckets
    needed = max(
        2,
        it.aggregation.rule.fewest(),
        *(stage.fewest() for stage in it.aggregation.pre_aggregators),
    )
    if it.choosy and masks.buckets < needed:
        bound = (
            "secure_aggregation.norm to bound what clients send, "
            if it.aggregation.pre_aggregators
            else ""
        )
        raise SettingError(
            f"{it.choosy} must see single updates, which secure_aggregation.enabled hides: use "
            f"{it.plain}, {bound}secure_aggregation.buckets of {needed} or more, whose sums it can "
            "choose between, or switch the masks off"
        )
    if it.choosy:
        check_rows(it, masks.buckets)
    if cohort < FEWEST_IN_SUM:
        raise SettingError(
            f"training.clients_per_round is {cohort}, too few for "
            "secure_aggregation.enabled: a sum of fewer than 3 hides little; give 3 or more"
        )
    if smallest < FEWEST_IN_SUM:
        raise SettingError(
            f"secure_aggregation.buckets is {masks.buckets} for {cohort} clients a round: a "
            f"sum of fewer than 3 hides little; give up to {cohort // FEWEST_IN_SUM}"
        )
    if masks.neighbours == 1:
        raise SettingError(
            "secure_aggregation.neighbours is 1: a client and one neighbour are fewer than 3; "
            "give 0 (all), or 2 or more"
        )
    if masks.neighbours >= smallest:
        raise SettingError(
            f"secure_aggregation.neighbours is {masks.neighbours}, and a client has "
            f"{smallest - 1} others in a sum: give 0 (all), or 2 to {smallest - 1}"
        )


def check_rows(it: RoundSettings, rows: int) -> None:
    """Whether stages and rule can make anything of so many."""
    mixed = "secure_aggregation.buckets" if it.secure_aggregation.enabled else ""
    for stage in it.aggregation.pre_aggregators:
        if stage.by_client and mixed:
            raise SettingError(
                f"aggregation.pre_aggregators, kind {stage.kind}, must know whose each row is, "
                f"and {mixed} makes sums of several clients' updates: put it before, "
                f"or do without {stage.kind}"
            )
        stage.check(rows)
        mixed = mixed or (
            f"aggregation.pre_aggregators, kind {stage.kind}," if stage.leaves(rows) < rows else ""
        )
        rows = stage.leaves(rows)
    it.aggregation.rule.check(rows)
