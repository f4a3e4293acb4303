"""What privacy does to updates: clipping, noise and release; sampling; example-level steps."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from math import ceil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, chi2, chisquare, kstest
from torch import Tensor, nn

from defenses import STAGES
from lab import Experiment, run
from lab.assembly import assemble
from lab.batches import batches
from lab.cohorts import asked, lost
from lab.engine import Moment, begin, step
from lab.exchange import stages
from lab.federation import as_floats
from lab.local import Guard, cohort
from lab.models import MODELS, Network
from lab.passes import descend_clipped, flattened, stacked, visits
from lab.rng import normal, stream
from lab.wire import Cohort

SEEDS = st.integers(0, 10**6)
PARAMS = 20_000
UNLIKELY = 1e-4  # draws have names: what passes today passes always
# Relative error of a variance of PARAMS draws, five times over.
VARIANCE_ERROR = 5 * (2 / PARAMS) ** 0.5


# --- what the tests share -------------------------------------------------------------------------


def rows_of(seed: int, clients: int, params: int = 7) -> Tensor:
    return torch.randn(clients, params, generator=torch.Generator().manual_seed(seed))


def cohort_of(
    clients: Sequence[int], gone: Sequence[int] = (), round: int = 1, expected: float = 5.0
) -> Cohort:
    return Cohort(
        seed=0,
        round=round,
        clients=tuple(clients),
        weights=torch.ones(len(clients)),
        malicious=torch.zeros(len(clients), dtype=torch.bool),
        lost=torch.tensor([client in gone for client in clients], dtype=torch.bool),
        expected=expected,
    )


def noise_of(clients: Sequence[int], round: int = 1, deviation: float = 1.0) -> Tensor:
    """What noise adds to the rows of those clients.  -> (clients, PARAMS)"""
    stage = STAGES["noise"](deviation=deviation)
    return stage(torch.zeros(len(clients), PARAMS), cohort_of(clients, round=round))


def is_normal(draws: Tensor, deviation: float) -> bool:
    return bool(kstest(draws.numpy() / deviation, "norm").pvalue > UNLIKELY)


def correlation(one: Tensor, other: Tensor) -> float:
    return float(F.cosine_similarity(one.double(), other.double(), dim=0))


def looks_like_coin_flips(drawn: np.ndarray, chance: float) -> bool:
    """Whether in drawn (times, things) each thing came up with that chance, independently."""
    times, things = drawn.shape
    standard = (drawn - chance) / (chance * (1 - chance)) ** 0.5
    single = (standard.sum(axis=0) ** 2 / times).sum()
    pairs = (standard.T @ standard) ** 2 / times
    together = pairs[np.triu_indices(things, 1)].sum()
    in_a_row = ((standard[1:] * standard[:-1]).sum(axis=0) ** 2 / (times - 1)).sum()
    return (
        chi2.sf(single, things) > UNLIKELY
        and chi2.sf(together, things * (things - 1) / 2) > UNLIKELY
        and chi2.sf(in_a_row, things) > UNLIKELY
        and _sizes_are_binomial(drawn, chance)
    )


def _sizes_are_binomial(drawn: np.ndarray, chance: float) -> bool:
    """Draws of a fixed size would pass the other tests."""
    times, things = drawn.shape
    expected = times * binom.pmf(np.arange(things + 1), things, chance)
    found = np.bincount(drawn.sum(axis=1), minlength=things + 1)
    often = expected >= 5  # the others are counted as one
    counts = [np.append(c[often], c[~often].sum()) for c in (found, expected)]
    return bool(chisquare(*counts).pvalue > UNLIKELY)


# --- clip -----------------------------------------------------------------------------------------


def test_clip_shortens_the_long_and_leaves_the_short() -> None:
    rows = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0], [-6.0, 8.0]])
    clipped = STAGES["clip"](bound=1.0)(rows, cohort_of(range(4)))
    expected = torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0], [-0.6, 0.8]])
    assert torch.allclose(clipped, expected)
    assert torch.equal(clipped[1:3], rows[1:3])


@given(seed=SEEDS, bound=st.floats(1e-3, 1e3), size=st.floats(1e-6, 1e6))
def test_clipped_rows_are_within_the_bound_and_point_where_they_did(
    seed: int, bound: float, size: float
) -> None:
    rows = size * rows_of(seed, 6)
    clipped = STAGES["clip"](bound=bound)(rows, cohort_of(range(6)))
    before, after = rows.norm(dim=1), clipped.norm(dim=1)
    assert (after <= bound * (1 + 1e-6)).all()
    short = before <= bound
    assert torch.equal(clipped[short], rows[short])
    assert torch.allclose(after[~short], torch.tensor(bound), rtol=1e-5)
    assert torch.allclose(F.cosine_similarity(rows, clipped), torch.ones(6), atol=1e-5)


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("clients", [1, 5])
def test_a_stage_keeps_the_rows_and_leaves_its_input_alone(name: str, clients: int) -> None:
    rows = rows_of(3, clients)
    before = rows.clone()
    out = STAGES[name]()(rows, cohort_of(range(clients), gone=[0]))
    assert (out.shape, out.dtype) == (rows.shape, rows.dtype)
    out.zero_()
    assert torch.equal(rows, before)


@pytest.mark.parametrize("name", ["clip", "noise"])
def test_an_empty_cohort_has_no_rows_to_change(name: str) -> None:
    assert STAGES[name]()(torch.zeros(0, 7), cohort_of([])).shape == (0, 7)


# --- noise ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("clients", [1, 2, 7, 30])
@pytest.mark.parametrize("deviation", [0.1, 4.0])
def test_the_sum_carries_the_whole_noise_however_many_make_it(
    clients: int, deviation: float
) -> None:
    added = noise_of(range(clients), deviation=deviation)
    total = added.sum(dim=0)
    assert float(total.var()) == pytest.approx(deviation**2, rel=VARIANCE_ERROR)
    assert is_normal(total, deviation)
    for one in added:
        assert float(one.var()) == pytest.approx(deviation**2 / clients, rel=VARIANCE_ERROR)


def test_noise_is_added_to_the_rows() -> None:
    rows, party = rows_of(0, 3), cohort_of([4, 5, 6])
    stage = STAGES["noise"](deviation=0.5)
    assert torch.allclose(stage(rows, party), rows + stage(torch.zeros(3, 7), party))
    assert torch.equal(STAGES["noise"](deviation=0)(rows, party), rows)


def test_every_client_and_every_round_has_noise_of_its_own() -> None:
    draws = [*noise_of([0, 1, 2]), *noise_of([0, 1, 2], round=2)]
    for place, one in enumerate(draws):
        for other in draws[:place]:
            assert abs(correlation(one, other)) < 5 / PARAMS**0.5


def test_noise_is_the_same_on_repeat_and_in_whatever_company() -> None:
    assert torch.equal(noise_of([0, 1, 2]), noise_of([0, 1, 2]))
    alone, among = noise_of([2])[0], noise_of([0, 1, 2, 9])[2]
    assert torch.allclose(alone, among * 2)  # one of four makes a quarter of the variance


# --- release --------------------------------------------------------------------------------------


def test_release_divides_the_sum_by_the_expected_cohort() -> None:
    rows = torch.tensor([[2.0, 4.0], [4.0, 8.0]])
    released = STAGES["release"](deviation=1e6)(rows, cohort_of([0, 1], expected=4.0))
    assert released.mean(dim=0).tolist() == [1.5, 3.0]


@given(seed=SEEDS, clients=st.integers(1, 9), expected=st.floats(1, 20))
def test_where_nobody_is_lost_no_noise_is_missing(seed: int, clients: int, expected: float) -> None:
    rows = rows_of(seed, clients)
    released = STAGES["release"]()(rows, cohort_of(range(clients), expected=expected))
    assert torch.allclose(released.mean(dim=0), rows.sum(dim=0) / expected, atol=1e-6)


@given(seed=SEEDS, gone=st.integers(0, 4))
def test_one_masked_row_is_released_like_the_rows_behind_it(seed: int, gone: int) -> None:
    rows, party = rows_of(seed, 5)[gone:], cohort_of(range(5), gone=range(gone))
    stage = STAGES["release"]()
    together = stage(rows.mean(dim=0, keepdim=True), party)
    assert torch.allclose(together[0], stage(rows, party).mean(dim=0), atol=1e-6)


@pytest.mark.parametrize("gone", range(6))
def test_the_released_noise_is_whole_whoever_is_lost(gone: int) -> None:
    deviation, expected = 3.0, 4.0
    party = cohort_of(range(5), gone=range(gone), expected=expected)
    arrived = noise_of(range(5), deviation=deviation)[gone:]
    rows = arrived if len(arrived) else torch.zeros(1, PARAMS)
    released = STAGES["release"](deviation=deviation)(rows, party).mean(dim=0) * expected
    assert float(released.var()) == pytest.approx(deviation**2, rel=VARIANCE_ERROR)
    assert is_normal(released, deviation)


def test_nobodys_sum_is_released_with_the_whole_noise() -> None:
    released = STAGES["release"](deviation=2.0)(torch.zeros(1, PARAMS), cohort_of([]))[0]
    assert is_normal(released * 5.0, 2.0)


def test_the_missing_noise_is_nobodys_and_another_one_every_round() -> None:
    stage, zeros = STAGES["release"](), torch.zeros(1, PARAMS)
    missing = [stage(zeros, cohort_of(range(3), range(3), round))[0] for round in (1, 2)]
    draws = [*missing, *noise_of(range(3))]
    assert torch.equal(missing[0], stage(zeros, cohort_of(range(3), range(3)))[0])
    for place, one in enumerate(draws):
        for other in draws[:place]:
            assert abs(correlation(one, other)) < 5 / PARAMS**0.5


# --- sampling of clients --------------------------------------------------------------------------

CLIENTS = Experiment().changed(
    {
        "data.source": "digits",
        "data.clients": 12,
        "model.kind": "logistic",
        "training.clients_per_round": 4,
        "training.rounds": 8,
        "training.steps": 2,
        "training.rate": 0.5,
        "privacy.kind": "client",
        "privacy.clip": 0.4,
        "privacy.noise": 0.7,
    }
)
TIMES = 3000


def drawn_clients(experiment: Experiment) -> np.ndarray:
    """Who is asked in each of many rounds.  -> (TIMES, clients) bool"""
    drawn = np.zeros((TIMES, experiment.data.clients), dtype=bool)
    for round in range(1, TIMES + 1):
        drawn[round - 1, list(asked(experiment, round))] = True
    return drawn


def test_under_client_privacy_every_client_is_asked_by_a_coin_of_its_own() -> None:
    assert looks_like_coin_flips(drawn_clients(CLIENTS), 4 / 12)


@pytest.mark.parametrize("kind", ["none", "example"])
def test_otherwise_a_cohort_has_its_size_and_everybody_the_same_chance(kind: str) -> None:
    drawn = drawn_clients(CLIENTS.changed({"privacy.kind": kind}))
    assert set(drawn.sum(axis=1)) == {4}
    assert chisquare(drawn.sum(axis=0)).pvalue > UNLIKELY
    assert not looks_like_coin_flips(drawn, 4 / 12)


@pytest.mark.parametrize("kind", ["none", "example", "client"])
def test_where_all_are_asked_nobody_is_left_out(kind: str) -> None:
    everybody = CLIENTS.changed({"privacy.kind": kind, "training.clients_per_round": 0})
    assert {asked(everybody, round) for round in range(1, 50)} == {tuple(range(12))}


@pytest.mark.parametrize("kind", ["none", "client"])
def test_clients_are_asked_in_order_and_the_same_on_repeat(kind: str) -> None:
    experiment = CLIENTS.changed({"privacy.kind": kind})
    cohorts = [asked(experiment, round) for round in range(1, 50)]
    assert cohorts == [asked(experiment, round) for round in range(1, 50)]
    assert all(list(found) == sorted(set(found)) for found in cohorts)


def test_every_client_is_lost_by_a_coin_of_its_own() -> None:
    experiment = CLIENTS.changed({"network.dropout": 0.3})
    drawn = np.zeros((TIMES, 12), dtype=bool)
    for round in range(TIMES):
        drawn[round, list(lost(experiment, round))] = True
    assert looks_like_coin_flips(drawn, 0.3)
    assert not (drawn & drawn_clients(CLIENTS)).all()


# --- client-level privacy as a whole --------------------------------------------------------------


def test_the_engine_clips_and_adds_noise_before_the_wire_and_releases_behind_it() -> None:
    before, behind = stages(CLIENTS, 1, "client"), stages(CLIENTS, 1, "server")
    assert [stage.dump() for stage in before] == [
        {"kind": "clip", "bound": 0.4},
        {"kind": "noise", "deviation": pytest.approx(0.28)},
    ]
    assert [stage.dump() for stage in behind] == [
        {"kind": "release", "deviation": pytest.approx(0.28)}
    ]


@pytest.mark.parametrize("kind", ["none", "example"])
@pytest.mark.parametrize("side", ["client", "server"])
def test_without_client_privacy_there_are_no_stages(kind: str, side: str) -> None:
    assert stages(CLIENTS.changed({"privacy.kind": kind}), 1, side) == []


def slow_step(experiment: Experiment, moment: Moment) -> Tensor:
    """(Sum of the clipped updates that arrived + noise) / expected cohort, one by one."""
    record, privacy, seed = moment.record, experiment.privacy, experiment.seed
    clients, sent = record.clients, moment.transcript.sent
    deviation = privacy.noise * privacy.clip
    total = torch.zeros_like(sent)
    for client, row in zip(
        clients, cohort(experiment, record.round, clients, sent).rows, strict=True
    ):
        if client not in record.lost:
            total += row * min(1.0, privacy.clip / float(row.norm()))
            own = normal(stream(seed, "noise", record.round, client), len(row))
            total += deviation / len(clients) ** 0.5 * own
    share = len(record.lost) / len(clients) if clients else 1.0
    missing = normal(stream(seed, "missing noise", record.round), len(sent))
    return (total + deviation * share**0.5 * missing) / experiment.cohort_size


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_a_run_under_client_privacy_is_what_a_slow_loop_makes_of_it(dropout: float) -> None:
    experiment = CLIENTS.changed({"network.dropout": dropout})
    for moment in run(experiment):
        released = moment.transcript.released - moment.transcript.sent
        assert torch.allclose(released, slow_step(experiment, moment), atol=1e-6)


def test_masks_do_not_change_what_client_privacy_releases() -> None:
    """But for the rounds in which too few came, where the noise stands alone."""
    experiment = CLIENTS.changed({"network.dropout": 0.4, "secure_aggregation.enabled": True})
    notes = []
    for moment in run(experiment):
        released = moment.transcript.released - moment.transcript.sent
        assert torch.allclose(released, slow_step(experiment, moment), atol=1e-5)
        notes.append(moment.record.note)
    assert any("aborted" in note for note in notes)
    assert "" in notes


def release_of(experiment: Experiment, round: int) -> Tensor:
    """The step of that round, times the expected cohort: a sum."""
    start = begin(experiment)
    moment = step(type(start)(round - 1, start.model, experiment))
    released = moment.transcript.released - moment.transcript.sent
    return released * experiment.cohort_size


def test_an_empty_cohort_still_releases_the_noise() -> None:
    rare = CLIENTS.changed({"training.clients_per_round": 1, "training.rounds": 200})
    empty = [round for round in range(1, 200) if not asked(rare, round)][:5]
    assert len(empty) == 5
    for round in empty:
        assert is_normal(release_of(rare, round), 0.7 * 0.4)


def test_an_aborted_round_still_releases_the_noise() -> None:
    masked = CLIENTS.changed({"secure_aggregation.enabled": True, "network.dropout": 0.9})
    moment = next(run(masked))
    assert "aborted" in moment.record.note
    assert moment.record.lost == moment.record.clients
    assert is_normal(release_of(masked, 1), 0.7 * 0.4)


def test_a_round_that_loses_everybody_still_releases_the_noise() -> None:
    silent = CLIENTS.changed({"network.dropout": 0.95})
    who = {round: (set(asked(silent, round)), set(lost(silent, round))) for round in range(1, 30)}
    rounds = [round for round, (here, gone) in who.items() if here and here <= gone]
    assert is_normal(release_of(silent, rounds[0]), 0.7 * 0.4)


def test_epsilon_grows_in_every_round_and_most_runs_have_empty_ones() -> None:
    rare = CLIENTS.changed({"training.clients_per_round": 1})
    records = [moment.record for moment in run(rare)]
    spent = [record.epsilon for record in records if record.epsilon is not None]
    assert len(spent) == len(records)
    assert spent == sorted(set(spent))
    assert not all(record.clients for record in records)


# --- example-level privacy ------------------------------------------------------------------------

EXAMPLE = CLIENTS.changed(
    {
        "data.clients": 4,
        "data.split": {"kind": "quantity", "skew": 0.5},
        "data.examples": 200,
        "training.clients_per_round": 0,
        "training.batch_size": 10,
        "training.steps": 0,
        "privacy.kind": "example",
    }
)


def test_examples_enter_a_batch_by_a_coin_of_their_own() -> None:
    chance, size = EXAMPLE.recipe.poisson, 35
    assert chance == 10 / 50
    found = [batch for round in range(600) for batch in batches(EXAMPLE, round, 2, size)]
    assert len(found) == 600 * 5
    drawn = np.zeros((len(found), size), dtype=bool)
    for row, batch in zip(drawn, found, strict=True):
        row[batch] = True
    assert looks_like_coin_flips(drawn, chance)


def test_all_clients_take_the_same_steps_under_example_privacy() -> None:
    sizes = assemble(EXAMPLE).sizes.tolist()
    assert len(set(sizes)) > 1
    plans = [batches(EXAMPLE, 1, client, size) for client, size in enumerate(sizes)]
    assert {len(plan) for plan in plans} == {ceil(50 / 10)}
    assert not np.array_equal(np.concatenate(plans[0]), np.concatenate(plans[1]))


def test_without_privacy_every_example_is_used_once_a_pass() -> None:
    plain = EXAMPLE.changed({"privacy.kind": "none", "training.epochs": 2})
    found = np.concatenate(batches(plain, 1, 0, 35))
    assert np.bincount(found).tolist() == [2] * 35


SHAPE = (3, 12, 12)


def twins() -> dict[str, OrderedDict[str, nn.Module]]:
    """The same architectures for inputs of SHAPE, as users of PyTorch write them."""
    return {
        "logistic": OrderedDict(flatten=nn.Flatten(), out=nn.Linear(432, 10)),
        "mlp": OrderedDict(
            flatten=nn.Flatten(),
            hidden=nn.Linear(432, 64),
            relu=nn.ReLU(),
            out=nn.Linear(64, 10),
        ),
        "cnn": OrderedDict(
            first=nn.Conv2d(3, 16, 5, padding=2),
            first_relu=nn.ReLU(),
            first_pool=nn.MaxPool2d(2),
            second=nn.Conv2d(16, 32, 5, padding=2),
            second_relu=nn.ReLU(),
            second_pool=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            hidden=nn.Linear(32 * 3 * 3, 64),
            relu=nn.ReLU(),
            out=nn.Linear(64, 10),
        ),
        "lenet": OrderedDict(
            first=nn.Conv2d(3, 12, 5, padding=2, stride=2),
            first_sigmoid=nn.Sigmoid(),
            second=nn.Conv2d(12, 12, 5, padding=2, stride=2),
            second_sigmoid=nn.Sigmoid(),
            third=nn.Conv2d(12, 12, 5, padding=2),
            third_sigmoid=nn.Sigmoid(),
            flatten=nn.Flatten(),
            out=nn.Linear(12 * 3 * 3, 10),
        ),
    }


def noise_pictures(seed: int, examples: int) -> tuple[Tensor, Tensor]:
    """Pictures of noise: on flat ones, ties in max pooling let two right engines differ."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(examples, *SHAPE, generator=generator)
    return inputs, torch.randint(0, 10, (examples,), generator=generator)


@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
@pytest.mark.parametrize("name", MODELS)
def test_the_gradient_of_each_example_is_what_opacus_says(name: str) -> None:
    from opacus.grad_sample import GradSampleModule

    network = Network(MODELS[name](), SHAPE, 10)
    model, (inputs, labels) = network.initial(stream(0, "model")), noise_pictures(1, 9)
    twin = nn.Sequential(twins()[name])
    twin.load_state_dict(network.split(model))
    watched = GradSampleModule(twin, loss_reduction="sum")
    logits = watched(inputs)
    assert torch.allclose(logits, network(model, inputs), atol=1e-5)
    F.cross_entropy(logits, labels, reduction="sum").backward()
    theirs = {name: part.grad_sample.flatten(1) for name, part in twin.named_parameters()}
    ours = torch.stack([gradient_of(network, model, inputs, labels, place) for place in range(9)])
    for part, (place, _) in network.slots.items():
        assert torch.allclose(ours[:, place], theirs[part], atol=1e-5), part
    assert set(theirs) == set(network.slots)


def gradient_of(
    network: Network, model: Tensor, inputs: Tensor, labels: Tensor, place: int
) -> Tensor:
    """One example's gradient, as a private step takes it.  -> (params,)"""
    stack, target = stacked(network, model[None]), stacked(network, torch.zeros_like(model)[None])
    only = (torch.arange(len(labels)) == place).float()[None]
    found = visits(network, stack, inputs[None].clone(), labels[None])
    descend_clipped(target, found, 1e9, only, -1.0)
    return flattened(target)[0]


def slow_slopes(
    now: Experiment, model: Tensor, inputs: Tensor, labels: Tensor, size: int
) -> Tensor:
    """Each gradient by itself, clipped; the sum over the expected batch."""
    total = torch.zeros_like(model)
    for one, label in zip(inputs, labels, strict=True):
        flat = model.clone().requires_grad_()
        logits = now.architecture(flat, one.unsqueeze(0))
        (slope,) = torch.autograd.grad(F.cross_entropy(logits, label.unsqueeze(0)), flat)
        total += slope * min(1.0, now.privacy.clip / float(slope.norm()))
    return total / (size * 10 / 50)


def private_slopes(
    noise: float, size: int, inputs: Tensor, labels: Tensor, clip: float = 0.4
) -> tuple[Tensor, Tensor]:
    """A private step, and the slow loop's without noise."""
    now = EXAMPLE.changed({"privacy.clip": clip})
    model = begin(now).model
    fast = step_of(guard(now, noise, size), model, inputs, labels)
    return fast, slow_slopes(now, model, inputs, labels, size)


def guard(now: Experiment, noise: float, size: int) -> Guard:
    return Guard(now, noise, torch.tensor([size]), [stream(0, "noise of a test")])


def step_of(guard: Guard, model: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    """What a private step takes away from the model, for a rate of 1.  -> (params,)"""
    network = guard.now.architecture
    stack, target = stacked(network, model[None]), stacked(network, torch.zeros_like(model)[None])
    found = visits(network, stack, inputs[None].clone(), labels[None]) if len(labels) else []
    guard.descend(target, found, torch.ones(1, len(labels)))
    return -flattened(target)[0] / guard.now.training.rate


def digits(count: int) -> tuple[Tensor, Tensor]:
    federation = assemble(EXAMPLE)
    return as_floats(federation.inputs[:count]), federation.labels[:count]


@pytest.mark.parametrize("examples", [0, 1, 32, 37])
@pytest.mark.parametrize("clip", [0.4, 3.0, 1000.0])
def test_a_private_step_is_the_mean_of_clipped_gradients(examples: int, clip: float) -> None:
    fast, slow = private_slopes(0.0, 40, *digits(examples), clip)
    assert torch.allclose(fast, slow, atol=1e-5)


def test_no_example_moves_a_private_step_by_more_than_the_clip() -> None:
    inputs, labels = digits(20)
    fast, _ = private_slopes(0.0, 40, inputs, labels)
    for gone in range(20):
        kept = [place for place in range(20) if place != gone]
        without, _ = private_slopes(0.0, 40, inputs[kept], labels[kept])
        moved = float((fast - without).norm())
        assert 0 < moved <= 0.4 / 8 * (1 + 1e-4)  # 40 examples, of which 8 are expected


@pytest.mark.parametrize("examples", [0, 20])
def test_noise_on_a_private_step_is_a_multiple_of_the_clip(examples: int) -> None:
    noisy, bare = private_slopes(1.5, 40, *digits(examples))
    assert is_normal(noisy - bare, 1.5 * 0.4 / 8)


def test_every_private_step_has_noise_of_its_own() -> None:
    model = begin(EXAMPLE).model
    private = guard(EXAMPLE, 1.0, 40)
    nobody = torch.zeros(0, 1, 8, 8), torch.zeros(0, dtype=torch.int64)
    one, other = (step_of(private, model, *nobody) for _ in range(2))
    assert abs(correlation(one, other)) < 5 / len(model) ** 0.5


def test_local_training_under_example_privacy_is_dp_sgd_step_by_step() -> None:
    now = EXAMPLE.changed({"privacy.noise": 1e-6})
    federation, model = assemble(now), begin(now).model
    updates = cohort(now, 1, range(4), model)
    for client, row in enumerate(updates.rows):
        held = federation.held(client)
        change = torch.zeros_like(model)
        for batch in batches(now, 1, client, len(held)):
            inputs = as_floats(federation.inputs[held[batch]])
            labels = federation.labels[held[batch]]
            change -= 0.5 * slow_slopes(now, model + change, inputs, labels, len(held))
        assert torch.allclose(row, change, atol=1e-5)


def test_every_clients_noise_fits_its_own_number_of_examples() -> None:
    """One step, with and without noise: the difference is the noise, times the rate."""
    loud = EXAMPLE.changed({"training.steps": 1, "privacy.noise": 2.0})
    still, model = loud.changed({"privacy.noise": 1e-6}), begin(loud).model
    noisy, bare = cohort(loud, 1, range(4), model), cohort(still, 1, range(4), model)
    added = noisy.rows - bare.rows
    for one, size in zip(added, noisy.sizes.tolist(), strict=True):
        assert is_normal(one, 0.5 * 2.0 * 0.4 / (size * 10 / 50))
    for client in range(3):
        assert abs(correlation(added[client], added[3])) < 5 / len(model) ** 0.5


def test_a_run_under_example_privacy_repeats_itself() -> None:
    small = EXAMPLE.changed({"training.rounds": 2})
    one, other = list(run(small)), list(run(small))
    assert [moment.record for moment in one] == [moment.record for moment in other]
    assert one[1].record.epsilon is not None
    assert one[0].record.epsilon is not None
    assert one[1].record.epsilon > one[0].record.epsilon


def test_the_ring_never_clips_what_the_noise_needs() -> None:
    """Clipped noise is less noise, and the epsilon would be false; the bound gives way."""
    loud = CLIENTS.changed(
        {"privacy.clip": 100.0, "privacy.noise": 3.0, "secure_aggregation.enabled": True,
         "training.clients_per_round": 0}
    )  # fmt: skip
    moment = next(run(loud))
    released = (moment.transcript.released - moment.transcript.sent) * loud.cohort_size
    assert moment.record.note == ""
    assert float(released.std()) == pytest.approx(300, rel=0.05)
