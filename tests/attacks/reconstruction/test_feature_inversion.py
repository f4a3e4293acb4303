"""Feature inversion: exact features without labels, then the pictures that have them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.reconstruction.analytic.feature_inversion import Body, FeatureInversion
from attacks.reconstruction.shared.dense_layer import labels_of, mixture_of, place_of, taken_apart
from lab.common.settings import SettingError
from lab.interfaces.attack_data import ReconstructedBatch
from lab.interfaces.messages import TrainingPlan
from lab.interfaces.views import AuxiliaryInfo, ServerView
from lab.models.architectures import Cnn, LeNet, Logistic, Mlp, Model
from lab.models.network import Network
from lab.scoring.reconstruction.image_scorer import match, psnr

SHAPE = (1, 12, 12)
SMALL = Network(Cnn(channels=16, hidden=160), SHAPE, classes=5)
ONCE = TrainingPlan(
    epochs=1, cap=1, batch_size=64, rate=0.1, poisson=None, weighted=True, mean_size=8
)  # fmt: skip


def pictures(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Bright blots on black, which are smooth."""
    generator = torch.Generator().manual_seed(seed)
    coarse = 2 * torch.rand(count, 1, 6, 6, generator=generator) - 0.7
    inputs = F.interpolate(coarse, SHAPE[1:], mode="bicubic").clamp(0, 1)
    return inputs, torch.randint(0, 5, (count,), generator=generator)


def view(inputs: Tensor, labels: Tensor, of: Network = SMALL, noise: float = 0.0) -> ServerView:
    """What a server gets of one step, as the client's own arithmetic leaves it."""
    sent = of.initial(np.random.Generator(np.random.SFC64(3)))
    flat = sent.clone().requires_grad_(True)
    gradient = torch.autograd.grad(F.cross_entropy(of(flat, inputs), labels), flat)[0]
    row = (sent - ONCE.rate * gradient) - sent
    drawn = torch.randn(row.shape, generator=torch.Generator().manual_seed(1))
    return ServerView(
        round=1,
        network=of,
        recipe=ONCE,
        sent=sent,
        rows=(row + noise * row.norm() * drawn).unsqueeze(0),
        weights=torch.tensor([float(len(labels))]),
        senders=((0,),),
        shared=of.size,
        masked=None,
    )


def public() -> AuxiliaryInfo:
    return AuxiliaryInfo(*pictures(300, seed=99))


def answer(seen: ServerView, known: AuxiliaryInfo, **settings: float) -> ReconstructedBatch:
    *_, guess = FeatureInversion.model_validate(settings)(seen, 0, known)
    return guess


def heights(guess: ReconstructedBatch, inputs: Tensor) -> list[float]:
    return [psnr(guess.inputs[mine], inputs[true]) for mine, true in match(guess.inputs, inputs)]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_example_s_features_and_label_are_read_exactly(seed: int) -> None:
    inputs, labels = pictures(4, seed)
    seen = view(inputs, labels)
    mixture = mixture_of(seen, 0, most=64)
    *_, found = taken_apart(mixture, starts=20, seed=0)
    assert found.agree == 4
    features, _, errors = mixture.read(found.mixing)
    body = Body.of(seen, features.float())
    true = body(inputs, len(body.layers))
    assert true.shape[1] == 32 * 3 * 3
    order = [mine for _, mine in sorted((t, m) for m, t in match(features.float(), true))]
    assert torch.allclose(features[order].float(), true, atol=1e-4)
    assert labels_of(seen, features.float(), errors.float())[order].tolist() == labels.tolist()


def test_nothing_is_missing_from_the_true_picture_and_something_from_any_other() -> None:
    inputs, labels = pictures(3)
    seen = view(inputs, labels)
    body = Body.of(seen, torch.zeros(3, 288))
    body = replace(body, features=body(inputs, len(body.layers)))
    assert body.missing(inputs).abs().max() < 1e-6
    assert body.missing(inputs.flip(0)).square().sum(dim=1).max() > 1e-3


@pytest.mark.parametrize("seed", [0, 1])
def test_pictures_are_found_with_their_labels(seed: int) -> None:
    inputs, labels = pictures(4, seed)
    guess = answer(view(inputs, labels), public(), iterations=400, seconds=60)
    assert np.mean(heights(guess, inputs)) > 35
    assert all(guess.labels[m] == labels[t] for m, t in match(guess.inputs, inputs))


def test_more_is_known_at_the_end_than_the_decoder_knew() -> None:
    inputs, labels = pictures(4)
    guesses = list(FeatureInversion(iterations=200)(view(inputs, labels), 0, public()))
    assert np.mean(heights(guesses[-1], inputs)) > np.mean(heights(guesses[0], inputs)) + 6
    objectives = [guess.objective for guess in guesses if guess.objective is not None]
    assert objectives == sorted(objectives, reverse=True)
    assert len(guesses) >= 5


def test_it_works_from_grey_where_nothing_is_public() -> None:
    inputs, labels = pictures(2)
    guess = answer(view(inputs, labels), AuxiliaryInfo.nothing(SMALL), iterations=300, seconds=60)
    assert np.mean(heights(guess, inputs)) > 20


def test_it_ends_when_its_time_is_over() -> None:
    seen = view(*pictures(4))
    guess = answer(seen, public(), iterations=30_000, seconds=0.2)
    assert guess.step < 30_000
    assert guess.steps == 30_000


def test_the_same_view_gives_the_same_guess() -> None:
    seen = view(*pictures(4))
    one, other = (answer(seen, public(), iterations=30, seconds=60) for _ in range(2))
    assert torch.equal(one.inputs, other.inputs)
    assert torch.equal(one.labels, other.labels)


def test_noise_leaves_pictures_without_meaning_and_without_holes() -> None:
    inputs, labels = pictures(4)
    guess = answer(view(inputs, labels, noise=0.1), public(), iterations=50)
    assert guess.inputs.isfinite().all()
    assert np.mean(heights(guess, inputs)) < 20


def test_without_convolutions_the_features_are_the_inputs() -> None:
    inputs, labels = pictures(4)
    network = Network(Mlp(hidden=128), SHAPE, classes=5)
    guess = answer(view(inputs, labels, network), AuxiliaryInfo.nothing(network))
    assert min(heights(guess, inputs)) > 60


@pytest.mark.parametrize("model", [Logistic(), LeNet()])
def test_a_model_without_a_dense_layer_with_relu_is_refused(model: Model) -> None:
    with pytest.raises(SettingError, match=f"such as that of cnn, and {model.kind} has none"):
        FeatureInversion().check(Network(model, (1, 28, 28), classes=10))
    assert place_of(Network(Cnn(), (1, 28, 28), classes=10)) == 7


def test_a_dense_layer_that_never_leaves_the_client_is_refused() -> None:
    seen = view(*pictures(2))
    with pytest.raises(SettingError, match=r"hidden\.weight never leaves the client"):
        answer(replace(seen, shared=SMALL.places(last=2)), public())
