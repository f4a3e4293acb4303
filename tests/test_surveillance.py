"""A server that watches all rounds: judged by pairs, never shown the truth."""

from __future__ import annotations

import json
from dataclasses import replace
from math import nan

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from attacks.probing import cosines
from lab.attribution import attribute
from lab.engine import State
from lab.jobs import attacked, glimpses_of, pull
from lab.ledger import Ledger
from lab.lineup import Lineup, lineup
from lab.models import MODELS, Network
from lab.pairs import against_clients, against_outsiders
from lab.parts import Needs
from lab.settings import SettingError
from lab.store import Order, Store
from lab.surveillance import scored, surveil
from lab.trial import Result
from lab.views import Candidates, Watched
from tests.depth import few
from tests.watching import (
    ASKED,
    LINEAR,
    OVERFITTED,
    WATCHERS,
    ended,
    overfitted,
    spy_of,
    view_of,
    watched,
)

APART = ["fedmia", "server-lira", "source-inference"]

SEEDS = st.integers(0, 10**6)


# --- whose record it is ---------------------------------------------------------------------------


def test_owners_are_counted_by_hand() -> None:
    scores = np.array([[9.0, 1.0, 5.0, nan], [1.0, 2.0, 5.0, 0.0], [0.0, 3.0, 1.0, nan]])
    owner, labels = np.array([0, 1, 1, 2]), np.array([0, 0, 1, 1])
    counts = np.array([[6, 0], [2, 2], [0, 4]])
    found = attribute(scores, owner, labels, counts)
    assert found.right == pytest.approx(1.5 / 4)  # the third shares its first place with another
    assert [each.right for each in found.classes] == [0.5, 0.25]
    assert [each.by_label for each in found.classes] == [0.5, 0.5]
    assert found.by_label == 0.5  # the first of four, and the last
    assert found.largest == 0.25
    assert found.chance == pytest.approx(1 / 3)
    assert found.low <= found.right <= found.high
    assert found.verdict.startswith("owners are not told apart")


def test_labels_alone_are_no_success() -> None:
    owner = np.repeat([0, 1], 100)
    scores = np.eye(2)[owner].T
    found = attribute(scores, owner, owner, np.array([[100, 0], [0, 100]]))
    assert found.right == found.by_label == 1
    assert "no better than by their labels" in found.verdict
    even = attribute(scores, owner, owner * 0, np.array([[100], [100]]))
    assert even.verdict == "owners are told apart, beyond what their labels say"
    assert even.low == pytest.approx(0.025 ** (1 / 200))  # Clopper and Pearson's at 200 of 200


# --- pairs ----------------------------------------------------------------------------------------


def lined() -> Lineup:
    return lineup(OVERFITTED.at(1), Needs(shadows=1))


@given(seed=SEEDS)
def test_pairs_say_who_holds_what(seed: int) -> None:
    here, heard, drawn = lined(), np.array([0, 2, 3]), np.random.default_rng(seed)
    for find in (against_outsiders, against_clients):
        pairs = find(here, heard, None, drawn)
        holds = here.owner[pairs.candidate] == pairs.client
        assert np.array_equal(holds, pairs.member)
        assert set(pairs.client) <= {0, 2, 3}
        assert holds.sum() == 120
    outsiders = against_outsiders(here, heard, None, drawn)
    assert (here.owner[outsiders.candidate[~outsiders.member]] == -1).all()
    rivals = against_clients(here, heard, None, drawn)
    assert (here.owner[rivals.candidate[~rivals.member]] >= 0).all()
    mine = against_clients(lineup(OVERFITTED, Needs(shadows=1), 2), heard, 2, drawn)
    assert set(mine.client) == {2}
    assert (mine.member.sum(), (~mine.member).sum()) == (40, 120)


# --- promises over the table ----------------------------------------------------------------------


@pytest.mark.parametrize("name", WATCHERS)
def test_an_overfitted_federation_betrays_whose_members_are(name: str) -> None:
    found = overfitted(name)
    assert found.exposure is not None
    assert found.rivals is not None
    assert found.attribution is not None
    assert found.exposure.auc_low > 0.5
    assert found.rivals.auc_low > 0.5
    assert found.exposure.strata is not None
    assert found.attribution.low > found.attribution.chance
    assert Result.model_validate_json(found.model_dump_json()) == found
    assert any("owner named for" in line for line in found.lines())


@pytest.mark.parametrize("name", few(WATCHERS, "fedmia"))
def test_noise_that_drowns_everything_betrays_nobody(name: str) -> None:
    drowned = OVERFITTED.changed(
        {"privacy.kind": "example", "privacy.epsilon": 0.05, "privacy.delta": 1e-5,
         "training.epochs": 1, "training.rounds": 2}
    )  # fmt: skip
    found = watched(name, drowned)
    for each in (found.exposure, found.rivals):
        assert each is not None
        assert each.auc_low <= 0.5
        assert each.auc == pytest.approx(0.5, abs=0.1)  # three deviations for 160 against 160
    assert found.exposure is not None
    assert found.exposure.ceiling_auc is not None
    assert found.exposure.ceiling_auc < 0.55
    assert found.attribution is not None
    assert found.attribution.low <= found.attribution.chance


@pytest.mark.parametrize("name", few(WATCHERS, "update-cosine", *APART))
def test_under_masks_a_sum_names_nobody(name: str) -> None:
    masked = OVERFITTED.changed({"secure_aggregation.enabled": True, "training.rounds": 2})
    if name in APART:
        with pytest.raises(SettingError, match="use update-cosine or loss-trajectory"):
            watched(name, masked)
        return
    found = watched(name, masked)
    assert found.attribution is not None
    assert found.attribution.verdict.startswith("owners cannot be told apart")
    assert found.attribution.right == pytest.approx(found.attribution.chance)
    assert found.rivals is not None
    assert found.rivals.auc == 0.5  # the very same examples, with the very same scores
    assert found.exposure is not None
    assert found.exposure.auc_low > 0.5  # that somebody holds them is still to be seen


@pytest.mark.parametrize("name", WATCHERS)
def test_measurements_follow_rows_and_candidates(name: str) -> None:
    draw = torch.Generator().manual_seed(0)
    network = Network(MODELS["mlp"](), (1, 6, 6), 4)
    sent = torch.randn(network.size, generator=draw) / 9
    rows = torch.randn(5, network.size, generator=draw) / 9
    inputs, labels = torch.rand(20, 1, 6, 6, generator=draw), torch.arange(20) % 4
    spy, some, who = spy_of(name), torch.randperm(20, generator=draw), torch.tensor([3, 0, 4, 1, 2])
    one = spy.signal(view_of(network, rows, sent), Candidates(inputs, labels))
    other = spy.signal(view_of(network, rows[who], sent), Candidates(inputs[some], labels[some]))
    assert torch.allclose(one[who][:, some], other, atol=1e-5)


@pytest.mark.parametrize("name", WATCHERS)
def test_scores_follow_the_clients(name: str) -> None:
    draw, who = torch.Generator().manual_seed(0), torch.tensor([3, 0, 4, 1, 2])
    spy, signals = spy_of(name), torch.rand(6, 5, 30, generator=draw)
    own = torch.rand(4, 5, 30, generator=draw)
    holders = torch.randint(-1, 5, (4, 30), generator=draw)

    def scores(given: Tensor) -> Tensor:
        return spy(Watched(ASKED, spy.gather(given), own, holders))

    assert torch.allclose(scores(signals)[who], scores(signals[:, who]), atol=1e-5)


@pytest.mark.parametrize("name", WATCHERS)
def test_who_is_a_member_changes_no_score(name: str) -> None:
    """The judge alone reads who holds what."""
    state, here = ended(OVERFITTED.changed({"training.rounds": 1})), lined()
    liars = replace(here, owner=np.roll(here.owner, 33), counted=~here.counted)
    one, other = (list_scores(name, state, each) for each in (here, liars))
    assert torch.equal(one, other)


def list_scores(name: str, state: State, here: Lineup) -> Tensor:
    steps = scored(spy_of(name), state, here)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Tensor = end.value.scores
            return found


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"model.kind": "cnn"}, marks=pytest.mark.deep),
        pytest.param(
            {"data.source": "chat", "model.kind": "keyboard"}, marks=pytest.mark.deep
        ),
        {"data.source": "heart", "data.clients": 4, "model.kind": "logistic"},
        pytest.param({"training.algorithm": "fedrep"}, marks=pytest.mark.deep),
        pytest.param({"training.algorithm": "fedbuff"}, marks=pytest.mark.deep),
        {"training.clients_per_round": 3, "network.dropout": 0.3},
    ],
    ids=lambda settings: " ".join(map(str, settings.values())),
)  # fmt: skip
def test_whatever_the_run_the_server_watches(settings: dict[str, object]) -> None:
    short = OVERFITTED.changed({"training.rounds": 2, "training.epochs": 1} | settings)
    found = watched("update-cosine", short)
    assert found.exposure is not None
    assert found.exposure.members > 0


# --- as a job -------------------------------------------------------------------------------------


def test_a_stored_run_is_watched_and_the_result_kept(store: Store) -> None:
    ledger = Ledger(store)
    job = ledger.start(OVERFITTED.changed({"training.rounds": 2}))
    list(pull(ledger, job))
    order = Order.read({"spy": "fedmia", "round": 2, "client": 1})
    attack = ledger.start_attack(job.id, order)
    glimpses = list(attacked(ledger, attack))
    assert [glimpse.step for glimpse in glimpses] == [1, 2, 3]
    kept = store.job(attack.id).result
    assert kept is not None
    assert kept["exposure"]["members"] == 40
    assert json.dumps(kept)
    (again,) = [each.result for each in glimpses_of(store, job.id, order) if each.result]
    assert again.dump() == kept


def test_what_cannot_be_repeated_is_not_ordered(store: Store) -> None:
    secret = OVERFITTED.changed(
        {"privacy.kind": "example", "privacy.secure_noise": True, "training.rounds": 1}
    )
    ledger = Ledger(store)
    job = ledger.start(secret)
    list(pull(ledger, job))
    with pytest.raises(SettingError, match=r"cannot be replayed: privacy\.secure_noise"):
        store.attack(job.id, Order.read({"spy": "fedmia", "round": 1}))


def test_another_run_than_the_stored_one_is_not_watched() -> None:
    state = ended(OVERFITTED.changed({"training.rounds": 1}))
    other = replace(state, model=state.model + 0.1)
    with pytest.raises(SettingError, match="another model than the one that is stored"):
        list(surveil(spy_of("update-cosine"), other))


def test_where_nothing_travels_there_is_nothing_to_watch() -> None:
    state = ended(OVERFITTED.changed({"training.algorithm": "local-only", "training.rounds": 1}))
    with pytest.raises(SettingError, match="nothing is sent"):
        list(surveil(spy_of("update-cosine"), state))


def test_too_much_to_keep_is_refused_before_the_work() -> None:
    many = OVERFITTED.changed({"data.source": "fashion-mnist", "training.rounds": 500})
    long = State(500, torch.zeros(1), many.changed({"data.examples": 10_000}))
    with pytest.raises(SettingError, match=r"would keep .* GiB.*choose a round before"):
        next(surveil(spy_of("server-lira", shadows=128), long))


def test_cosines_of_nothing_are_zero() -> None:
    assert cosines(view_of(LINEAR, torch.zeros(2, 6)), ASKED).tolist() == [[0.0] * 3] * 2
