"""Deep leakage from gradients. Zhu, Liu and Han 2019, arXiv:1906.08935, algorithm 1.

L-BFGS optimises inputs and labels together until their gradient matches the one that was seen.  A
label is soft during the search, the softmax of free numbers; the answer is the largest share.  The
published code answers with the label that it began with; ours with the one that it found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from attacks.reconstruction.shared.lbfgs_search import FOUND, STRIDE, descend
from attacks.reconstruction.shared.observed_gradient import legal, whole
from attacks.reconstruction.shared.simulated_update import Causation
from lab.common.random_streams import random_stream
from lab.common.thread_time import thread_seconds
from lab.interfaces.attack_data import ReconstructedBatch
from lab.interfaces.privacy_attacks import ReconstructionAttack
from lab.interfaces.views import AuxiliaryInfo, ServerView


class Dlg(ReconstructionAttack):
    """Matches the gradient by L-BFGS over inputs and labels together; infers no label first."""

    kind: Literal["dlg"] = "dlg"
    title: ClassVar[str] = "Deep leakage from gradients (DLG)"
    source: ClassVar[str] = "Zhu et al. 2019, arXiv:1906.08935, section 3"
    attacker: ClassVar[str] = "an honest-but-curious server"
    knows: ClassVar[str] = "the architecture and the training recipe"
    fails: ClassVar[str] = "ReLU models, larger batches, many local steps, noise, unlucky starts"
    iterations: int = Field(
        1000, ge=10, le=20000, description="largest number of L-BFGS iterations from one start"
    )
    restarts: int = Field(
        4,
        ge=1,
        le=20,
        description=(
            "largest number of starts; the first that explains the gradient ends the search"
        ),
    )
    seconds: float = Field(60.0, ge=1, le=3600, description="time limit of the search, in seconds")
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
        end = thread_seconds() + self.seconds
        best: ReconstructedBatch | None = None
        for restart in range(self.restarts):
            inputs, scores = self._start(view, len(cause.labels), restart)
            causes = partial(_row, cause, inputs, scores)
            path = descend([inputs, scores], causes, cause.row, self.iterations, cause.scaled)
            for stride, objective in enumerate(path, start=1):
                step = min(restart * self.iterations + stride * STRIDE, self._steps())
                if best is None or best.objective is None or objective < best.objective:
                    labels = scores.detach().argmax(dim=1)
                    best = ReconstructedBatch(
                        legal(inputs.detach(), view), labels, step, 1, objective
                    )
                yield replace(best, step=step, steps=self._steps(), starts=restart + 1)
                if thread_seconds() > end:
                    return
            if best is not None and best.objective is not None and best.objective < FOUND:
                return

    def _steps(self) -> int:
        return self.restarts * self.iterations

    def _start(self, view: ServerView, examples: int, restart: int) -> tuple[Tensor, Tensor]:
        """Return random inputs, and scores whose softmax is a soft label."""
        draw = random_stream(self.seed, "dlg", restart)
        inputs = torch.from_numpy(draw.random((examples, *view.network.shape)))
        scores = torch.from_numpy(draw.normal(size=(examples, view.network.classes)))
        return inputs.requires_grad_(True), scores.requires_grad_(True)


def _row(cause: Causation, inputs: Tensor, scores: Tensor) -> Tensor:
    return cause(inputs, F.softmax(scores, dim=1))
