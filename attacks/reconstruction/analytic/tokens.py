"""Typed words: a word's vector changes only if the word occurred.

Melis et al. 2019, arXiv:1805.04049, section 4.1: the gradient of an embedding is zero in the row of
every word that no example holds, whatever the rest of the model does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from torch import Tensor

from attacks.reconstruction.shared.observed_gradient import (
    Observed,
    label_counts,
    labels_from,
    observe,
)
from lab.common.apportionment import apportioned
from lab.common.settings import SettingError
from lab.interfaces.attack_data import ReconstructedBatch
from lab.interfaces.privacy_attacks import ReconstructionAttack
from lab.interfaces.views import AuxiliaryInfo, ServerView
from lab.models.architectures import Modality
from lab.models.layers import Embedding
from lab.models.network import Network


class Tokens(ReconstructionAttack):
    """Reads typed words off the embedding's gradient; exact for any batch and any local steps."""

    kind: Literal["tokens"] = "tokens"
    title: ClassVar[str] = "Typed words (embedding gradient)"
    source: ClassVar[str] = "Melis et al. 2019, arXiv:1805.04049, section 4.1"
    attacker: ClassVar[str] = "an honest-but-curious server"
    knows: ClassVar[str] = "the architecture, the training recipe, and public text"
    fails: ClassVar[str] = (
        "noise, which changes every word's vector; rounding by masks or compression, which "
        "hides some words; it guesses word frequencies from public text, and next words are "
        "exact only for one step of an untrained model"
    )
    reads: ClassVar[tuple[Modality, ...]] = ("text",)

    def check(self, network: Network) -> None:
        embedding_of(network, self.kind)

    def __call__(
        self, view: ServerView, target: int, known: AuxiliaryInfo
    ) -> Iterator[ReconstructedBatch]:
        """Yield one guess: a bag of words, and how often each came next.  Nothing under noise."""
        self.check(view.network)
        seen = observe(view, target)
        typed = typed_words(view, seen)  # (typed,)
        clean = len(typed) > 0
        bag = torch.zeros(view.network.classes, dtype=torch.int64)
        labels = torch.zeros(0, dtype=torch.int64)
        if clean:
            bag[typed] = _how_often(typed, seen.images * view.network.shape[0], known)
            if view.shared == view.network.size:
                labels = labels_from(label_counts(view, seen, known), most=seen.images)
        nothing = torch.zeros(0, *view.network.shape)
        # Packing and masks round, and what is rounded to zero does not show.
        whole = clean and view.masked is None and not known.mechanism.codec
        yield ReconstructedBatch(nothing, labels, step=1, steps=1, proven=whole, bag=bag)


def embedding_of(network: Network, kind: str) -> str:
    """Return the embedding's slot.  Raises SettingError where the model has none."""
    first = network.layers[0]
    if not isinstance(first, Embedding):
        raise SettingError(
            f"{kind} needs a model that begins with an embedding, and {network.model.kind} does "
            "not: use model.kind keyboard or transformer, on data.source chat"
        )
    return f"{first.name}.weight"


def typed_words(view: ServerView, seen: Observed) -> Tensor:
    """Return the words whose vectors changed; none where more did than can have been typed.

    -> (typed,) in order
    """
    place, shape = view.network.slots[embedding_of(view.network, "tokens")]
    moved = seen.gradient[place].view(shape).any(dim=1)  # (words,)
    typed = moved.nonzero().flatten()
    most = min(seen.images * view.network.shape[0], len(moved) - 1)
    return typed if len(typed) <= most else typed[:0]


def _how_often(typed: Tensor, total: int, known: AuxiliaryInfo) -> Tensor:
    """Count each word once for certain; the rest as in public text.  -> (typed,), sum: total"""
    public = torch.bincount(known.inputs.long().flatten(), minlength=int(typed.max()) + 1)
    return 1 + apportioned(1 + public[typed], total - len(typed))
