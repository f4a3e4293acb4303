"""Agreement: settings that contradict each other are refused in words, with what would work."""

from __future__ import annotations

from lab.common.settings import SettingError
from lab.experiment.round_settings import RoundSettings
from lab.experiment.visibility_validation import agree_on_messages, agree_on_privacy, check_rows
from lab.interfaces.poisoning import PoisoningAttack
from lab.models.architectures import Model

KEPT = 1_000_000_000  # bytes that a run may remember from round to round


def validate(it: RoundSettings) -> None:
    """Raises SettingError."""
    _on_sizes(it)
    _on_content(it)
    agree_on_privacy(it)
    _on_algorithm(it)
    _on_feedback(it)
    _on_devices(it)
    agree_on_messages(it)


def _on_sizes(it: RoundSettings) -> None:
    source, cohort, clients = it.data.source, it.cohort_size, it.data.clients
    if cohort > clients:
        raise SettingError(
            f"training.clients_per_round is {cohort}, more than data.clients = {clients}: "
            f"give 0 (all) to {clients}"
        )
    if it.adversary.count > clients:
        raise SettingError(
            f"adversary.count is {it.adversary.count}, more than data.clients = {clients}: "
            f"give 0 to {clients}"
        )
    if max(it.adversary.clients, default=0) >= clients:
        raise SettingError(
            f"adversary.clients names {max(it.adversary.clients)}, and data.clients is "
            f"{clients}: name clients from 0 to {clients - 1}"
        )
    if it.data.shared() < clients:
        raise SettingError(
            f"data.clients is {clients}, more than the {it.data.shared()} training examples: "
            f"give 2 to {it.data.shared()}, or more data.examples"
        )
    it.data.partition.check(source, clients, it.data.shared())


def _on_content(it: RoundSettings) -> None:
    source, poison, training = it.data.source, it.adversary.attack, it.training
    what = "a table" if source.content == "table" else source.content
    if source.content not in it.model.reads:
        fitting = [kind for kind, model in Model.table.items() if source.content in model.reads]
        raise SettingError(
            f"model.kind {it.model.kind} needs {' or '.join(it.model.reads)} and {source.kind} is "
            f"{what}: use {' or '.join(fitting)}"
        )
    if poison.pictures_only and it.adversary.count and source.content != "pictures":
        raise SettingError(
            f"adversary.attack.kind {poison.kind} needs pictures and {source.kind} is {what}: "
            "use label-flip or sign-flip"
        )
    if source.content == "text" and training.precision != "float32":
        raise SettingError(
            f"training.precision is {training.precision}, which cannot hold the word numbers of "
            f"{source.kind}: use float32"
        )
    if source.content == "text" and it.privacy.backend == "opacus":
        raise SettingError(
            f"privacy.backend is opacus, and model.kind {it.model.kind} has no twin there: use "
            "engine"
        )
    if it.adversary.count:
        poison.check(source.shape, len(source.classes))
        _on_poison(it, poison)


def _on_poison(it: RoundSettings, poison: PoisoningAttack) -> None:
    name = f"adversary.attack.kind {poison.kind}"
    if type(poison).claims is not PoisoningAttack.claims and not it.recipe.weighted:
        raise SettingError(
            f"{name} lies about its examples, and here every client counts alike: use "
            "training.algorithm fedavg without privacy.kind client, or another poison"
        )
    if poison.stranger == it.data.source.kind:
        raise SettingError(
            f"{name} takes pictures of another data set, and {poison.stranger} is the one "
            "that is learnt: give another adversary.attack.outside"
        )
    if it.training.algorithm.models > 1 and poison.remembers:
        raise SettingError(
            f"{name} goes by the last change of the model, and training.algorithm.kind "
            f"{it.training.algorithm.kind} has several: use another poison, or fedavg"
        )


def _on_devices(it: RoundSettings) -> None:
    network = it.network
    for name in ("deadline", "spare"):
        value = getattr(network, name)
        if value and network.devices == "none":
            raise SettingError(
                f"network.{name} is {value:g} and network.devices none has no clock: "
                "choose phones, laptops, servers or mixed"
            )
    if network.availability < 1 and it.privacy.kind == "client":
        raise SettingError(
            f"network.availability is {network.availability:g} with privacy.kind client, which "
            "counts on every client being drawn with the same known chance: give 1"
        )
    if network.spare and it.privacy.kind == "client":
        raise SettingError(
            f"network.spare is {network.spare:g} with privacy.kind client, which counts on "
            "clients drawn at random and not on the fastest: give 0"
        )


def _on_feedback(it: RoundSettings) -> None:
    if not it.network.error_feedback:
        return
    codec = it.network.compression
    if codec.kind == "none":
        raise SettingError(
            "network.error_feedback is true and network.compression.kind none loses nothing: "
            "choose a compression such as top-k, or switch the feedback off"
        )
    if not codec.contracts(it.architecture.size):
        raise SettingError(
            f"network.error_feedback with network.compression {codec.kind} as it is set would "
            "carry over ever larger errors: use top-k, sign or half, or switch the feedback off"
        )


def _on_algorithm(it: RoundSettings) -> None:
    algorithm, privacy = it.training.algorithm, it.privacy.kind
    name = f"training.algorithm.kind {algorithm.kind}"
    if algorithm.exposes and it.secure_aggregation.enabled:
        raise SettingError(
            f"{name} shows the server {algorithm.exposes}, which secure_aggregation.enabled "
            "would hide: use fedavg, fedprox or feddyn, or switch the masks off"
        )
    if algorithm.exposes and privacy == "client":
        raise SettingError(
            f"{name} shows the server {algorithm.exposes}, without noise, so privacy.kind "
            "client would guarantee nothing: use fedavg, fedprox or fedadam"
        )
    if privacy == "example" and it.training.precision != "float32":
        raise SettingError(
            "training.precision is bfloat16 with privacy.kind example, whose guarantee counts "
            "on gradients that are clipped exactly: use float32"
        )
    if algorithm.unguarded and privacy == "example":
        raise SettingError(
            f"{name} has each client send {algorithm.unguarded}, so privacy.kind example "
            "would guarantee nothing: use fedavg, fedprox or fedadam"
        )
    if algorithm.asynchronous:
        _on_waiting(it, name)
    if not algorithm.talks:
        _on_silence(it, name)
    algorithm.check(it.architecture)
    kept = algorithm.keeps + it.network.error_feedback
    size = kept * 4 * it.data.clients * it.architecture.size
    if size > KEPT:
        raise SettingError(
            f"{name} would keep a model for each of {it.data.clients} clients, "
            f"{size / 1e9:.1f} gigabytes and {KEPT / 1e9:g} are allowed: give fewer clients, "
            "a smaller model, or fedavg without error feedback"
        )


def _on_waiting(it: RoundSettings, name: str) -> None:
    """Where nobody is waited for."""
    network = it.network
    for setting, value in (("deadline", network.deadline), ("spare", network.spare)):
        if value:
            raise SettingError(
                f"network.{setting} is {value:g} and {name} waits for nobody: give 0"
            )
    if network.compression.kind != "none" and network.devices != "none":
        raise SettingError(
            f"network.compression.kind {network.compression.kind} with {name} and "
            f"network.devices {network.devices}: the clock must know how large an update is "
            "before it is packed; use network.compression none, or network.devices none"
        )
    check_rows(it, min(it.training.algorithm.awaits, it.cohort_size))


def _on_silence(it: RoundSettings, name: str) -> None:
    """A baseline sends nothing, so nothing can be done to messages."""
    without = {
        "privacy.kind": (it.privacy.kind, "none"),
        "secure_aggregation.enabled": (it.secure_aggregation.enabled, False),
        "adversary.count": (it.adversary.count, 0),
        "aggregation.rule.kind": (it.aggregation.rule.kind, "mean"),
        "aggregation.pre_aggregators": (list(it.aggregation.pre_aggregators), []),
        "network.compression.kind": (it.network.compression.kind, "none"),
        "network.devices": (it.network.devices, "none"),
        "network.dropout": (it.network.dropout, 0.0),
    }
    for path, (value, wanted) in without.items():
        if value != wanted:
            raise SettingError(
                f"{name} is a baseline without messages, and {path} is {value}: "
                f"give {str(wanted).lower()}"
            )
