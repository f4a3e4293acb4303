"""A server that watches all rounds: measured by hand."""

from __future__ import annotations

from math import exp, log, nan

import numpy as np
import pytest
import torch
from scipy.stats import norm

from attacks.membership.server.fedmia import FedMia
from attacks.membership.server.loss_trajectory import LossTrajectory
from attacks.membership.server.server_lira import ALIKE, GAP, PRIOR, ServerLira
from attacks.membership.server.source_inference import SourceInference
from attacks.membership.server.update_cosine import UpdateCosine
from attacks.membership.shared.update_probing import client_losses, descents, last_heard
from lab.common.settings import SettingError
from lab.interfaces.attack_data import Candidates, ClientSignals
from lab.models.architectures import MODELS
from lab.models.network import Network
from tests.support.watched_runs import ASKED, LINEAR, view_of

GRADIENT = torch.tensor([-1.5, -2.0, 1.5, 2.0, -0.5, 0.5])  # of the first, by weights and biases


def test_an_update_is_compared_with_each_examples_own_descent() -> None:
    view = view_of(LINEAR, torch.stack([-0.1 * GRADIENT, torch.zeros(6)]))
    products, squares = descents(view, ASKED)
    # |(3, 4, 1)|^2 / 2 = 13; of the third the inputs are at a right angle, and the biases are left.
    assert squares.tolist() == pytest.approx([13, 13, 13])
    assert products[0].tolist() == pytest.approx([1.3, -1.3, 0.05])
    found = UpdateCosine().signal(view, ASKED)
    assert found[0].tolist() == pytest.approx([1, -1, 1 / 26])
    assert found[1].tolist() == [0, 0, 0]


def test_the_difference_takes_the_examples_own_gradient_from_their_sum() -> None:
    view = view_of(LINEAR, -0.1 * GRADIENT.unsqueeze(0))  # one step at a rate of 0.1
    found = UpdateCosine(measure="difference").signal(view, ASKED)
    # |s|^2 - |s - g|^2 with s the first one's gradient: 13 - 0, 13 - 4 * 13, 13 - (26 - 1).
    assert found[0].tolist() == pytest.approx([13, -39, -12])


def test_only_what_travels_is_compared() -> None:
    row = torch.cat([-0.1 * GRADIENT[:4], torch.zeros(2)])
    network = Network(MODELS["mlp"](), (2,), 2)
    sent = network.initial(np.random.default_rng(0))
    shared = network.places(1)  # the hidden layer
    whole = torch.randn(1, network.size, generator=torch.Generator().manual_seed(0))
    whole[:, shared:] = 0
    _, all_of_it = descents(view_of(network, whole, sent), ASKED)
    _, part = descents(view_of(network, whole, sent, shared), ASKED)
    assert (part < all_of_it).all()
    assert descents(view_of(LINEAR, row.unsqueeze(0)), ASKED)[0][0, 0] == pytest.approx(1.25)


def test_losses_are_of_the_clients_own_models() -> None:
    row = torch.tensor([[0.0, 0.0, 0.0, 0.0, 1.0, 0.0]])
    found = client_losses(view_of(LINEAR, row), ASKED)
    assert found[0].tolist() == pytest.approx([log(1 + exp(-1)), log(1 + exp(1)), log(1 + exp(-1))])
    for spy in (LossTrajectory(), SourceInference()):
        assert torch.equal(spy.signal(view_of(LINEAR, row), ASKED), found)
    assert torch.equal(FedMia().signal(view_of(LINEAR, row), ASKED), -found)


def test_rounds_without_an_update_do_not_count() -> None:
    signals = torch.tensor([[[1.0], [5.0]], [[3.0], [nan]], [[nan], [nan]]])
    assert last_heard(signals).tolist() == [[3.0], [5.0]]
    for spy in (UpdateCosine(), LossTrajectory(), SourceInference(), ServerLira()):
        assert spy.gather(signals).tolist() == [[2.0], [5.0]]


def test_the_other_clients_say_what_to_expect() -> None:
    rounds = torch.tensor([[[1.0], [2.0], [3.0], [nan]], [[0.0], [2.0], [nan], [2.0]]])
    found = FedMia().gather(rounds)[:, 0]
    # Others of 1: 2 and 3, mean 2.5, deviation 0.5.  Of 0: two times 2, so it lies below for sure.
    assert float(found[0]) == pytest.approx(norm.cdf(-3) / 2, abs=1e-6)
    assert float(found[1]) == pytest.approx((norm.cdf(0) + norm.cdf(1)) / 2, abs=1e-6)
    assert float(found[2]) == pytest.approx(norm.cdf(3), abs=1e-6)
    assert float(found[3]) == pytest.approx(norm.cdf(1), abs=1e-6)


def test_two_clients_are_too_few_to_say_what_to_expect() -> None:
    with pytest.raises(SettingError, match="at least 2 others of the same round"):
        FedMia().gather(torch.rand(3, 2, 5))


def test_the_source_is_whoever_errs_least() -> None:
    losses = torch.tensor([[1.0, 0.0], [1.0 + log(3), nan]])
    found = SourceInference()(ClientSignals(ASKED, losses, torch.zeros(0), torch.zeros(0)))
    assert found[:, 0].tolist() == pytest.approx([0.75, 0.25])
    assert float(found[0, 1]) == 1
    assert found[1, 1].isnan()


def test_the_ratio_is_that_of_a_plain_loop() -> None:
    """Example by example, with the variances and gaps that the constants say."""
    draw = np.random.default_rng(0)
    clients, examples, shadows = 3, 40, 6
    holders = draw.integers(-1, clients, (shadows, examples))
    own = draw.normal(size=(shadows, clients, examples)) + draw.normal(size=examples)
    target = draw.normal(size=(clients, examples))
    kept: dict[bool, list[list[float]]] = {True: [], False: []}
    for x in range(examples):
        for held, values in kept.items():
            values.append(
                [
                    own[s, k, x]
                    for s in range(shadows)
                    for k in range(clients)
                    if (holders[s, x] == k) == held
                ]
            )
    usual = {
        held: sum(np.var(each) * len(each) for each in values if each)
        / sum(max(0, len(each) - 1) for each in values)
        for held, values in kept.items()
    }
    means = {held: [np.mean(each or [0.0]) for each in kept[held]] for held in kept}
    sizes = [len(each) for each in kept[True]]
    gaps = np.array(means[True]) - np.array(means[False])
    order = list(np.argsort(means[False]))
    found = np.zeros((clients, examples))
    for x in range(examples):
        group = order.index(x) * ALIKE // examples
        alike = [y for y in range(examples) if order.index(y) * ALIKE // examples == group]
        mean_gap = sum(gaps[y] * sizes[y] for y in alike) / max(1, sum(sizes[y] for y in alike))
        gap = (sizes[x] * gaps[x] + GAP * mean_gap) / (sizes[x] + GAP)
        deviation = {
            held: np.sqrt(
                (np.var(kept[held][x] or [0.0]) * len(kept[held][x]) + PRIOR * usual[held])
                / (max(0, len(kept[held][x]) - 1) + PRIOR)
            )
            for held in kept
        }
        inside = norm.logpdf(target[:, x], means[False][x] + gap, deviation[True])
        found[:, x] = inside - norm.logpdf(target[:, x], means[False][x], deviation[False])
    evidence = ClientSignals(ASKED, torch.tensor(target), torch.tensor(own), torch.tensor(holders))
    assert np.allclose(ServerLira()(evidence).numpy(), found, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("mlp", (1, 8, 8)),
        ("cnn", (1, 8, 8)),
        ("keyboard", (5,)),
        ("transformer", (5,)),
    ],  # by layer; whole
)
def test_products_and_steepness_are_those_of_whole_gradients(
    kind: str, shape: tuple[int, ...]
) -> None:
    network, draw = Network(MODELS[kind](), shape, 7), torch.Generator().manual_seed(1)
    text = "text" in network.model.reads
    inputs = torch.rand(3, *shape, generator=draw)
    inputs = (inputs * 7).floor() if text else inputs
    labels = torch.tensor([0, 3, 6])
    rows = torch.randn(2, network.size, generator=draw)
    sent = network.initial(np.random.default_rng(2))
    view = view_of(network, rows, sent)
    products, squares = descents(view, Candidates(inputs, labels))
    for place in range(3):
        model = sent.clone().requires_grad_()
        logits = network(model, inputs[place : place + 1])
        loss = torch.nn.functional.cross_entropy(logits, labels[place : place + 1])
        (gradient,) = torch.autograd.grad(loss, model)
        assert torch.allclose(products[:, place], -rows @ gradient, rtol=1e-3, atol=1e-4)
        assert float(squares[place]) == pytest.approx(float(gradient.square().sum()), rel=1e-3)
