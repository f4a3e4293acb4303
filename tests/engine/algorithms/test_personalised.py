"""Personalised algorithms: what each reduces to, what never travels, and whom it helps."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from attacks import PRIVACY_ATTACKS
from lab import Experiment, run
from lab.attack_runs.reconstruction.reconstruction import run_reconstruction
from lab.common.settings import SettingError
from lab.engine.algorithms import PERSONALISED
from lab.engine.client.local_training import train_cohort
from lab.engine.data.federation import federated_dataset
from lab.engine.run import initial_state
from lab.engine.run_state import RoundResult
from lab.interfaces.federated_algorithm import LocalTask
from lab.interfaces.privacy_attacks import ReconstructionAttack
from lab.interfaces.views import server_view
from tests.support.reference_training import all_of, slope

SKEWED = Experiment.read(
    {
        "data": {
            "source": "digits",
            "clients": 6,
            "partition": {"kind": "dirichlet", "alpha": 0.2},
        },
        "training": {"rounds": 4, "batch_size": 16, "rate": 0.2},
    }
)
NAMES = [one.model_fields["kind"].default for one in PERSONALISED]


def under(kind: str, base: Experiment = SKEWED, **settings: Any) -> Experiment:
    return base.changed(
        {"training.algorithm.kind": kind}
        | {f"training.algorithm.{name}": value for name, value in settings.items()}
    )


def last(now: Experiment) -> RoundResult:
    *_, moment = run(now)
    return moment


def mean(rates: tuple[float | None, ...]) -> float:
    known = [rate for rate in rates if rate is not None]
    return sum(known) / len(known)


# --- what it reduces to -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("ditto", {}), ("fine-tune", {}), ("apfl", {}), ("ifca", {"clusters": 1})],
)
def test_the_common_model_is_fedavgs(kind: str, settings: dict[str, Any]) -> None:
    found = last(under(kind, **settings)).state.model
    assert torch.allclose(found, last(SKEWED).state.model, atol=1e-6)


def test_ditto_without_a_spring_is_everybody_alone() -> None:
    ditto, alone = last(under("ditto", pull=0.0)), last(under("local-only"))
    assert torch.allclose(
        ditto.state.carried.algorithm["own"], alone.state.carried.algorithm["own"], atol=1e-6
    )
    assert ditto.record.personal == alone.record.personal


def test_dittos_spring_holds_the_own_models_near_the_common_one() -> None:
    gaps = []
    for pull in (0.0, 0.5, 4.0):
        state = last(under("ditto", pull=pull)).state
        gaps.append(float((state.carried.algorithm["own"] - state.model).norm()))
    assert gaps[0] > 1.2 * gaps[1] > 2 * gaps[2]


def test_apfl_with_no_share_is_the_common_model_and_with_all_of_it_everybody_alone() -> None:
    nothing, all_of_it = (last(under("apfl", share=share, adaptive=False)) for share in (0.0, 1.0))
    model, algorithm = nothing.state.model, under("apfl").training.algorithm
    own = algorithm.own(model, nothing.state.carried.algorithm, range(6), SKEWED.architecture)
    assert own is not None
    assert torch.equal(own, model.expand(6, -1))
    alone = last(under("local-only")).state.carried.algorithm["own"]
    assert torch.allclose(all_of_it.state.carried.algorithm["own"], alone, atol=1e-5)


def test_apfl_learns_its_shares() -> None:
    shares = last(under("apfl")).state.carried.algorithm["share"]
    assert ((shares >= 0) & (shares <= 1)).all()
    assert (shares != 0.5).all()
    fixed = last(under("apfl", adaptive=False)).state.carried.algorithm["share"]
    assert (fixed == 0.5).all()


def test_fine_tuning_goes_on_from_the_model_that_was_sent() -> None:
    now = under("fine-tune", epochs=2)
    first, second = list(run(now))[:2]
    sent = first.state.model
    expected = sent + train_cohort(now, 2, range(6), LocalTask(sent, epochs=2)).rows
    assert torch.equal(second.state.carried.algorithm["own"], expected)


def test_perfedavgs_own_models_are_one_step_from_the_model_that_was_sent() -> None:
    now = under("perfedavg", ahead=0.3)
    sent, moment = initial_state(now).model, next(run(now))
    for client in range(6):
        expected = sent - 0.3 * slope(now, sent.double(), all_of(now, client))
        assert torch.allclose(
            moment.state.carried.algorithm["own"][client].double(), expected, atol=1e-6
        )


@pytest.mark.parametrize("kind", ["fedper", "fedrep"])
def test_first_layers_are_averaged_and_last_ones_are_each_clients(kind: str) -> None:
    now = under(kind)
    first, second = list(run(now))[:2]
    shared, weights = now.architecture.places(1), federated_dataset(now).sizes.double()
    before = first.state.carried.algorithm["own"].clone()
    before[:, :shared] = first.state.model[:shared]
    moved = second.state.carried.algorithm["own"] - before
    step = (weights / weights.sum()) @ moved[:, :shared].double()
    found = second.state.model[:shared] - first.state.model[:shared]
    assert torch.allclose(found.double(), step, atol=1e-6)
    assert moved[:, shared:].abs().amax(dim=1).min() > 0


def test_fedrep_trains_the_last_layers_first_and_for_longer() -> None:
    now, model = under("fedrep", epochs=3), initial_state(SKEWED).model
    shared = now.architecture.places(1)
    head = train_cohort(now, 1, range(6), LocalTask(model, layers=("out",), epochs=3)).rows
    body = train_cohort(now, 1, range(6), LocalTask(model + head, layers=("hidden",))).rows
    own = next(run(now)).state.carried.algorithm["own"]
    assert torch.allclose(own, model + head + body, atol=1e-6)
    assert not head[:, :shared].any()
    assert not body[:, shared:].any()


# --- what never travels -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["fedper", "fedrep"])
@pytest.mark.parametrize(
    "other",
    [
        {},
        {"secure_aggregation.enabled": True},
        {"privacy.kind": "client", "privacy.noise": 1.0, "data.partition.alpha": 100.0},
        {"network.compression": "powersgd"},
        {"adversary.count": 1, "adversary.attack": "sign-flip"},
    ],
    ids=["plain", "masks", "client", "powersgd", "malicious"],
)
def test_own_layers_are_in_no_message(kind: str, other: dict[str, Any]) -> None:
    now = under(kind).changed(other)
    moments = list(run(now))
    shared = now.architecture.places(1)
    for moment in moments:
        assert moment.transcript.delivery.rows.shape[1] == shared
        assert not server_view(moment.transcript).rows[:, shared:].any()
        assert torch.equal(moment.state.model[shared:], initial_state(now).model[shared:])
    if not other:
        assert moments[0].record.bytes_up == moments[0].record.bytes_down == 6 * 4 * shared


def test_more_layers_may_stay() -> None:
    now = under("fedper", SKEWED.changed({"model.kind": "cnn"}), layers=2)
    assert last(now).transcript.delivery.rows.shape[1] == now.architecture.places(2)
    with pytest.raises(SettingError, match="logistic has 1 layers, of which at least one"):
        under("fedper").changed({"model.kind": "logistic"})


def test_own_layers_do_not_protect_what_the_first_one_gives_away() -> None:
    """One picture behind an update: read off exactly, whatever stays with the client."""
    single = {"training.steps": 1, "training.batch_size": 1, "training.rounds": 1}
    moment = last(under("fedper").changed(single))
    *_, glimpse = run_reconstruction(PRIVACY_ATTACKS["first-layer"].read({}), moment, client=2)
    assert glimpse.result is not None
    assert glimpse.result.score is not None
    assert glimpse.result.score.verdict == "exact"


@pytest.mark.parametrize("name", ["idlg", "inverting-gradients"])
def test_an_attack_that_needs_every_layer_says_so(name: str) -> None:
    spy = PRIVACY_ATTACKS[name].read({})
    assert isinstance(spy, ReconstructionAttack)
    with pytest.raises(
        SettingError, match=f"{name} needs the gradient of every layer.*first-layer"
    ):
        list(run_reconstruction(spy, last(under("fedper")), client=0))


# --- clusters -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_ifca_finds_the_clusters_that_were_planted(seed: int) -> None:
    planted = {"data.clients": 8, "data.partition.kind": "concept", "data.partition.clusters": 2}
    chosen = last(
        under("ifca").changed({**planted, "seed": seed, "training.rounds": 6})
    ).state.carried.algorithm["chosen"]
    assert chosen.tolist() in ([0, 1] * 4, [1, 0] * 4)


def test_ifca_sends_every_model_down_and_one_update_up() -> None:
    record = next(run(under("ifca", clusters=3))).record
    assert record.bytes_down == 3 * record.bytes_up


def test_the_server_knows_which_cluster_model_each_client_trained() -> None:
    moment = next(run(under("ifca")))
    chosen = moment.state.carried.algorithm["chosen"].tolist()
    sent = [server_view(moment.transcript, client).sent for client in range(6)]
    assert set(chosen) == {0, 1}
    for one in range(6):
        for other in range(6):
            assert torch.equal(sent[one], sent[other]) == (chosen[one] == chosen[other])


def test_more_clusters_in_mid_run_begin_afresh() -> None:
    first = next(run(under("ifca")))
    *_, moment = run(under("ifca", clusters=4), first.state)
    assert len(moment.state.carried.algorithm["models"]) == 4


# --- for all of them ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", NAMES)
def test_own_models_suit_their_clients_better_than_fedavgs_does(kind: str) -> None:
    base = SKEWED.changed({"data.partition.kind": "concept"}) if kind == "ifca" else SKEWED
    own, common = last(under(kind, base)).record, last(base).record
    assert mean(own.personal) > mean(common.fairness)
    assert common.personal == ()


@pytest.mark.parametrize("kind", NAMES)
def test_who_never_took_part_has_no_model_of_its_own(kind: str) -> None:
    now = under(kind).changed({"training.clients_per_round": 2, "training.rounds": 2})
    moments = list(run(now))
    asked = {client for moment in moments for client in moment.record.clients}
    known = {k for k, rate in enumerate(moments[-1].record.personal) if rate is not None}
    assert known == asked != set(range(6))


@pytest.mark.parametrize("kind", NAMES)
def test_what_would_leave_without_noise_is_refused(kind: str) -> None:
    """The noise covers what is sent; what stays with a client needs none."""
    private = {"privacy.kind": "example", "privacy.noise": 1.0}
    if kind in ("fedrep", "perfedavg", "ifca"):
        with pytest.raises(SettingError, match=f"training.algorithm.kind {kind} has each client"):
            under(kind).changed(private)
    else:
        record = last(under(kind).changed(private)).record
        assert record.epsilon == last(SKEWED.changed(private)).record.epsilon


@pytest.mark.parametrize("settings", [{"data.partition": "feature"}, {"network.dropout": 0.5}])
@pytest.mark.parametrize("kind", NAMES)
def test_it_runs_on_shifted_data_and_over_a_bad_line(kind: str, settings: dict[str, Any]) -> None:
    record = last(under(kind).changed(settings)).record
    assert len(record.personal) == 6
    assert all(rate is None or 0 <= rate <= 1 for rate in record.personal)
