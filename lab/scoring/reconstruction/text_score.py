"""Wording: how much of what was typed an attack has read, beside what a guess would read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lab.common.apportionment import multiset
from lab.common.settings import Settings
from lab.interfaces.attack_data import ReconstructedBatch
from lab.scoring.reconstruction.image_scorer import label_share

GAIN = 0.1  # of F1 over the best guess, before anything is called a leak
MOST = 0.5  # share that is called most
LISTED = 256  # words of a list
SHOWN = 16  # sentences that a score keeps, for those who want to read them


class Pair(Settings):
    """What somebody typed, and the guess that shares most words in their places with it."""

    typed: tuple[str, ...]
    guessed: tuple[str, ...]  # "" where the guess is silent; empty: there was no guess left
    next_typed: str
    next_guessed: str = ""

    @property
    def right(self) -> int:
        """How many words are right, each in its place."""
        return sum(one == other for one, other in zip(self.typed, self.guessed, strict=False))


class TextScore(Settings):
    """The score of a guess at text.  F1 counts words as a bag, each as often as it was there."""

    kind: Literal["text"] = "text"
    sentences: int  # that were typed
    guessed: int  # that the attack claims
    exact: int  # of the typed ones, word by word in order; a claim counts once
    f1: float  # of all words, as multisets
    floors: dict[str, float]  # F1 of guesses that need no gradient
    distinct: int  # different words that were typed
    found: int  # of these,
    wrong: int  # different words that are claimed, and nobody typed
    next: float | None  # share of the true next words that were claimed, as multisets
    next_floor: float  # the same for next words of public text: the most frequent, or any
    pairs: tuple[Pair, ...]
    bag: tuple[str, ...] = ()  # words claimed without order, the first of them
    next_words: tuple[str, ...] = ()  # next words claimed, where no sentence is

    @property
    def false(self) -> int:
        """Sentences that are claimed, and nobody typed."""
        return self.guessed - self.exact

    @property
    def floor(self) -> float:
        """The best guess without the gradient."""
        return max(self.floors.values())

    @property
    def verdict(self) -> str:
        if self.exact == self.sentences and not self.false:
            return "exact: every sentence, in order"
        if self.exact > MOST * self.sentences:
            return "partial: most sentences, in order"
        if self.found == self.distinct and not self.wrong:
            return "every word that was typed, and no other, without their order"
        if self.f1 > self.floor + GAIN:
            return "partial: " + ("most words" if self.f1 > MOST else "better than a guess")
        if self.next is not None and self.next > self.next_floor + GAIN:
            return "next words only"
        return "no better than a guess without the gradient"

    def lines(self) -> list[str]:
        floors = ", ".join(f"{name} {value:.2f}" for name, value in self.floors.items())
        told = [
            self.verdict,
            f"sentences exact and in order: {self.exact} of {self.sentences}, and {self.false} "
            "false",
            f"different words found: {self.found} of {self.distinct}, and {self.wrong} wrong",
            f"F1 of all words: {self.f1:.2f} (without the gradient: {floors})",
        ]
        if self.next is not None:
            told.append(f"next words right: {self.next:.0%} (public ones {self.next_floor:.0%})")
        for pair in self.pairs if self.guessed else ():
            told.append(f"typed: {' '.join(pair.typed)} > {pair.next_typed}")
            told.append(f"read:  {' '.join(pair.guessed)} > {pair.next_guessed}")
        if self.bag:
            told.append("read: " + " ".join(self.bag))
        if self.next_words:
            told.append("next words read: " + " ".join(self.next_words))
        return told


@dataclass(frozen=True, eq=False)
class TextScorer:
    """Knows what was typed, and what everybody may read."""

    inputs: Tensor  # (private, places) word numbers
    labels: Tensor  # (private,)
    public: Tensor  # (test, places)
    public_labels: Tensor  # (test,)
    words: tuple[str, ...]

    def score(self, guess: ReconstructedBatch) -> TextScore:
        true, mine = counted(self.inputs), counted(guess.inputs)
        if guess.bag is not None:
            mine = counted(torch.arange(len(guess.bag)).repeat_interleave(guess.bag))
        many = int(max(self.labels.max(), self.public_labels.max())) + 1
        usual = torch.bincount(self.public_labels, minlength=many)
        next_words = multiset(usual, len(self.labels)), self.public_labels[self._places]
        return TextScore(
            sentences=len(self.inputs),
            guessed=len(guess.inputs),
            exact=sum((rows_of(self.inputs) & rows_of(guess.inputs)).values()),
            f1=f1(mine, true),
            floors=self.floors(),
            distinct=len(true),
            found=len(true.keys() & mine.keys()),
            wrong=len(mine.keys() - true.keys()),
            next=label_share(guess.labels, self.labels) if len(guess.labels) else None,
            next_floor=max(label_share(each, self.labels) for each in next_words),
            pairs=self._pairs(guess),
            bag=() if guess.bag is None else tuple(self.words[k] for k in sorted(mine))[:LISTED],
            next_words=() if len(guess.inputs) else self._said(guess.labels[:LISTED]),
        )

    def floors(self) -> dict[str, float]:
        """As many words as were typed, without the gradient."""
        true, usual = counted(self.inputs), torch.bincount(self.public.long().flatten())
        return {
            "words as frequent as in public text": f1(
                counted(multiset(usual, self.inputs.numel())), true
            ),
            "public sentences": f1(counted(self.public[self._places]), true),
        }

    @property
    def _places(self) -> Tensor:
        """Of as many public sentences as were typed."""
        return torch.linspace(0, len(self.public) - 1, len(self.inputs)).long()

    def _pairs(self, guess: ReconstructedBatch) -> tuple[Pair, ...]:
        """What was typed, each beside the guess that was matched with it."""
        guess_of = dict(self._matched(guess.inputs))
        pairs = []
        for place, sentence in enumerate(self.inputs[:SHOWN]):
            mine = guess_of.get(place)
            read = () if mine is None else self._said(guess.inputs[mine])
            told = mine is not None and mine < len(guess.labels)
            pairs.append(
                Pair(
                    typed=self._said(sentence),
                    guessed=read,
                    next_typed=self.words[int(self.labels[place])],
                    next_guessed=self.words[int(guess.labels[mine])] if told else "",
                )
            )
        return tuple(pairs)

    def _said(self, sentence: Tensor) -> tuple[str, ...]:
        """Word 0 stands for none."""
        return tuple(self.words[k] if k else "" for k in sentence.long().tolist())

    def _matched(self, guesses: Tensor) -> list[tuple[int, int]]:
        """Places of typed sentences and of guesses; most words in their places, over all pairs."""
        from scipy.optimize import linear_sum_assignment

        same = (self.inputs.unsqueeze(1) == guesses).sum(dim=2)  # (private, guesses)
        true, mine = linear_sum_assignment(same.numpy(), maximize=True)
        return list(zip(true.tolist(), mine.tolist(), strict=True))


def counted(words: Tensor) -> Counter[int]:
    """How often each word is there; 0 stands for none."""
    return Counter(word for word in words.long().flatten().tolist() if word)


def rows_of(sentences: Tensor) -> Counter[tuple[int, ...]]:
    return Counter(tuple(row) for row in sentences.long().tolist())


def f1(guessed: Counter[int], true: Counter[int]) -> float:
    """Harmonic mean of precision and recall, over words as often as they are there."""
    right = (guessed & true).total()
    return 2 * right / max(1, guessed.total() + true.total())
