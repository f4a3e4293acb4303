"""Secrets that clients typed: how far up they come in the model that was trained on them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product
from math import log2

import numpy as np
import pytest
import torch
from torch import Tensor

from attacks.secret_exposure import Exposure
from lab import Experiment, figures
from lab.attack_runs.dispatch import start_attack
from lab.attack_runs.secret_canaries import NOBODY, canaries, opening_of, typed
from lab.attack_runs.secret_extraction import asked_of, ceiling, run_secret_extraction
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.common.settings import SettingError
from lab.engine.data.federation import federated_dataset
from lab.engine.data.injected_examples import with_injected_examples
from lab.engine.run import initial_state
from lab.interfaces.attack_data import CanaryPrefix
from lab.interfaces.privacy_attacks import SecretExtractionAttack
from lab.interfaces.views import OutsiderView
from lab.jobs.run_job import carry_out_run
from lab.models.architectures import Model
from lab.models.network import Network
from lab.privacy.guarantee import PrivacyGuarantee
from lab.scoring.attack_result import AttackProgress, AttackResult
from lab.scoring.secret_score import (
    LUCK,
    SecretExposureScore,
    SecretGroup,
    bits_of,
    fitted,
    luck,
    lucky,
    rank,
    verdict,
)
from lab.storage.replay import StoredRun
from lab.storage.store import Store
from lab.storage.worker_store import WorkerStore
from tests.support.data import no_data_of_the_user as no_data_of_the_user

SPY = Exposure(canaries=4, copies=16, length=2)
TYPED = {
    "data.source": "chat",
    "data.clients": 4,
    "data.examples": 600,
    "model": {"kind": "keyboard", "width": 16, "hidden": 32},
    "training.rounds": 8,
    "training.rate": 0.5,
}


def chat(**settings: object) -> Experiment:
    changes = {path.replace("__", "."): value for path, value in settings.items()}
    return Experiment().changed(TYPED | changes)


def glimpses(
    now: Experiment, spy: Exposure = SPY, client: int | None = None
) -> list[AttackProgress]:
    """As if the run itself had been trained: only its experiment and its rounds count."""
    return list(
        run_secret_extraction(spy, replace(initial_state(now), round=now.training.rounds), client)
    )


@cache
def plain() -> tuple[AttackProgress, ...]:
    return tuple(glimpses(chat()))


def found(last: AttackProgress) -> SecretExposureScore:
    assert last.result is not None
    assert last.result.score is not None
    return last.result.score


# --- by hand ------------------------------------------------------------------------------------


def test_exposure_is_the_bits_by_which_a_rank_shrinks_the_search() -> None:
    costs = torch.tensor([3.0, 1.0, 2.0, 7.0, 5.0, 6.0, 4.0, 8.0])
    assert [rank(own, costs) for own in (1.0, 2.0, 8.0)] == [1, 2, 8]
    assert [bits_of(place, 8) for place in (1, 2, 8)] == [3.0, 2.0, 0.0]


def test_ties_and_overflow_count_against_a_secret() -> None:
    """A model that finds everything equally likely tells nothing."""
    assert rank(1.0, torch.ones(8)) == 8
    assert rank(float("nan"), torch.tensor([1.0, float("nan")])) == 2
    assert rank(1.0, torch.tensor([1.0, float("nan"), float("-inf")])) == 2


def toy() -> tuple[OutsiderView, Tensor]:
    """A model of one dense layer over the last word of two, of four words."""
    network = Network(Model.pick("logistic"), (2,), 4)
    chances = torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]])
    flat = torch.zeros(network.size)
    parts = network.split(flat)
    # Word 1 in the last place gives the second row, word 0 the first; words are given as numbers.
    parts["out.weight"][:, 1] = (chances[1] / chances[0]).log()
    parts["out.bias"][:] = chances[0].log()
    return OutsiderView(1, network, flat), chances


def test_the_cost_of_a_secret_is_the_bits_of_its_words_one_after_the_other() -> None:
    view, chances = toy()
    opening = CanaryPrefix(torch.tensor([[3.0, 1.0]]), torch.tensor([0, 1]), 2)
    secrets = torch.tensor(list(product([0, 1], repeat=2)))
    costs = Exposure(length=1)(view, opening, secrets)
    by_hand = [-log2(float(chances[1, one] * chances[one, two])) for one, two in secrets.tolist()]
    assert costs.tolist() == pytest.approx(by_hand, abs=1e-5)


def test_search_finds_what_the_model_goes_on_with() -> None:
    """After 1 comes 3 (.4), and after 3, which counts three times as much as 1, 3 again."""
    view, _ = toy()
    opening = CanaryPrefix(torch.tensor([[3.0, 1.0]]), torch.tensor([0, 1]), 2)
    every = torch.tensor(list(product(range(4), repeat=2)))
    costs = Exposure(length=1)(view, opening, every)
    best = Exposure(length=1, beams=16).search(view, opening)
    assert best[0].tolist() == every[costs.argmin()].tolist() == [3, 3]
    assert [tuple(row) for row in best.tolist()] == [
        tuple(every[place].tolist()) for place in costs.argsort()
    ]


def test_several_contexts_are_averaged() -> None:
    view, _ = toy()
    alphabet, secrets = torch.tensor([0, 1]), torch.tensor([[0], [1]])
    apart = [
        Exposure(length=1)(view, CanaryPrefix(torch.tensor([[0.0, word]]), alphabet, 1), secrets)
        for word in (0.0, 1.0)
    ]
    both = CanaryPrefix(torch.tensor([[0.0, 0.0], [0.0, 1.0]]), alphabet, 1)
    mean = Exposure(length=1)(view, both, secrets)
    assert torch.allclose(mean, (apart[0] + apart[1]) / 2, atol=1e-6)


# --- what is inserted ---------------------------------------------------------------------------


def test_a_client_types_its_secrets_as_often_as_they_say_and_keeps_its_size() -> None:
    now = chat()
    chosen = canaries(now, SPY.inserted())
    before, after = (
        federated_dataset(now),
        federated_dataset(with_injected_examples(now, typed(now, chosen))),
    )
    assert torch.equal(before.sizes, after.sizes)
    assert [canary.copies for canary in chosen[::4]] == [0, 1, 4, 16]
    for canary in chosen:
        text = torch.cat([canary.opening, canary.digits.float()])
        whole = (after.inputs[:, -6:] == text[:6]).all(dim=1) & (after.labels == canary.digits[-1])
        owners = {client for client in after.everyone if bool(whole[after.held(client)].any())}
        assert int(whole.sum()) == canary.copies
        assert owners == ({canary.client} if canary.copies else set())
        assert canary.copies or canary.client == NOBODY


def test_before_a_secret_stand_the_clients_own_words() -> None:
    now = chat()
    (canary,) = (one for one in canaries(now, SPY.inserted())[4:5])
    windows, following = canary.windows(torch.arange(100.0, 116.0))
    assert following.tolist() == canary.digits.tolist()
    assert windows[0].tolist() == [*range(105, 116), *canary.opening.tolist()]
    assert windows[1].tolist() == [
        *range(106, 116),
        *canary.opening.tolist(),
        float(canary.digits[0]),
    ]


def test_secrets_begin_each_with_a_word_of_its_own_which_the_attacker_knows() -> None:
    now = chat()
    chosen = canaries(now, SPY.inserted())
    assert len({tuple(canary.opening.tolist()) for canary in chosen}) == len(chosen)
    opening = opening_of(now, chosen[0])
    assert torch.equal(opening.before[:, -5:], chosen[0].opening.expand(4, -1))
    assert [now.data.source.classes[word] for word in opening.alphabet] == list("0123456789")


def test_one_client_types_all_if_it_is_named() -> None:
    chosen = canaries(chat(), SPY.inserted(), client=2)
    assert {canary.client for canary in chosen if canary.copies} == {2}


def test_too_many_secrets_and_other_data_are_refused() -> None:
    now = chat()
    with pytest.raises(SettingError, match=r"client 2 holds 150 examples, and its secrets take"):
        typed(now, canaries(now, SPY.inserted(), client=2))
    with pytest.raises(SettingError, match=r"use data\.source chat"):
        canaries(Experiment().changed({"data.source": "digits"}), SPY.inserted())
    with pytest.raises(SettingError, match=r"exposure\.length is 12"):
        Exposure(length=12).check(Network(Model.pick("keyboard"), (12,), 10))


# --- what luck gives ----------------------------------------------------------------------------


def test_secrets_that_were_never_inserted_have_every_rank_equally_often() -> None:
    """Whatever the model: their digits are independent of it."""
    from scipy.stats import chisquare

    now = chat()
    model = now.architecture.initial(np.random.default_rng(0))
    view = OutsiderView(1, now.architecture, model)
    chosen = canaries(now, Exposure(canaries=64, copies=1, length=2).inserted())
    asked = asked_of(now, SPY)
    ranks = []
    for canary in chosen:
        costs = SPY(view, opening_of(now, canary), asked)
        drawn = (asked == canary.digits).all(dim=1).nonzero().flatten()
        ranks.append(rank(float(costs[int(drawn[0])]), costs))
    counts = np.bincount((np.array(ranks) - 1) // 20, minlength=5)
    assert chisquare(counts).pvalue > 0.001
    assert np.mean([bits_of(place, 100) for place in ranks]) == pytest.approx(LUCK, abs=0.5)


def test_the_chance_of_luck_is_never_understated() -> None:
    """Against 20,000 groups of eight uniform ranks among a thousand."""
    drawn = np.random.default_rng(0).integers(1, 1001, size=(20_000, 8))
    means = (log2(1000) - np.log2(drawn)).mean(axis=1)
    chances = np.array([luck(float(mean), 8) for mean in means[:4000]])
    for level in (0.5, 0.1, 0.01):
        assert (chances <= level).mean() <= level + 3 * (level * (1 - level) / 4000) ** 0.5
    low, high = lucky(8)
    assert ((low <= means) & (means <= high)).mean() == pytest.approx(0.95, abs=0.01)
    assert means.mean() == pytest.approx(LUCK, abs=0.03)


def test_an_estimate_agrees_with_the_exact_rank() -> None:
    """Of 2 million skewed costs, a sample of 10,000 is seen."""
    from scipy.stats import skewnorm

    law = skewnorm(3.0, 20.0, 4.0)
    sample = law.rvs(10_000, random_state=np.random.default_rng(1))
    for own in law.ppf([0.5, 0.01, 1e-4]):
        exposure, distance = fitted(float(own), sample, 1e9)
        assert exposure == pytest.approx(-log2(float(law.cdf(own))), rel=0.25)
        assert distance < 0.02
    assert fitted(-1e6, sample, 1e9)[0] == log2(1e9)
    assert fitted(float(law.ppf(1e-4)), sample**2, 1e9)[1] > 0.02  # another law fits worse


# --- what training does -------------------------------------------------------------------------


def test_the_more_often_a_secret_is_typed_the_more_it_is_exposed() -> None:
    never, once, four, sixteen = found(plain()[-1]).groups
    assert sixteen.mean > four.mean > once.mean
    assert sixteen.luck < 0.001 < never.luck
    assert sixteen.first >= 3
    assert sixteen.followed >= sixteen.continued >= 2
    assert never.first == never.continued == 0
    assert "stand out" in found(plain()[-1]).verdict


def test_under_a_clients_epsilon_of_one_secrets_are_exposed_no_more_than_by_luck() -> None:
    protected = found(glimpses(chat(privacy__kind="client", privacy__epsilon=1.0))[-1])
    assert all(group.luck > 0.01 for group in protected.groups)
    assert all(group.mean < group.ceiling for group in protected.groups if group.ceiling)
    assert "no better than luck" in protected.verdict


def test_an_examples_epsilon_of_one_covers_a_secret_typed_once_and_not_sixteen_times() -> None:
    """It speaks of a window, and that secret is 32 of them."""
    protected = found(glimpses(chat(privacy__kind="example", privacy__epsilon=1.0))[-1])
    _, once, _, sixteen = protected.groups
    assert once.luck > 0.01 > sixteen.luck
    assert sixteen.mean < found(plain()[-1]).groups[-1].mean
    assert "protects a single window" in protected.lines()[-1]
    assert {group.ceiling for group in protected.groups} == {None}


def test_the_ceiling_holds_for_a_client_and_grows_with_epsilon() -> None:
    """With epsilon 0 it is what luck gives: log2 of e at most, less what ranks cannot resolve."""

    def of(epsilon: float) -> float:
        guarantee = PrivacyGuarantee.model_construct(
            epsilon=epsilon, delta=0.0, profile=(), unit="client"
        )
        most = ceiling(guarantee, 10.0)
        assert most is not None
        return most

    assert of(0.0) == pytest.approx(LUCK * (1 - 2**-10), abs=0.01)
    assert of(0.0) < of(0.5) < of(2.0) <= 10.0
    assert ceiling(None, 10.0) is None


def test_the_run_itself_is_left_alone_and_the_same_seed_gives_the_same_secrets() -> None:
    now = chat(training__rounds=1)
    pool = federated_dataset(now).inputs.clone()
    small = Exposure(canaries=2, copies=1, length=1)
    first, again = (glimpses(now, small)[-1].result for _ in range(2))
    assert first == again
    assert torch.equal(federated_dataset(now).inputs, pool)
    other = glimpses(chat(training__rounds=1, seed=1), small)[-1].result
    assert other is not None
    assert first is not None
    assert other.score != first.score


def test_a_long_secret_is_estimated_and_says_so() -> None:
    now = chat(training__rounds=1)
    last = glimpses(now, Exposure(canaries=2, copies=1, length=6))[-1]
    record = found(last)
    assert record.space == 1e6
    assert record.estimated is not None
    assert any("an estimate" in line for line in record.lines())
    assert not any("an estimate" in line for line in found(plain()[-1]).lines())


# --- how it runs --------------------------------------------------------------------------------


def test_there_is_a_glimpse_for_each_round_and_each_secret() -> None:
    seen = plain()
    assert [glimpse.step for glimpse in seen] == list(range(1, 8 + 16 + 1))
    assert {glimpse.steps for glimpse in seen} == {8 + 16}
    assert [glimpse.result is not None for glimpse in seen] == [False] * 23 + [True]


def test_a_result_survives_json_and_says_that_the_run_was_repeated() -> None:
    result = plain()[-1].result
    assert result is not None
    assert AttackResult.model_validate_json(result.model_dump_json()) == result
    told = "\n".join(result.lines())
    assert "the run itself was left as it is" in told
    assert "inserted 16 times: exposure" in told
    assert "most exposed: my " in told


def test_what_stands_out_is_said_by_the_fewest_copies() -> None:
    def group(copies: int, chance: float) -> SecretGroup:
        return SecretGroup(
            copies=copies, exposures=(1.0,), mean=1.0, low=0.0, high=2.0, luck=chance,
            first=0, continued=0, followed=0,
        )  # fmt: skip

    assert "typed once" in verdict((group(0, 0.5), group(1, 1e-9), group(4, 1e-9)))
    assert "typed 4 times" in verdict((group(0, 1e-9), group(1, 0.02), group(4, 1e-9)))
    assert "no better than luck" in verdict((group(0, 1e-9), group(1, 0.006), group(4, 0.006)))


def test_the_figure_shows_each_secret_and_what_luck_gives() -> None:
    record = found(plain()[-1])
    figure = figures.secrets(record)
    points, means = figure.data
    assert len(points.y) == 16
    assert list(means.y) == [group.mean for group in record.groups]
    assert list(means.x) == ["never", "once", "4 times", "16 times"]
    band, top = figure.layout.shapes
    assert (band.y0, band.y1) == lucky(4)
    assert top.y0 == record.bits


def test_it_is_an_attack_on_a_stored_run(tmp_path: object) -> None:
    store = Store(f"sqlite:///{tmp_path}/lab.db")
    ledger = WorkerStore(store)
    job = ledger.start(chat(training__rounds=1))
    list(carry_out_run(ledger, job))
    order = AttackRequest(attack=Exposure(canaries=2, copies=1, length=1), round=1)
    assert isinstance(order.attack, SecretExtractionAttack)
    *_, last = start_attack(order, StoredRun(store, job.id))
    assert found(last).groups[1].copies == 1
