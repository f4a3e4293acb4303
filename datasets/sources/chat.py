"""Typed chat of 200 people. chitchat-dataset 0.9.0 (BYU PCC lab, 2018), MIT.

All messages of a person are cut into windows of sixteen words; the next word is the label.
"""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch

from datasets.sources.shared.file_lookup import COMMITTED, arrays, read
from lab.interfaces.data import DataSource, Examples
from lab.models.layers import Shape

DIGEST = "44643e1873d15d4c6fbce46e1c2475c8e3d05e67b28b9bd9e5bb6f49b52c89cb"
PEOPLE = 200
LENGTH = 16  # words of a window
UNKNOWN = 2  # stands for every word that is not in the vocabulary; nobody types it, so no label
MARKS = {"<pad>": "[none]", "<s>": "¶", "<unk>": "[rare]"}  # a pilcrow begins a message
TRAIN, TEST = 100, 10  # windows of each person
TEST_SHARE = 0.2  # of what a person typed, the last of it


class Vocabulary:
    """The words, read on first use, so that a missing file only affects this data set."""

    def __get__(self, source: Any, kind: Any) -> tuple[str, ...]:
        return _vocabulary()


class Chat(DataSource):
    """Predicts the next word from sixteen typed words; 20,000 windows by 200 people."""

    kind: Literal["chat"] = "chat"
    title: ClassVar[str] = "Chat messages"
    source: ClassVar[str] = "chitchat-dataset 0.9.0 (BYU PCC lab, 2018); an extract"
    licence: ClassVar[str] = "MIT; see datasets/files/README.md"
    shape: ClassVar[Shape] = (LENGTH,)
    classes: ClassVar[tuple[str, ...]] = cast("tuple[str, ...]", Vocabulary())
    size: ClassVar[int] = PEOPLE * TRAIN
    groups: ClassVar[tuple[str, ...]] = tuple(f"person {k}" for k in range(1, PEOPLE + 1))
    content: ClassVar[Literal["pictures", "table", "text"]] = "text"

    def load(self) -> Examples:
        held = _archive()
        ends = [*held["message_start"][1:], len(held["tokens"])]
        person = np.repeat(held["message_person"], np.diff([0, *ends]))  # of each word
        train, test = [], []
        for one in range(PEOPLE):
            typed = held["tokens"][person == one].astype(np.float32)
            last = round(len(typed) * (1 - TEST_SHARE))
            train.append(_windows(typed[:last], TRAIN))
            test.append(_windows(typed[last:], TEST))
        inputs, labels = _apart(np.concatenate(train))
        test_inputs, test_labels = _apart(np.concatenate(test))
        groups = torch.arange(PEOPLE).repeat_interleave(TRAIN)
        test_groups = torch.arange(PEOPLE).repeat_interleave(TEST)
        return Examples(inputs, labels, test_inputs, test_labels, groups, test_groups)


def _windows(typed: np.ndarray, count: int) -> np.ndarray:
    """Cut windows at even distances whose last word is known.  -> (count, LENGTH + 1)"""
    every = np.lib.stride_tricks.sliding_window_view(typed, LENGTH + 1)
    known = np.flatnonzero(every[:, -1] != UNKNOWN)
    chosen: np.ndarray = every[known[np.linspace(0, len(known) - 1, count).astype(int)]]
    return chosen


def _apart(windows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Split windows into word numbers as floats, which hold them exactly, and next words."""
    inputs = torch.from_numpy(np.ascontiguousarray(windows[:, :-1]))
    return inputs, torch.from_numpy(windows[:, -1].astype(np.int64))


def _archive() -> dict[str, np.ndarray]:
    remedy = "restore datasets/files from the repository"
    return arrays(read("chat_200_people.npz", DIGEST, [COMMITTED], remedy))


@cache
def _vocabulary() -> tuple[str, ...]:
    """Read the words; marks have square brackets, because a page takes pointed ones for tags."""
    words = _archive()["vocab"].tobytes().decode().split("\n")
    return tuple(MARKS.get(word, word.replace("<", "[").replace(">", "]")) for word in words)
