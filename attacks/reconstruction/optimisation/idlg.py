"""Improved deep leakage from gradients (iDLG). Zhao et al. 2020, arXiv:2001.02610.

The labels are computed from the last bias.  Then L-BFGS searches for inputs whose gradient is the
one
that was seen, or whose local steps are: see `attacks.reconstruction.shared.simulated_update`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import inf
from typing import ClassVar, Literal

import torch
from pydantic import Field

from attacks.reconstruction.shared.lbfgs_search import FOUND, STRIDE, descend
from attacks.reconstruction.shared.observed_gradient import legal, whole
from attacks.reconstruction.shared.simulated_update import Causation
from lab.common.random_streams import random_stream
from lab.common.thread_time import thread_seconds
from lab.interfaces.attack_data import ReconstructedBatch
from lab.interfaces.privacy_attacks import ReconstructionAttack
from lab.interfaces.views import AuxiliaryInfo, ServerView


class Idlg(ReconstructionAttack):
    """Infers labels, then matches gradients by L-BFGS; exact for one example on smooth models."""

    kind: Literal["idlg"] = "idlg"
    title: ClassVar[str] = "iDLG gradient matching"
    source: ClassVar[str] = "Zhao et al. 2020, arXiv:2001.02610, section 3"
    attacker: ClassVar[str] = "an honest-but-curious server"
    knows: ClassVar[str] = "the architecture and the training recipe"
    fails: ClassVar[str] = "ReLU models, larger batches, many local steps, noise"
    iterations: int = Field(
        2000, ge=10, le=20000, description="largest number of L-BFGS iterations from one start"
    )
    restarts: int = Field(
        3,
        ge=1,
        le=20,
        description=(
            "largest number of starts; the first that explains the gradient ends the search"
        ),
    )
    seconds: float = Field(300.0, ge=1, le=3600, description="time limit of the search, in seconds")
    unroll: int = Field(
        10,
        ge=1,
        le=100,
        description="largest number of local steps that it simulates; 1: one mean gradient",
    )
    most: int = Field(8, ge=1, le=64, description="largest number of examples to reconstruct")
    seed: int = Field(0, ge=0, le=2**31, description="seed of the random starts")

    def __call__(
        self, view: ServerView, target: int, known: AuxiliaryInfo
    ) -> Iterator[ReconstructedBatch]:
        """Yield the best guess so far, every `STRIDE` iterations."""
        whole(view, self.kind)
        cause = Causation.of(view, target, known, self.most, self.unroll, torch.float64)
        labels, end = cause.labels, thread_seconds() + self.seconds
        best, lowest = torch.zeros(len(labels), *view.network.shape), inf
        for restart in range(self.restarts):
            start = random_stream(self.seed, "idlg", restart).random(
                (len(labels), *view.network.shape)
            )
            inputs = torch.from_numpy(start).requires_grad_(True)
            causes = partial(cause, inputs, labels)
            path = descend([inputs], causes, cause.row, self.iterations, cause.scaled)
            for stride, objective in enumerate(path, start=1):
                if objective < lowest:
                    best, lowest = inputs.detach().clone(), objective
                step = min(restart * self.iterations + stride * STRIDE, self._steps())
                shown = legal(best, view)
                yield ReconstructedBatch(
                    shown, labels, step, self._steps(), lowest, starts=restart + 1
                )
                if thread_seconds() > end:
                    return
            if lowest < FOUND:
                return

    def _steps(self) -> int:
        return self.restarts * self.iterations
