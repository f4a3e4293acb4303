"""Measurements of an example on the updates that the server received."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import grad, vmap

from lab.interfaces.attack_data import Candidates
from lab.interfaces.views import ServerView
from lab.models.layers import Convolution, Dense, Embedding, Parameters
from lab.models.stacked_gradients import backward, stacked

CHUNK = 512  # candidates at once: they stay in the cache
FLOATS = 1 << 23  # of their gradients, where these are formed: 32 MB


@torch.no_grad()
def client_losses(view: ServerView, asked: Candidates) -> Tensor:
    """Return each example's cross-entropy on each client's model after its local training.

    -> (rows, candidates)
    """
    network, models = view.network, view.sent + view.rows  # (rows, params)
    found = view.rows.new_zeros(len(models), len(asked.labels))
    for place, inputs, labels in _chunks(asked):
        for row, model in enumerate(models):
            found[row, place] = F.cross_entropy(network(model, inputs), labels, reduction="none")
    return found


@torch.no_grad()
def descents(view: ServerView, asked: Candidates) -> tuple[Tensor, Tensor]:
    """Return each update's product with each example's negative gradient, and squared norms.

    -> (rows, candidates): <row, -gradient>, (candidates,): |gradient|^2 of the parameters that are
    sent
    """
    layers = view.network.trained
    size = CHUNK
    if not all(isinstance(layer, Dense) for layer in layers):
        size = max(1, min(CHUNK, FLOATS // view.network.size))
    measured = _whole
    if all(isinstance(layer, (Dense, Convolution, Embedding)) for layer in layers):
        measured = _by_layer
    found = [measured(view, inputs, labels) for _, inputs, labels in _chunks(asked, size)]
    products, squares = zip(*found, strict=True)
    return -torch.cat(products, dim=1), torch.cat(squares)


def cosines(view: ServerView, asked: Candidates) -> Tensor:
    """Return the cosines of updates and examples' negative gradients; 0 where one is zero.

    -> (rows, candidates)
    """
    products, squares = descents(view, asked)
    lengths = torch.linalg.vector_norm(view.rows, dim=1, keepdim=True) * squares.sqrt()
    return torch.where(lengths > 0, products / lengths, 0.0)


def _by_layer(view: ServerView, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Compute both by layer, without autograd.

    -> (rows, candidates), (candidates,): <row, gradient>, |gradient|^2
    """
    network, steep = view.network, torch.zeros(len(labels))
    products = torch.zeros(len(view.rows), len(labels))
    one, parts = stacked(network, view.sent.unsqueeze(0)), network.owned(network.split(view.rows))
    for visit in backward(network, one, inputs.unsqueeze(0), labels.unsqueeze(0)):
        own, (squares, evidence) = parts[visit.place], visit.layer.each(visit.kept, visit.slopes)
        if network.slots[f"{visit.layer.name}.weight"][0].start >= view.shared:
            continue
        steep += squares[0]
        if isinstance(visit.layer, Convolution):
            products += _with_convolution(own, evidence)
        elif isinstance(visit.layer, Embedding):
            products += _with_embedding(own, evidence)
        else:
            products += _with_dense(own, evidence)
    return products, steep


def _with_dense(own: Parameters, evidence: tuple[Tensor, Tensor]) -> Tensor:
    """Handle a dense layer: slopes x inputs times a row is slopes @ (weight @ inputs + bias).

    -> (rows, candidates)
    """
    weight, bias = own  # (rows, outputs, inputs), (rows, outputs)
    kept, slopes = (side[0] for side in evidence)  # (candidates, inputs), (candidates, outputs)
    outputs = (kept @ weight.flatten(0, 1).mT).unflatten(1, bias.shape)
    return torch.einsum("cro,co->rc", outputs, slopes) + bias @ slopes.mT


def _with_convolution(own: Parameters, evidence: tuple[Tensor, Tensor]) -> Tensor:
    """Handle a convolution, whose gradient is given, positions first.  -> (rows, candidates)"""
    weight, bias = own  # (rows, outputs, inputs, kernel, kernel), (rows, outputs)
    kernels, biases = evidence  # (candidates, kernel * kernel * inputs * outputs), (.., outputs)
    return weight.permute(0, 3, 4, 2, 1).flatten(1) @ kernels.mT + bias @ biases.mT


def _with_embedding(own: Parameters, evidence: tuple[Tensor, Tensor]) -> Tensor:
    """Handle an embedding: only words that occur have a gradient.  -> (rows, candidates)"""
    words, slopes = (side[0] for side in evidence)  # (candidates, places), (.., width)
    return torch.einsum("rcpw,cpw->rc", own[0][:, words], slopes)


def _whole(view: ServerView, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Compute both for any layers, with every example's whole gradient.

    -> (rows, candidates), (candidates,): <row, gradient>, |gradient|^2
    """

    def loss(model: Tensor, example: Tensor, label: Tensor) -> Tensor:
        logits = view.network(model, example.unsqueeze(0))
        return F.cross_entropy(logits, label.unsqueeze(0))

    of_each = vmap(grad(loss), in_dims=(None, 0, 0))
    gradients: Tensor = of_each(view.sent, inputs, labels)  # (candidates, params)
    gradients[:, view.shared :] = 0
    return view.rows @ gradients.mT, gradients.square().sum(dim=1)


def _chunks(asked: Candidates, size: int = CHUNK) -> Iterator[tuple[slice, Tensor, Tensor]]:
    for start in range(0, len(asked.labels), size):
        place = slice(start, start + size)
        yield place, asked.inputs[place], asked.labels[place]


def last_heard(signals: Tensor) -> Tensor:
    """Return each client's signals in the last round that it took part in.

    signals (rounds, clients, candidates), NaN where nothing came -> (clients, candidates)
    """
    found = signals[0]
    for signal in signals[1:]:
        found = signal.where(signal.isfinite(), found)
    return found
