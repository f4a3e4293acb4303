"""Improved deep leakage from gradients. Zhao et al. 2020, arXiv:2001.02610.

The labels are read off the last bias; then L-BFGS looks for inputs whose gradient is the one that
was seen.  In float64 with a line search, where float32 stalls far from the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.gradients import gradient_of, label_counts, labels_from, legal, observe, whole
from lab.parts import Reconstruction
from lab.rng import stream
from lab.views import Guess, ServerView

STRIDE = 10  # iterations between two guesses
# Relative squared distances from the gradient: no other start would come closer, and no further
# step would show.
FOUND, EXACT = 1e-6, 1e-8
PATIENCE = 10  # strides in which a search has to come a tenth closer, or it is stuck


class Idlg(Reconstruction):
    """Match the gradient by L-BFGS, labels read off first: exact on smooth models, one example."""

    kind: Literal["idlg"] = "idlg"
    source: ClassVar[str] = "Zhao et al. 2020, arXiv:2001.02610, section 3"
    attacker: ClassVar[str] = "an honest-but-curious server"
    knows: ClassVar[str] = "the architecture and the training recipe"
    fails: ClassVar[str] = "ReLU models, larger batches, many local steps, noise"
    iterations: int = Field(
        2000, ge=10, le=20000, description="L-BFGS iterations of one start at most"
    )
    restarts: int = Field(
        3, ge=1, le=20, description="starts at most; the first to explain the gradient ends it"
    )
    most: int = Field(8, ge=1, le=64, description="examples reconstructed at most")
    seed: int = Field(0, ge=0, le=2**31, description="of the random starts")

    def __call__(self, view: ServerView, target: int) -> Iterator[Guess]:
        """The best so far, every `STRIDE` iterations."""
        whole(view, self.kind)
        seen = observe(view, target)
        labels = labels_from(label_counts(view, seen), self.most)
        best, lowest = torch.zeros(len(labels), *view.network.shape), inf
        for restart in range(self.restarts):
            start = stream(self.seed, "idlg", restart).random((len(labels), *view.network.shape))
            path = self._descend(view, seen.gradient, labels, torch.from_numpy(start))
            for stride, (inputs, objective) in enumerate(path, start=1):
                if objective < lowest:
                    best, lowest = inputs, objective
                step = min(restart * self.iterations + stride * STRIDE, self._steps())
                yield Guess(legal(best, view), labels, step, self._steps(), lowest)
            if lowest < FOUND:
                return

    def _steps(self) -> int:
        return self.restarts * self.iterations

    def _descend(
        self, view: ServerView, gradient: Tensor, labels: Tensor, start: Tensor
    ) -> Iterator[tuple[Tensor, float]]:
        """Inputs and their relative squared distance from the gradient, as L-BFGS goes on."""
        sent = view.sent.double().requires_grad_(True)
        inputs, size = start.requires_grad_(True), gradient.square().sum().clamp_min(1e-300)
        search = torch.optim.LBFGS(
            [inputs],
            max_iter=STRIDE,
            history_size=50,
            line_search_fn="strong_wolfe",
            tolerance_grad=0,
            tolerance_change=0,
        )

        def distance() -> Tensor:
            search.zero_grad()
            guess = gradient_of(view, sent, inputs, labels)
            loss = (guess - gradient).square().sum() / size
            loss.backward(inputs=[inputs])
            return loss.detach()

        distances: list[float] = []
        for _ in range(0, self.iterations, STRIDE):
            search.step(distance)
            objective = float(distance())
            if objective != objective:  # the search has left the numbers
                return
            yield inputs.detach().clone(), objective
            distances.append(objective)
            if objective < EXACT or objective > 0.9 * min(distances[:-PATIENCE], default=inf):
                return
