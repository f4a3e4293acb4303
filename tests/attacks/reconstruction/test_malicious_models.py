"""A malicious server: what it plants, what it reads, where it ends, and who could notice."""

from __future__ import annotations

from functools import cache
from statistics import fmean
from typing import Any

import pytest
import torch
from torch import Tensor

from attacks import PRIVACY_ATTACKS
from attacks.reconstruction.shared.imprint_module import Bins, edges_of
from benchmarks.imprint import SEEDS, alone, answer, fired, private, recall, single, written
from lab import Experiment
from lab.attack_runs.dispatch import start_attack
from lab.attack_runs.reconstruction.model_manipulation import replayed, run_active_reconstruction
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.attack_runs.shared.auxiliary_info import auxiliary_info
from lab.common.settings import SettingError
from lab.engine.client.batches import batches, touched
from lab.engine.data.federation import training_data
from lab.engine.round import run_round
from lab.engine.run import initial_state
from lab.engine.run_state import RoundResult, RunState
from lab.interfaces.privacy_attacks import ActiveReconstructionAttack
from lab.interfaces.views import AuxiliaryInfo, client_view, server_view
from lab.jobs.run_job import carry_out_run
from lab.models.architectures import Mlp
from lab.models.network import Network
from lab.scoring.attack_result import AttackResult
from lab.scoring.tampering_signs import TamperingSign, TamperingSigns, tampering_signs
from lab.storage.replay import StoredRun
from lab.storage.store import Store
from lab.storage.worker_store import WorkerStore

FAMILY = [
    name for name, part in PRIVACY_ATTACKS.items() if issubclass(part, ActiveReconstructionAttack)
]
SMALL = Experiment().changed(
    {
        "data.source": "digits",
        "data.clients": 6,
        "model": {"kind": "mlp", "hidden": 256},
        "training.rounds": 3,
        "training.steps": 1,
        "training.batch_size": 24,
    }
)
MASKED = {"secure_aggregation__enabled": True, "training__batch_size": 4}


@cache
def _played(settings: tuple[tuple[str, Any], ...], round: int) -> tuple[RunState, RoundResult]:
    now = SMALL.changed({path.replace("__", "."): value for path, value in settings})
    before = initial_state(now)
    for _ in range(round - 1):
        before = run_round(before).state
    return before, run_round(before)


def played(round: int = 1, **settings: Any) -> tuple[RunState, RoundResult]:
    """The state before a round, and the round."""
    return _played(tuple(sorted(settings.items())), round)


def spy_of(name: str, **settings: Any) -> ActiveReconstructionAttack:
    part = PRIVACY_ATTACKS[name].read({"kind": name, **settings})
    assert isinstance(part, ActiveReconstructionAttack)
    return part


def seen(before: RunState, moment: RoundResult) -> tuple[Any, Any]:
    round = moment.record.round
    return server_view(moment.transcript), auxiliary_info(before.experiment, round)


def result(
    name: str, target: int = 0, spy: dict[str, Any] | None = None, **settings: Any
) -> AttackResult:
    *_, glimpse = run_active_reconstruction(
        spy_of(name, **(spy or {})), *played(**settings), target
    )
    assert glimpse.result is not None
    return glimpse.result


# --- the imprint --------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["mlp", "cnn", "lenet", "logistic"])
@pytest.mark.parametrize("bins", [16, 256])
def test_the_imprints_recall_is_the_closed_form(model: str, bins: int) -> None:
    before, moment = played(model=model)
    spy = spy_of("imprint", bins=bins, module=True)
    guess, truth = answer(spy, before, moment)
    assert len(truth) == 24
    assert recall(guess, truth) == pytest.approx(
        alone(replayed(spy, before, moment), truth), abs=0.02
    )
    assert recall(guess, truth) > 0


def test_a_models_own_neurons_do_as_well_as_a_module() -> None:
    before, moment = played()
    assert spy_of("imprint").plant(*seen(before, moment)).network == before.experiment.architecture
    guess, truth = answer(spy_of("imprint"), before, moment)
    expected = alone(replayed(spy_of("imprint"), before, moment), truth)
    assert recall(guess, truth) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_the_imprint_walks_through_secure_aggregation(model: str) -> None:
    before, moment = played(model=model, **MASKED)
    spy = spy_of("imprint", bins=512)
    guess, truth = answer(spy, before, moment)
    assert len(truth) == 24  # 4 of each of 6 clients
    assert recall(guess, truth) == pytest.approx(
        alone(replayed(spy, before, moment), truth), abs=0.02
    )
    assert recall(guess, truth) > 0.5


@pytest.mark.parametrize("epochs", [1, 4])
def test_in_several_steps_a_bin_shows_whoever_was_its_first_alone(epochs: int) -> None:
    """A bin that has moved misses what falls into it later: more is found than in one step."""
    before, moment = played(
        round=2, training__steps=0, training__batch_size=8, training__epochs=epochs
    )
    guess, truth = answer(spy_of("imprint"), before, moment)
    again = replayed(spy_of("imprint"), before, moment, 0)
    bins = fired(again, truth).sum(dim=1).tolist()
    first: dict[int, list[int]] = {}
    for batch in batches(before.experiment, 2, 0, len(truth)):
        for one in {bins[place] for place in batch} - set(first):
            first[one] = [place for place in batch if bins[place] == one]
    found = sum(len(those) == 1 for those in first.values())
    assert recall(guess, truth) == pytest.approx(found / len(truth), abs=0.02)
    assert recall(guess, truth) > alone(again, truth) + 0.1


def test_labels_are_read_with_the_pictures() -> None:
    found = result("imprint", model="cnn").score
    assert found is not None
    assert sum(each.label_right for each in found.matches) > 0.85 * len(found.matches)
    assert (
        found.labels > 0.8
    )  # of all private labels, those that did not come back counted as wrong


def test_records_of_a_table_are_imprinted_too() -> None:
    before, moment = played(
        model="logistic", data__source="heart", data__partition="natural", data__clients=4
    )
    guess, truth = answer(spy_of("imprint"), before, moment)
    assert recall(guess, truth) > 0.3


def test_edges_hold_equal_shares_of_the_public_examples() -> None:
    public = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    found = edges_of(public, 8)
    counts = torch.histc(torch.bucketize(public, found).float(), 8, 1, 8)
    assert counts.tolist() == [125.0] * 8
    same = edges_of(torch.full((9,), 0.5), 4)
    assert (same.diff() > 0).all()


def test_the_bins_pass_a_picture_on() -> None:
    layer, inputs = Bins("imprint", (1, 4, 4), 16), torch.rand(5, 1, 4, 4)
    outputs = layer([torch.rand(16, 16), torch.zeros(16)], inputs)
    assert (outputs - inputs).abs().max() <= 0.0501


# --- trap weights -------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.0, 0.8])
def test_traps_give_away_who_sets_one_off_alone(scale: float) -> None:
    before, moment = played()
    spy = spy_of("trap-weights", scale=scale)
    guess, truth = answer(spy, before, moment)
    assert recall(guess, truth) >= single(replayed(spy, before, moment), truth) - 0.02
    assert fired(replayed(spy, before, moment), truth).float().mean() < 0.3


def test_what_is_certain_is_taken_off_and_leaves_others_alone() -> None:
    before, moment = played()
    view = server_view(replayed(spy_of("trap-weights"), before, moment).transcript)
    guesses = list(spy_of("trap-weights")(view, 0, auxiliary_info(before.experiment, 1)))
    certain = [guess.objective for guess in guesses if guess.objective is not None]
    assert len(certain) > 1
    assert certain == sorted(certain, reverse=True)
    truth = private(before.experiment, 1, (0,))
    assert 1 - certain[-1] == pytest.approx(recall(guesses[-1], truth), abs=0.05)


# --- fishing ------------------------------------------------------------------------------------


def test_fishing_takes_one_class_out_of_a_batch_exactly() -> None:
    before, moment = played(training__batch_size=48)
    guess, truth = answer(spy_of("fishing"), before, moment)
    assert recall(guess, truth) == pytest.approx(len(guess.inputs) / len(truth))
    assert guess.proven
    assert len(set(guess.labels.tolist())) == 1


def test_a_single_example_of_a_class_is_fished_out_of_a_masked_sum() -> None:
    before, moment = played(**MASKED)
    guess, truth = answer(spy_of("fishing"), before, moment)
    assert len(guess.inputs) == 1
    assert recall(guess, truth) == pytest.approx(1 / len(truth))


def test_fishing_inverts_what_it_has_isolated() -> None:
    found = result("fishing", model="lenet", spy={"iterations": 100}).score
    assert found is not None
    assert len(found.matches) < 6
    assert all(each.psnr > 30 and each.label_right for each in found.matches)
    assert found.verdict.startswith("partly exact")  # the others did not come back


def test_fishing_for_a_class_that_is_not_there_says_so() -> None:
    before, moment = played(training__batch_size=2)
    labels = {"class": set(range(10))}
    federation = training_data(before.experiment, 1)
    held = federation.held(0)
    used = held[torch.from_numpy(touched(before.experiment, 1, 0, len(held)))]
    labels["class"] -= set(federation.labels[used].tolist())
    with pytest.raises(
        SettingError, match=r"has an example of class \d: choose another fishing.label"
    ):
        answer(spy_of("fishing", label=min(labels["class"])), before, moment)


# --- where they end -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("kind", ["client", "example"])
@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_noise_ends_it(name: str, kind: str, noise: float) -> None:
    target = 0
    found = result(name, target, privacy__kind=kind, privacy__noise=noise).score
    assert found is not None
    assert found.psnr < found.floor + 1
    assert found.exact == 0


@pytest.mark.parametrize("name", FAMILY)
def test_noise_under_masks_ends_it_too(name: str) -> None:
    found = result(name, privacy__kind="client", privacy__noise=0.1, **MASKED).score
    assert found is not None
    assert found.psnr < found.floor + 1
    assert found.exact == 0


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("algorithm", ["scaffold", "fedper", "fedbuff"])
def test_clients_with_a_memory_of_their_own_are_refused(name: str, algorithm: str) -> None:
    with pytest.raises(SettingError, match=f"under training.algorithm.kind {algorithm}"):
        result(name, training__algorithm=algorithm)


@pytest.mark.parametrize("name", ["imprint", "trap-weights"])
def test_without_public_examples_nothing_can_be_laid_out(name: str) -> None:
    view = seen(*played())[0]
    with pytest.raises(SettingError, match="public examples"):
        spy_of(name).plant(view, AuxiliaryInfo.nothing(view.network))


def test_traps_need_a_dense_layer_with_relu() -> None:
    spy_of("trap-weights").check(Network(Mlp(), (1, 8, 8), 10))
    with pytest.raises(SettingError, match="such as mlp; this is logistic"):
        spy_of("trap-weights").check(Experiment().changed({"model": "logistic"}).architecture)


@pytest.mark.parametrize("name", FAMILY)
def test_the_honest_clients_poisons_and_packets_are_as_in_the_run(name: str) -> None:
    """What is staged differs from the round in the model that is sent, and in nothing else."""
    before, moment = played(network__compression="half", adversary__count=1, network__dropout=0.2)
    again = replayed(
        spy_of(name, **({"module": False} if name == "imprint" else {})), before, moment
    )
    one, other = again.transcript.delivery, moment.transcript.delivery
    assert one.senders == other.senders
    assert one.bytes_up == other.bytes_up
    assert torch.equal(one.weights, other.weights)
    assert again.record == moment.record
    assert not torch.equal(again.transcript.sent, moment.transcript.sent)


# --- what a client could have noticed ------------------------------------------------------------

HONEST: list[dict[str, Any]] = [
    {},
    {"model": "cnn"},
    {"model": "logistic", "training__rate": 1.0},
    {"model": "lenet"},
    {"data__source": "heart", "data__partition": "natural", "data__clients": 4},
    {"training__rate": 2.0, "training__steps": 20},
    {"training__steps": 0, "training__epochs": 5, "data__partition": "dirichlet"},
    {"training__algorithm": "fedadam"},
    {"privacy__kind": "client", "privacy__noise": 1.0},
]


@pytest.mark.parametrize("settings", HONEST, ids=str)
def test_an_honest_round_raises_no_alarm(settings: dict[str, Any]) -> None:
    earlier: Tensor | None = None
    for round in (1, 2, 3):
        before, moment = played(round=round, **settings)
        federation = training_data(before.experiment, round)
        for client in moment.record.clients[:3]:
            view = client_view(moment.transcript, federation, client)
            assert [sign.told for sign in tampering_signs(view, view, earlier) if sign.raised] == []
        earlier = before.model


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("round", [1, 3])
def test_each_attack_could_have_been_noticed(name: str, round: int) -> None:
    noticed = raised(name, round)
    expected = {"imprint": "copies", "trap-weights": "mirrored weights", "fishing": "copies"}
    assert expected[name] in noticed


def test_a_module_is_another_architecture_than_agreed() -> None:
    assert "architecture" in raised("imprint", 1, model="cnn")
    assert (
        result("imprint", model="cnn")
        .declared["planted"]
        .startswith("a model of 38,794 parameters")
    )
    assert "architecture" not in raised("imprint", 1)


def raised(name: str, round: int, **settings: Any) -> dict[str, TamperingSign]:
    before, moment = played(round=round, **settings)
    earlier = played(round=round - 1, **settings)[0].model if round > 1 else None
    *_, glimpse = run_active_reconstruction(spy_of(name), before, moment, 0, earlier)
    assert glimpse.result is not None
    assert glimpse.result.find(TamperingSigns) is not None
    found = {sign.name: sign for sign in glimpse.result.find(TamperingSigns).signs if sign.raised}
    assert all(sign.told in glimpse.result.lines() for sign in found.values())
    return found


# --- from a store --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILY)
def test_a_stored_run_is_attacked_in_any_of_its_rounds(name: str, store: Store) -> None:
    ledger = WorkerStore(store)
    job = ledger.start(SMALL.changed({"training.rounds": 2}))
    for _ in carry_out_run(ledger, job):
        pass
    for round in (1, 2):
        *_, glimpse = start_attack(
            AttackRequest(attack=spy_of(name), round=round, client=1), StoredRun(store, job.id)
        )
        assert glimpse.result is not None
        assert glimpse.result.find(TamperingSigns) is not None
        assert ("jump" in [sign.name for sign in glimpse.result.find(TamperingSigns).signs]) == (
            round == 2
        )
        assert AttackResult.model_validate_json(glimpse.result.model_dump_json()) == glimpse.result


# --- what is on file -----------------------------------------------------------------------------


def test_on_file_the_imprint_is_its_closed_form_and_traps_find_more() -> None:
    rows = written()
    assert {len(row["recall"]) for row in rows} == {SEEDS}
    for row in rows:
        gap = [found - form for found, form in zip(row["recall"], row["closed_form"], strict=True)]
        if row["attack"] == "imprint":
            assert abs(fmean(gap)) < 0.02, row
        elif "fitted" in row["row"]:
            assert fmean(gap) > -0.02, row
