"""Exact records of a table, from the row space of a dense layer's gradient.

The setting is that of TabLeak (Vero et al. 2023, arXiv:2210.01785), which optimises records.  Here
a
search tries answers, as Petrov et al. 2024, arXiv:2405.15586, try words.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.reconstruction.shared.observed_gradient import observe
from attacks.reconstruction.shared.record_explanation import account, snapped
from attacks.reconstruction.shared.record_weights import first_of
from attacks.reconstruction.shared.row_space import Span, answered, completed
from lab.common.settings import SettingError
from lab.interfaces.attack_data import ReconstructedBatch
from lab.interfaces.privacy_attacks import ReconstructionAttack
from lab.interfaces.views import AuxiliaryInfo, ServerView
from lab.models.layers import Dense, Flatten
from lab.models.network import Network

FAR = 8.0  # spreads from the centre that a number may lie, where no public record tells


class Tabular(ReconstructionAttack):
    """Searches for each record of a batch, column by column, without labels; proves its result."""

    kind: Literal["tabular"] = "tabular"
    title: ClassVar[str] = "Tabular record search"
    source: ClassVar[str] = (
        "setting: Vero et al. 2023, arXiv:2210.01785; search: Petrov et al. 2024, arXiv:2405.15586"
    )
    attacker: ClassVar[str] = "an honest-but-curious server"
    knows: ClassVar[str] = (
        "the architecture, the training recipe, the table's columns, and public records for "
        "the range of its numbers"
    )
    fails: ClassVar[str] = (
        "noise and compression; first layers that are not dense; more records than the "
        "columns can tell apart; several local steps, after which it proves nothing"
    )
    most: int = Field(
        5_000, ge=1, le=10_000, description="largest number of candidate records that it weighs"
    )

    def check(self, network: Network) -> None:
        kinds = [type(layer) for layer in network.layers if not isinstance(layer, Flatten)]
        if len(network.shape) != 1:
            raise SettingError(
                "tabular finds records of a table, and these are pictures: use data.source adult "
                "or heart, or the attack spear"
            )
        if kinds[0] is not Dense or len(kinds) < 2:
            raise SettingError(
                "tabular needs a model that begins with a dense layer and has another, such as "
                f"mlp, and {network.model.kind} does not: use first-layer"
            )

    def __call__(
        self, view: ServerView, target: int, known: AuxiliaryInfo
    ) -> Iterator[ReconstructedBatch]:
        """Yield the candidates in the span first, then those of them that explain the gradient."""
        self.check(view.network)
        if not known.columns:
            raise SettingError("tabular must know what the columns mean: use a source with columns")
        seen = observe(view, target)
        found = self._candidates(Span.of(known.columns, first_of(view, seen.gradient)), known)
        rows = found.new_zeros(len(found), dtype=torch.int64)
        yield ReconstructedBatch(found.float(), rows, step=1, steps=2, objective=1.0, proven=False)
        told = None
        if view.shared == view.network.size and 0 < len(found) <= self.most:
            told = account(view, seen, known.columns, found)
        if told is None or not len(told.labels):
            yield ReconstructedBatch(
                found.float(), rows, step=2, steps=2, objective=1.0, proven=False
            )
            return
        yield ReconstructedBatch(told.records.float(), told.labels, 2, 2, told.left, told.proven)

    def _candidates(self, span: Span | None, known: AuxiliaryInfo) -> Tensor:
        """Return all records that the span allows; none where it is uninformative.

        -> (records, width)
        """
        width = known.inputs.shape[1]
        ways = None if span is None else answered(span)
        if span is None or ways is None or len(ways[1]) > self.most:
            return torch.zeros(0, width, dtype=torch.float64)
        limits = torch.tensor([[-FAR], [FAR]]).expand(2, width)
        if len(known.inputs):
            limits = torch.stack([known.inputs.amin(dim=0), known.inputs.amax(dim=0)])
        found = completed(span, *ways, limits.double())
        if len(found) > self.most:
            found = completed(span, *ways)
        return snapped(known.columns, found)
