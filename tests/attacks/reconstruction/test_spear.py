"""Spear: whole batches to the last digit, and a certificate that never lies."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.reconstruction.analytic.spear import Spear
from attacks.reconstruction.shared.certificate import agreeing
from attacks.reconstruction.shared.dense_layer import mixture_of
from attacks.reconstruction.shared.disaggregation import Mixture, settled
from lab import Experiment
from lab.common.settings import SettingError
from lab.interfaces.attack_data import ReconstructedBatch
from lab.interfaces.messages import TrainingPlan
from lab.interfaces.views import AuxiliaryInfo, ServerView
from lab.models.architectures import MODELS, Mlp, Model
from lab.models.layers import Shape
from lab.models.network import Network
from lab.scoring.reconstruction.image_scorer import match
from tests.support.data import PICTURE_MODELS

GREY, COLOUR = (1, 12, 12), (3, 8, 8)
ONCE = TrainingPlan(
    epochs=1, cap=1, batch_size=64, rate=0.1, poisson=None, weighted=True, mean_size=8
)  # fmt: skip


def network(shape: Shape = GREY, hidden: int = 128) -> Network:
    return Network(Mlp(hidden=hidden), shape, classes=5)


def batch(size: int, shape: Shape = GREY, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(size, *shape, generator=generator).square()
    return inputs, torch.randint(0, 5, (size,), generator=generator)


def gradient(of: Network, sent: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    flat = sent.clone().requires_grad_(True)
    return torch.autograd.grad(F.cross_entropy(of(flat, inputs), labels), flat)[0]


def view(batches: list[tuple[Tensor, Tensor]], of: Network, noise: float = 0.0) -> ServerView:
    """What a server gets of the sum of one step on each of these batches."""
    import numpy as np

    sent = of.initial(np.random.Generator(np.random.SFC64(3)))
    steps = [-ONCE.rate * gradient(of, sent, *one) for one in batches]
    row = torch.stack(steps).mean(dim=0)
    row = row + noise * row.norm() * torch.randn(
        row.shape, generator=torch.Generator().manual_seed(1)
    )
    count = float(sum(len(labels) for _, labels in batches))
    return ServerView(
        round=1,
        network=of,
        recipe=ONCE,
        sent=sent,
        rows=row.unsqueeze(0),
        weights=torch.tensor([count]),
        senders=(tuple(range(len(batches))),),
        shared=of.size,
        masked=None,
    )


def answer(seen: ServerView, target: int = 0, **settings: int) -> ReconstructedBatch:
    *_, guess = Spear.model_validate(settings)(seen, target, AuxiliaryInfo.nothing(seen.network))
    return guess


def found(guess: ReconstructedBatch, inputs: Tensor, labels: Tensor) -> bool:
    """Whether each picture is there to 1e-5, beside its own label."""
    pairs = match(guess.inputs, inputs)
    near = all(torch.allclose(guess.inputs[m], inputs[t], atol=1e-5) for m, t in pairs)
    right = all(guess.labels[m] == labels[t] for m, t in pairs)
    return near and right and len(pairs) == len(inputs) == len(guess.inputs)


# --- by hand ------------------------------------------------------------------------------------

# Six neurons: the first three fire for the first input alone, the others for the second alone.
WEIGHT = torch.tensor([[1.0], [2], [1], [-1], [-2], [-1]]).double() * torch.tensor([1.0, 0, 0, 0])
BIAS = torch.tensor([-0.5, -1.0, -0.2, 0.5, 1.0, 0.2], dtype=torch.double)
ERRORS = torch.tensor([[1.0, -2, 1, 0, 0, 0], [0, 0, 0, 3, 1, -1]], dtype=torch.double)
INPUTS = torch.tensor([[1.0, 0, 0, 0], [0, 0.5, 0, 0]], dtype=torch.double)


def by_hand() -> Mixture:
    mixed = ERRORS.T @ torch.cat([INPUTS, torch.ones(2, 1)], dim=1)
    layer = torch.cat([WEIGHT, BIAS.unsqueeze(1)], dim=1)
    return Mixture.of(mixed, layer, expected=9, most=9, low=0, high=1)


def test_two_inputs_of_a_tiny_layer_are_read_by_hand() -> None:
    mixture = by_hand()
    assert mixture.rank == 2
    assert mixture.clean
    mixing = ERRORS @ mixture.errors  # what the search should find
    inputs, outputs, errors = mixture.read(mixing)
    assert torch.allclose(inputs, INPUTS)
    assert torch.allclose(outputs, INPUTS @ WEIGHT.T + BIAS)
    assert torch.allclose(errors, ERRORS)
    assert all(each.all() for each in agreeing(mixture, mixing))
    assert not any(each.any() for each in agreeing(mixture, mixing[[0, 0]]))  # one is missing
    nearly = mixing + 0.1 * mixing.flip(0)
    assert not any(each.any() for each in agreeing(mixture, nearly))
    assert torch.allclose(mixture.read(settled(mixture, nearly))[0], INPUTS, atol=1e-6)


def test_the_rank_is_what_stands_above_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(60, 90, generator=generator, dtype=torch.double)
    three = torch.randn(60, 3, generator=generator).double() @ torch.randn(3, 90).double()
    layer = torch.zeros(60, 90, dtype=torch.double)
    found = Mixture.of(three + 1e-4 * noise, layer, expected=9, most=9)
    assert found.rank == 3
    assert found.clean
    assert found.noise == pytest.approx(1e-4, rel=0.3)
    assert not Mixture.of(three + 1e-4 * noise, layer, expected=9, most=2).clean
    assert not Mixture.of(noise, layer, expected=9, most=9).clean


# --- whole batches ------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("size", [1, 4, 8])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_batch_is_found_exactly_with_its_labels(size: int, shape: Shape, seed: int) -> None:
    inputs, labels = batch(size, shape, seed)
    guess = answer(view([(inputs, labels)], network(shape)))
    assert found(guess, inputs, labels)
    assert guess.proven
    assert guess.objective == 0


def test_sixteen_examples_are_found_behind_256_neurons() -> None:
    inputs, labels = batch(16)
    guess = answer(view([(inputs, labels)], network(hidden=256)))
    assert found(guess, inputs, labels)
    assert guess.proven


def test_repeated_labels_do_not_matter() -> None:
    inputs, labels = batch(8)[0], torch.full((8,), 3)
    assert found(answer(view([(inputs, labels)], network())), inputs, labels)


def test_an_example_that_comes_twice_is_found_once() -> None:
    inputs, labels = batch(4)
    twice = torch.cat([inputs, inputs[:1]]), torch.cat([labels, labels[:1]])
    guess = answer(view([twice], network()))
    assert found(guess, inputs, labels)
    assert guess.proven


def test_the_sum_of_a_masked_cohort_gives_everybody_away() -> None:
    parts = [batch(2, seed=client) for client in range(8)]
    guess = answer(view(parts, network(hidden=256)), target=5)
    inputs, labels = (torch.cat(each) for each in zip(*parts, strict=True))
    assert found(guess, inputs, labels)
    assert guess.proven


def test_of_a_masked_cohort_of_sixty_four_examples_nothing_is_certified() -> None:
    parts = [batch(2, seed=client) for client in range(32)]
    guess = answer(view(parts, network(hidden=256)), target=5, iterations=2)
    inputs, labels = (torch.cat(each) for each in zip(*parts, strict=True))
    assert not guess.proven
    assert not found(guess, inputs, labels)


def test_an_example_that_the_model_hardly_errs_on_is_found_beside_others() -> None:
    """Its errors are a thousandth of theirs; rounding is what limits it."""
    inputs, labels = batch(4)
    of = network(hidden=256)
    seen = view([(inputs, labels)], of)
    mixture = mixture_of(seen, 0, most=9)
    weak = replace(
        seen,
        rows=-ONCE.rate
        * (
            gradient(of, seen.sent, inputs[:3], labels[:3])
            + 1e-3 * gradient(of, seen.sent, inputs[3:], labels[3:])
        ).unsqueeze(0),
    )
    guess = answer(weak)
    assert mixture.rank == mixture_of(weak, 0, most=9).rank == 4
    assert found(replace(guess, labels=guess.labels * 0), inputs, labels * 0)
    assert guess.proven


def test_labels_are_no_more_than_a_guess_where_the_last_layer_stays_at_home() -> None:
    inputs, labels = batch(4)
    seen = view([(inputs, labels)], network())
    guess = answer(replace(seen, shared=seen.network.places(last=1)))
    assert found(replace(guess, labels=guess.labels * 0), inputs, labels * 0)
    assert guess.labels.tolist() == [0, 1, 2, 3]


# --- the certificate ----------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [1e-4, 1e-3, 1e-2, 1.0])
@pytest.mark.parametrize("size", [1, 4])
def test_nothing_is_certified_under_noise(noise: float, size: int) -> None:
    guess = answer(view([batch(size)], network(), noise), iterations=5)
    assert not guess.proven
    assert guess.inputs.isfinite().all()


def test_clipping_alone_hides_nothing_and_clipping_with_noise_does() -> None:
    inputs, labels = batch(4)
    clipped = view([(inputs, labels)], network())
    clipped = replace(clipped, rows=0.01 * clipped.rows / clipped.rows.norm())
    assert found(answer(clipped), inputs, labels)
    noise = torch.randn(clipped.rows.shape, generator=torch.Generator().manual_seed(2))
    noised = replace(clipped, rows=clipped.rows + 1e-3 * 0.01 * noise)
    assert not answer(noised, iterations=5).proven


@pytest.mark.parametrize("size", [6, 12, 24])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_certified_is_right_even_where_too_few_neurons_are(size: int, seed: int) -> None:
    inputs, labels = batch(size, seed=seed)
    guess = answer(view([(inputs, labels)], network(hidden=40)), iterations=3)
    assert not guess.proven or found(guess, inputs, labels)


# --- how it runs --------------------------------------------------------------------------------


def test_it_ends_as_soon_as_everything_is_certified_and_takes_all_starts_otherwise() -> None:
    assert answer(view([batch(4)], network())).step < 20
    hopeless = view([batch(24)], network(hidden=60))
    steps = [
        guess.step
        for guess in Spear(iterations=9)(hopeless, 0, AuxiliaryInfo.nothing(hopeless.network))
    ]
    assert steps[-1] == 9
    assert len(steps) >= 3


def test_the_same_view_gives_the_same_guess() -> None:
    seen = view([batch(8)], network())
    one, other = answer(seen), answer(seen)
    assert torch.equal(one.inputs, other.inputs)
    assert torch.equal(one.labels, other.labels)


@pytest.mark.parametrize("kind", [kind for kind in PICTURE_MODELS if kind != "mlp"])
def test_a_first_layer_that_is_not_dense_with_relu_is_refused(kind: str) -> None:
    model: Model = MODELS[kind]()
    with pytest.raises(SettingError, match=rf"such as mlp, and {kind} does not: use "):
        Spear().check(Network(model, (1, 28, 28), classes=10))


def test_an_mlp_is_not_refused() -> None:
    now = Experiment.read({"model": {"kind": "mlp"}})
    Spear().check(now.architecture)
