"""DAGER: exact sentences in word order. Petrov et al. 2024, arXiv:2405.15586.

The inputs of a dense layer lie in the span of its gradient, and nothing else does, as long as fewer
positions than the layer's width contribute.  The published attack finds (word, position) pairs by
the
first layer's attention and extends sentences by the second layer's, where every position has a loss
of its own.  Here only the last position has a loss: the second layer's keys and values then span as
many directions as there are heads, not positions.  But the dense half of the first layer has
gradients at every position, and its inputs depend on the whole beginning of the sentence.  Its span
separates right beginnings from wrong ones, word by word.  The attack tries the words whose vectors
changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.reconstruction.analytic.tokens import typed_words
from attacks.reconstruction.shared.observed_gradient import gradient_of, observe, whole
from attacks.reconstruction.shared.sentence_span import Span
from lab.common.settings import SettingError
from lab.interfaces.attack_data import ReconstructedBatch
from lab.interfaces.privacy_attacks import ReconstructionAttack
from lab.interfaces.views import AuxiliaryInfo, ServerView
from lab.models.architectures import Modality
from lab.models.layers import Block, Embedding, Positions
from lab.models.network import Network

AGREED = 1e-3  # relative distance of two gradients that pass for the same


class Sentences(ReconstructionAttack):
    """Extends every sentence of a batch word by word; exact, with proof when it is complete."""

    kind: Literal["sentences"] = "sentences"
    title: ClassVar[str] = "DAGER (sentences)"
    source: ClassVar[str] = "Petrov et al. 2024, arXiv:2405.15586 (DAGER), sections 4 and 5"
    attacker: ClassVar[str] = "an honest-but-curious server"
    knows: ClassVar[str] = "the architecture and the training recipe"
    fails: ClassVar[str] = (
        "batches with as many words as the model is wide, several local steps, noise, and the"
        " rounding of compressed or masked updates, where it claims nothing"
    )
    reads: ClassVar[tuple[Modality, ...]] = ("text",)
    tolerance: float = Field(
        1e-4,
        gt=0,
        lt=0.2,
        description="distance from the span, relative to the norm, that counts as inside",
    )
    most: int = Field(
        4096,
        ge=1,
        le=65536,
        description="largest number of beginnings that the search follows at once",
    )

    def check(self, network: Network) -> None:
        kinds = [type(layer) for layer in network.layers[:4]]
        if kinds != [Embedding, Positions, Block, Block]:
            raise SettingError(
                "sentences needs a transformer of two layers at least, and model.kind "
                f"{network.model.kind} as it is set is none: use tokens"
            )

    def __call__(
        self, view: ServerView, target: int, known: AuxiliaryInfo
    ) -> Iterator[ReconstructedBatch]:
        """Yield the beginnings so far, one word longer each time; then labels and a certificate."""
        self.check(view.network)
        whole(view, self.kind)
        seen, length = observe(view, target), view.network.shape[0]
        typed = typed_words(view, seen)
        span = Span.of(view, seen.gradient, typed) if len(typed) else None
        found = torch.zeros(1, 0, dtype=torch.int64)  # places in `typed`
        for place in range(1, length + 1):
            if span is None or len(found) > self.most:
                found = found[:0]
            if not len(found) or span is None:
                yield replace(_guess(view, typed[found], length), proven=False)
                return
            longer = _longer(found, len(typed))  # (beginnings, place)
            found = longer[span.outside(longer) < self.tolerance]
            if place < length:
                yield _guess(view, typed[found], place)
        yield _finished(view, seen.gradient, seen.images, typed[found].double())


def _longer(found: Tensor, words: int) -> Tensor:
    """Extend every beginning by every word."""
    old = found.repeat_interleave(words, dim=0)
    return torch.cat([old, torch.arange(words).repeat(len(found)).unsqueeze(1)], dim=1)


def _guess(view: ServerView, found: Tensor, place: int) -> ReconstructedBatch:
    """Make a guess of beginnings; word 0 marks unknown positions and stands for no word."""
    length = view.network.shape[0]
    rows = torch.zeros(len(found), length)
    rows[:, : found.shape[1]] = found
    return ReconstructedBatch(
        rows, torch.zeros(0, dtype=torch.int64), place, length, 1 - place / length
    )


def _finished(view: ServerView, gradient: Tensor, images: int, found: Tensor) -> ReconstructedBatch:
    """Return sentences with their next words, and whether they explain the whole gradient."""
    length = view.network.shape[0]
    counts = _next_words(view, gradient * images, found)  # (sentences, words)
    explained = len(found) > 0 and bool((counts.sum(dim=1) > 0).all())
    if not explained or int(counts.sum()) != images:
        return replace(_guess(view, found, length), proven=False)
    place, labels = counts.nonzero(as_tuple=True)
    often = counts[place, labels]
    inputs, labels = found[place.repeat_interleave(often)], labels.repeat_interleave(often)
    sent = view.sent.double().requires_grad_(True)
    left = gradient - gradient_of(view, sent, inputs, labels).detach()
    distance = float(left.norm() / gradient.norm())
    return ReconstructedBatch(
        inputs.float(), labels, length, length, distance, proven=distance < AGREED
    )


def _next_words(view: ServerView, gradient: Tensor, found: Tensor) -> Tensor:
    """Count each next word after each sentence.  gradient (params,) of the summed loss

    The output layer's gradient is the sum of (likely - next) x feature over examples.  The features
    are
    known by now, so each sentence's errors are, too: m times the probabilities minus its next
    words, if
    it was typed m times.  Hardly any word comes next, so the median of the ratio is m.
    -> (sentences, words) int
    """
    network, sent = view.network, view.sent.double()
    features, own = found, network.owned(network.split(sent))
    for layer, mine in zip(network.layers[:-1], own, strict=False):
        features = layer(mine, features)
    likely = network.layers[-1](own[-1], features).softmax(dim=1)  # (sentences, words)
    errors = torch.linalg.pinv(features.mT) @ network.split(gradient)["out.weight"].mT
    times = (errors / likely).median(dim=1, keepdim=True).values.round()
    counts: Tensor = (times * likely - errors).round().clamp_min(0).long()
    return counts
