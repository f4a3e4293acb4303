"""Attacks on secure aggregation: each works where it must, and fails where a defence stands."""

from __future__ import annotations

import re
from collections import deque
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from attacks import PRIVACY_ATTACKS
from attacks.secure_aggregation.inconsistent_models import dead_model
from attacks.secure_aggregation.shared.masked_sums import left_of
from lab import Experiment
from lab.attack_runs.secure_aggregation.malicious_server import malicious_server, true_updates
from lab.attack_runs.secure_aggregation.unmasking import run_unmasking
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.common.settings import SettingError
from lab.engine.data.federation import training_data
from lab.engine.round import run_round
from lab.engine.run import initial_state
from lab.engine.run_state import RoundResult, RunState
from lab.interfaces.attack_data import StagedRound
from lab.interfaces.privacy_attacks import SecureAggregationAttack
from lab.interfaces.views import ServerView
from lab.jobs.run_job import carry_out_run
from lab.scoring.attack_result import AttackProgress, AttackResult
from lab.scoring.reconstruction.image_score import ImageScore
from lab.scoring.update_score import UpdateRecoveryScore, closeness
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from lab.storage.worker_store import WorkerStore

FAMILY = [
    name for name, part in PRIVACY_ATTACKS.items() if issubclass(part, SecureAggregationAttack)
]
SMALL = Experiment().changed(
    {
        "data.source": "digits",
        "data.clients": 7,
        "data.examples": 350,
        "data.partition": {"kind": "quantity"},  # so that weights differ
        "model": {"kind": "mlp", "hidden": 16},
        "training.rounds": 2,
        "secure_aggregation.enabled": True,
    }
)
BARE = {"secure_aggregation__binding": False}
WEAK = {"secure_aggregation__generator": "weak"}
NOISE = {"privacy__kind": "client", "privacy__noise": 1.0}
UNCHECKED = {"secure_aggregation__checks": False}
EASY: dict[str, dict[str, Any]] = {
    "captured-neighbourhood": UNCHECKED,
    "inconsistent-models": BARE,
    "weak-masks": WEAK,
}
OPEN = [name for name in FAMILY if name not in ("single-out", "alive-and-dead")]
TARGET = 3


@cache
def _played(settings: tuple[tuple[str, Any], ...], round: int) -> tuple[RunState, RoundResult]:
    now = SMALL.changed({path.replace("__", "."): value for path, value in settings})
    before = initial_state(now)
    for _ in range(round - 1):
        before = run_round(before).state
    return before, run_round(before)


def played(round: int = 2, **settings: Any) -> tuple[RunState, RoundResult]:
    """The state before a round, and the round."""
    return _played(tuple(sorted(settings.items())), round)


def glimpses(name: str, spy: dict[str, Any], target: int, **settings: Any) -> list[AttackProgress]:
    part = PRIVACY_ATTACKS[name].read({"kind": name, **spy})
    assert isinstance(part, SecureAggregationAttack)
    return list(run_unmasking(part, *played(**settings), target))


def attacked(
    name: str, spy: dict[str, Any] | None = None, target: int = TARGET, **settings: Any
) -> AttackResult:
    result = glimpses(name, spy or {}, target, **settings)[-1].result
    assert result is not None
    return result


def found(name: str, spy: dict[str, Any] | None = None, **settings: Any) -> UpdateRecoveryScore:
    unmasked = attacked(name, spy, **settings).score
    assert unmasked is not None
    return unmasked


def error(unmasked: UpdateRecoveryScore) -> float:
    assert unmasked.best is not None
    return unmasked.best.error


# --- what must be recovered ---------------------------------------------------------------------


@pytest.mark.parametrize("name", OPEN)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"network__dropout": 0.3, "secure_aggregation__threshold": 0.51},
        {"secure_aggregation__neighbours": 4, "secure_aggregation__signatures": True},
    ],
    ids=str,
)
def test_an_update_is_recovered_where_nothing_stands_against_it(
    name: str, settings: dict[str, Any]
) -> None:
    settings = settings | EASY.get(name, {})
    there = played(**settings)[1].record.arrived
    unmasked = found(name, target=there[1], **settings)
    assert error(unmasked) < 1e-3
    assert unmasked.verdict.startswith("recovered")
    assert unmasked.baseline.error > 0.1


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_a_dead_model_leaves_the_targets_gradient_alone(kind: str) -> None:
    unmasked = found("inconsistent-models", model=kind, training__steps=2, **BARE)
    assert error(unmasked) < 1e-2
    assert unmasked.claimed == unmasked.params - 10  # all but the last bias


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_a_dead_model_gets_no_gradient_where_it_claims_that(kind: str) -> None:
    network = SMALL.changed({"model": kind}).architecture
    dead, where = dead_model(network, network.initial(np.random.default_rng(0)))
    dead.requires_grad_(True)
    logits = network(dead, torch.rand(5, *network.shape))
    (gradient,) = torch.autograd.grad(logits.square().sum(), dead)
    assert not gradient[where].any()
    assert gradient[~where].all()


def test_sums_of_fewer_tell_more_of_one() -> None:
    unmasked = found("single-out", data__partition="iid")
    assert [one.name for one in unmasked.course] == ["sum of 7", "sum of 3"]
    errors = [one.error for one in unmasked.course]
    assert errors == sorted(errors, reverse=True)
    assert re.search(r"gave nothing: .*client \d takes part in no sum of 2", unmasked.notes[0])


def test_two_clients_who_check_nothing_give_a_sum_of_two() -> None:
    unmasked = found("single-out", data__partition="iid", **UNCHECKED)
    assert [one.name for one in unmasked.course] == ["sum of 7", "sum of 3", "sum of 2"]
    assert unmasked.notes == ("asked for a sum of 2, the clients gave it",)


def test_two_accomplices_are_all_others_in_a_round_of_three() -> None:
    """Clients believe how many are asked (review B6): checks do not help against a small round."""
    before, moment = played()
    siege = malicious_server(before, moment, TARGET)
    mine = tuple(one for one in siege.clients if one != TARGET)[:2]
    view = siege.play(StagedRound(clients=tuple(sorted((TARGET, *mine))), accomplices=mine))
    update, weight = left_of(view)
    assert closeness(update / weight, true_updates(before, [TARGET])[0]).error < 1e-3


def test_honest_clients_beside_the_target_hide_it() -> None:
    few = [error(found("sybils", {"honest": honest})) for honest in (0, 1, 3)]
    assert few[0] < 1e-3 < few[1] < few[2]


def test_a_recovered_update_shows_the_picture_behind_it() -> None:
    one = {"training__steps": 1, "training__batch_size": 1}
    last = glimpses("sybils", {}, TARGET, **one)[-1]
    assert last.result is not None
    revealed = last.result.find(ImageScore)
    assert revealed is not None
    assert revealed.psnr > 60
    assert {"private", "guess", "sent", "claimed", "mean"} == set(last.pictures)


@pytest.mark.parametrize("kind", ["fedprox", "feddyn", "fedavgm", "fedadam", "ditto", "fedper"])
def test_whatever_the_clients_train_accomplices_and_two_sums_betray_it(kind: str) -> None:
    for name in ("sybils", "sum-difference"):
        assert error(found(name, training__algorithm=kind)) < 1e-3


@pytest.mark.parametrize("kind", ["fedprox", "fedadam"])
def test_the_dead_model_suppresses_the_others_whatever_the_server_does(kind: str) -> None:
    assert error(found("inconsistent-models", training__algorithm=kind, **BARE)) < 1e-2


def test_noise_of_the_server_protects_nobody_from_the_server() -> None:
    unmasked = found("sybils", privacy__place="central", **NOISE)
    assert unmasked.verdict.startswith("recovered")


# --- what must not ------------------------------------------------------------------------------


def test_masks_bound_to_the_model_leave_noise() -> None:
    unmasked = found("inconsistent-models")
    assert unmasked.best is not None
    assert abs(unmasked.best.cosine) < 0.15
    assert error(unmasked) > 10 * unmasked.baseline.error
    assert unmasked.verdict == "no better than the sum"
    assert "the masks did not cancel" in " ".join(unmasked.notes)


def test_no_seed_explains_a_mask_of_aes() -> None:
    unmasked = found("weak-masks")
    assert unmasked.best is None
    assert unmasked.verdict == "nothing recovered"
    assert unmasked.notes[0] == "none of 1,048,576 seeds fits"
    assert "seeds a second; all 2^32 would take" in unmasked.notes[1]


@pytest.mark.parametrize(
    ("neighbours", "refusal"),
    [
        (0, "neighbourhood of 3, and 5 of 7 are the fewest"),
        (4, "neighbourhood of 3, and 4 of 5 are the fewest"),
    ],
)
def test_a_client_that_checks_does_not_let_the_server_name_its_neighbours(
    neighbours: int, refusal: str
) -> None:
    """Review B6."""
    unmasked = found("captured-neighbourhood", secure_aggregation__neighbours=neighbours)
    assert unmasked.best is None
    assert unmasked.verdict == "nothing recovered"
    assert f"client {TARGET} was told that 7 clients take part" in unmasked.notes[0]
    assert f"client {TARGET} was told of" in unmasked.notes[1]
    assert refusal in unmasked.notes[1]


@pytest.mark.parametrize(("accomplices", "recovered"), [(3, False), (4, True)])
def test_accomplices_enough_for_the_threshold_capture_a_client_that_checks(
    accomplices: int, recovered: bool
) -> None:
    """5 of 7 are needed, and the target is one of them."""
    unmasked = found("captured-neighbourhood", {"accomplices": accomplices})
    assert unmasked.verdict.startswith("recovered") == recovered


@pytest.mark.parametrize("signatures", [False, True])
@pytest.mark.parametrize("neighbours", [0, 4])
def test_no_lie_about_who_lives_opens_both_halves(signatures: bool, neighbours: int) -> None:
    unmasked = found(
        "alive-and-dead",
        secure_aggregation__signatures=signatures,
        secure_aggregation__neighbours=neighbours,
    )
    assert unmasked.best is None
    one_list, two_lists, lower = unmasked.notes
    assert "it would not be safe to answer" in one_list
    assert ("survivors were listed differently" in two_lists) == signatures
    assert "does not share its secrets with threshold" in lower


@pytest.mark.parametrize("clients", [3, 7])
def test_a_client_that_does_not_sign_a_short_list_does_not_answer(clients: int) -> None:
    """All must survive here, and the server says that the target did not."""
    settings = {"data__clients": clients, "data__examples": 350}
    settings |= {"secure_aggregation__threshold": 1.0, "secure_aggregation__signatures": True}
    unmasked = found("alive-and-dead", target=1, **settings)
    assert unmasked.verdict == "nothing recovered"
    assert "refuses to unmask" in unmasked.notes[1]


@pytest.mark.parametrize("signatures", [False, True])
def test_two_groups_of_clients_never_give_enough_shares_of_both_halves(signatures: bool) -> None:
    settings = {"secure_aggregation__signatures": signatures}
    siege = malicious_server(*played(**settings), TARGET)
    others = [one for one in siege.clients if one != TARGET]
    for cut in range(len(others) + 1):
        told = siege.interview(TARGET, (TARGET, *others[cut:]), tuple(others[:cut]), 0)
        assert min(told.seeds, told.keys) < told.needed
        assert told.seeds + told.keys <= len(siege.clients)


@pytest.mark.parametrize(
    "name", ["sybils", "captured-neighbourhood", "sum-difference", "single-out"]
)
def test_clients_noise_covers_what_is_left(name: str) -> None:
    unmasked = found(name, **NOISE, **EASY.get(name, {}))
    assert unmasked.best is not None
    assert unmasked.best.cosine < 0.3
    assert unmasked.best.error > unmasked.baseline.error
    assert "the noise of client-level privacy covers" in unmasked.verdict


def test_sums_differ_by_more_than_the_target_where_batches_are_drawn_anew() -> None:
    assert error(found("sum-difference", {"fresh": True})) > 0.1


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["logistic", "lenet"])
def test_without_a_relu_there_is_nothing_to_silence(kind: str) -> None:
    with pytest.raises(SettingError, match=f"{kind} has none: use sybils"):
        found("inconsistent-models", model=kind)


def test_without_masks_there_is_nothing_to_unmask() -> None:
    with pytest.raises(SettingError, match="round 2 ran without secure aggregation"):
        found("sybils", secure_aggregation__enabled=False)


def test_who_sent_nothing_is_no_target() -> None:
    settings = {"network__dropout": 0.3, "secure_aggregation__threshold": 0.51}
    record = played(**settings)[1].record
    with pytest.raises(SettingError, match="sent nothing in round 2: choose from"):
        found("sybils", target=record.lost[0], **settings)


def test_a_round_that_was_broken_off_left_nothing() -> None:
    settings = {"network__dropout": 0.9, "secure_aggregation__threshold": 1.0}
    with pytest.raises(SettingError, match="left nothing to attack: secure aggregation aborted"):
        found("sybils", **settings)


def test_three_clients_are_too_few_to_leave_one_out() -> None:
    settings = {"data__clients": 3, "data__examples": 100}
    with pytest.raises(SettingError, match="sum-difference needs 4 clients in the sum"):
        found("sum-difference", target=0, **settings)


def test_a_round_under_noise_that_nothing_repeats_is_not_attacked(store: Store) -> None:
    secret = {"privacy.kind": "client", "privacy.noise": 1.0, "privacy.secure_noise": True}
    ledger = WorkerStore(store)
    job = ledger.start(SMALL.changed(secret))
    deque(carry_out_run(ledger, job), maxlen=0)
    with pytest.raises(SettingError, match=f"round 2 of run {job.id} cannot be replayed"):
        RunCommands(store).attack(
            job.id, AttackRequest.read({"kind": "sybils", "round": 2, "client": TARGET})
        )


# --- promises of the family ---------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILY)
def test_a_result_survives_json_and_tells_its_baseline(name: str) -> None:
    result = attacked(name)
    assert AttackResult.model_validate_json(result.model_dump_json()) == result
    assert any("the mean of all that the sum gives anyway" in line for line in result.lines())


@pytest.mark.parametrize("name", FAMILY)
def test_the_same_attack_comes_to_the_same_although_keys_are_random(name: str) -> None:
    one, other = (found(name, **EASY.get(name, {})) for _ in range(2))
    assert (one.best, one.baseline, one.verdict) == (other.best, other.baseline, other.verdict)
    assert one.course == other.course


@pytest.mark.parametrize("name", FAMILY)
def test_an_attack_keeps_nothing_of_the_round_as_it_was(name: str) -> None:
    before, moment = played(**EASY.get(name, {}))
    model, rows = before.model.clone(), moment.transcript.delivery.rows.clone()
    attacked(name, **EASY.get(name, {}))
    assert torch.equal(before.model, model)
    assert torch.equal(moment.transcript.delivery.rows, rows)


def _vectors(view: ServerView) -> list[Tensor]:
    """All that a view holds of the size of an update, accomplices' words left out."""
    size = view.network.size
    held = [view.rows, view.sent.unsqueeze(0)]
    if view.masked is not None:
        held.append(torch.from_numpy(view.masked[:, :size].view(np.int32).astype(np.float32)))
    return [row for rows in held for row in rows]


@pytest.mark.parametrize("settings", [{}, BARE, WEAK, NOISE], ids=str)
def test_no_staged_round_holds_a_clients_update_or_key(settings: dict[str, Any]) -> None:
    before, moment = played(**settings)
    siege, everybody = malicious_server(before, moment, TARGET), moment.record.clients
    truth = dict(zip(everybody, true_updates(before, everybody), strict=True))
    mine = everybody[:2]
    view = siege.play(StagedRound(clients=everybody, accomplices=mine, hint=8))
    assert view.opened is not None
    assert set(view.opened.told) == set(mine)
    assert all(set(pair) & set(mine) for pair in view.opened.keys)
    assert all(
        not set(pair) & set(mine) and hint < 2**8 for pair, hint in view.opened.hints.items()
    )
    for vector in _vectors(view):
        for update in truth.values():
            assert closeness(vector, update).error > 0.05


def test_examples_do_not_reach_an_attack_but_through_training() -> None:
    """Every array in its view has the size of the model or of the cohort."""
    siege = malicious_server(*played(), TARGET)
    size, seen = (
        siege.view.network.size,
        [siege.view, siege.play(StagedRound(clients=siege.clients))],
    )
    for view in seen:
        tensors = [value for value in vars(view).values() if isinstance(value, Tensor)]
        assert all(tensor.shape[-1] in (size, 1) for tensor in tensors)


def test_what_the_target_sent_is_what_a_plain_server_gets() -> None:
    before, moment = played(secure_aggregation__enabled=False)
    truth = true_updates(before, moment.record.clients)
    assert torch.allclose(truth, moment.transcript.delivery.rows, atol=1e-6)


def test_a_staged_round_of_everybody_is_the_round_as_it_was() -> None:
    siege = malicious_server(*played(), TARGET)
    again = siege.play(StagedRound(clients=siege.clients))
    assert torch.equal(again.rows, siege.view.rows)
    assert torch.equal(again.weights, siege.view.weights)


def test_malicious_data_do_not_confuse_the_siege() -> None:
    unmasked = found("sybils", adversary__count=2, adversary__attack="sign-flip")
    assert error(unmasked) < 1e-3
    assert training_data(SMALL).clients == 7


@pytest.mark.parametrize("plot", [{"accomplices": (TARGET,)}, {"hint": 32}], ids=str)
def test_the_target_tells_nothing_and_nobody_tells_whole_seeds(plot: dict[str, Any]) -> None:
    siege = malicious_server(*played(), TARGET)
    with pytest.raises(ValueError, match="tells the server nothing"):
        siege.play(StagedRound(clients=siege.clients, **plot))
