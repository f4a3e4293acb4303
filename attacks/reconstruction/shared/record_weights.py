"""The weight of candidate records: how often, and with which labels, each is behind a gradient.

The server knows the model, so it knows the errors of a candidate at the first layer with each
label.
These errors add up to the gradient.  Therefore non-negative least squares tells how often each
candidate occurs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.reconstruction.shared.observed_gradient import Observed
from lab.interfaces.views import ServerView
from lab.models.layers import Dense

COPIES = 2  # of one record in a batch, at most
ACTIVE = 5  # candidates for each example that may have a weight at once
TRIES = 3  # of a candidate, for each that may have a weight
SWEEPS = 100  # through all records, at most
SMALL = 1e-5  # of the gradient's length, that is taken for rounding
FAINT = 0.01  # of the strongest neuron: weaker ones count no more than this one


def first_of(view: ServerView, gradient: Tensor) -> Tensor:
    """Return the first layer's gradient, the bias last.  (params,) -> (neurons, inputs + 1)"""
    of, (weight, bias) = view.network.split(gradient), list(view.network.slots)[:2]
    return torch.cat([of[weight], of[bias].unsqueeze(1)], dim=1)


@dataclass(frozen=True, eq=False)
class Layer:
    """The first layer's gradient, and the model behind the layer."""

    view: ServerView
    seen: Observed
    gradient: Tensor  # (neurons, inputs + 1) float64: the first layer's

    @classmethod
    def of(cls, view: ServerView, seen: Observed) -> Layer:
        return cls(view, seen, first_of(view, seen.gradient))

    def slopes(self, records: Tensor) -> tuple[Tensor, Tensor]:
        """Return each logit's derivative by each neuron, and each class's probability.

        records (records, width) -> (records, classes, neurons), (records, classes)
        """
        network = self.view.network
        own = network.owned(network.split(self.view.sent.double()))
        outputs, first = records.view(-1, *network.shape), torch.zeros(0)
        for layer, params in zip(network.layers, own, strict=True):
            outputs = layer(params, outputs)
            if isinstance(layer, Dense) and not len(first):
                first = outputs = outputs.detach().requires_grad_(True)
        each = [torch.autograd.grad(one.sum(), first, retain_graph=True)[0] for one in outputs.T]
        return torch.stack(each, dim=1), outputs.detach().softmax(dim=1)

    def weighed(self, records: Tensor) -> Tensor:
        """Return the errors of the logits that together come nearest to the gradient.

        records (records, width) -> (records, classes), each of sum 0, of the batch's sum
        """
        slopes, likely = self.slopes(records)
        classes = likely.shape[1]
        free = torch.linalg.svd(torch.ones(1, classes, dtype=torch.float64))[2][1:]  # of sum 0
        errors = torch.einsum("fc,rcn->rfn", free, slopes)  # (records, classes - 1, neurons)
        whole = F.pad(records, (0, 1), value=1.0)
        _, _, basis = torch.linalg.svd(whole, full_matrices=False)
        basis = basis[: min(len(basis), len(self.gradient))]
        inputs = whole @ basis.T  # (records, directions)
        effects = torch.einsum("rfn,rd->rfnd", errors, inputs).flatten(2).flatten(0, 1)
        wanted = (self.seen.images * self.gradient @ basis.T).flatten()
        found = torch.linalg.lstsq(effects.T, wanted.unsqueeze(1), driver="gelsd").solution
        total: Tensor = found.view(len(records), classes - 1) @ free
        return total

    def told(self, records: Tensor) -> Tensor:
        """Estimate how often each record occurred with each label, with few combinations.

        By non-negative least squares: that errors have a sign makes the solution sparse (Bruckstein
        et al. 2008, IEEE Trans. Inf. Theory 54).  -> (records, classes) >= 0, not integers
        """
        left, right, wanted = self.effects(records)
        weights = sparse(left, right, wanted, ACTIVE * self.seen.images)
        return weights.view(len(records), -1)

    def effects(self, records: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return each record's contribution to the gradient with each label, and their wanted sum.

        -> (records * classes, neurons), (records * classes, directions), of which the product is
        one record's, and (neurons, directions)
        """
        slopes, likely = self.slopes(records)
        classes = likely.shape[1]
        wrong = likely.unsqueeze(1) - torch.eye(classes)  # (records, labels, classes)
        errors = torch.einsum("rlc,rcn->rln", wrong, slopes).flatten(0, 1)
        _, sizes, basis = torch.linalg.svd(self.gradient, full_matrices=False)
        basis = basis[sizes > SMALL * sizes[0]]
        inputs = F.pad(records, (0, 1), value=1.0) @ basis.T
        inputs = inputs.repeat_interleave(classes, dim=0)
        return errors, inputs, self.seen.images * self.gradient @ basis.T

    def counted(self, records: Tensor) -> Tensor:
        """Count how often each record occurred with each label.  -> (records, classes) integers"""
        errors, (_, likely) = self.weighed(records), self.slopes(records)
        codes = counts_up_to(COPIES, likely.shape[1])  # (codes, classes)
        would = codes.sum(dim=1)[:, None] * likely[:, None] - codes  # (records, codes, classes)
        return codes[(would - errors[:, None]).square().sum(dim=2).argmin(dim=1)]

    def refined(self, records: Tensor, counts: Tensor, numbers: list[int]) -> tuple[Tensor, Tensor]:
        """Return the numbers that the gradient implies, given all else, and their sensitivity.

        Neurons count by how weak they are, as floats are rounded in proportion to their size.
        -> (records, numbers), (records, neurons): how each moves with the gradient's entries
        """
        slopes, likely = self.slopes(records)
        errors = counts.sum(dim=1, keepdim=True) * likely - counts
        effects = torch.einsum("rc,rcn->nr", errors / self.seen.images, slopes)
        sizes = self.gradient.norm(dim=1, keepdim=True)
        weights = 1 / (sizes + FAINT * sizes.max())  # (neurons, 1)
        inverse = torch.linalg.pinv(effects * weights) * weights.T
        return inverse @ self.gradient[:, numbers], inverse


def sparse(left: Tensor, right: Tensor, wanted: Tensor, most: int) -> Tensor:
    """Find weights >= 0 with which the products left^T right add up to what is wanted.

    Lawson and Hanson 1974, chapter 23.  left (products, neurons), right (products, directions),
    wanted (neurons, directions) -> (products,), at most so many of them above 0
    """
    size = (left.norm(dim=1) * right.norm(dim=1)).clamp_min(1e-300)
    weights, rest = left.new_zeros(len(left)), wanted
    for _ in range(TRIES * most):
        if int((weights > 0).sum()) >= most or rest.norm() <= SMALL * wanted.norm():
            break
        gain = ((left @ rest) * right).sum(dim=1) / size
        gain[weights > 0] = 0.0
        best = int(gain.argmax())
        if not gain[best] > SMALL * rest.norm():
            break
        active = torch.cat([(weights > 0).nonzero().flatten(), torch.tensor([best])])
        weights = _without_negatives(left, right, wanted, weights, active)
        rest = wanted - (left * weights.unsqueeze(1)).T @ right
    return weights


def exchanged(
    left: Tensor, right: Tensor, wanted: Tensor, chosen: list[int], groups: Tensor
) -> list[int]:
    """Replace each chosen product in turn by the best of its group, until none is better.

    groups (products,) -> as many as were chosen
    """
    sizes = left.square().sum(dim=1) * right.square().sum(dim=1)
    rest = wanted - left[chosen].T @ right[chosen]
    for _ in range(SWEEPS):
        before = list(chosen)
        for place, mine in enumerate(before):
            rest = rest + torch.outer(left[mine], right[mine])
            gain = 2 * ((left @ rest) * right).sum(dim=1) - sizes
            best = int(gain.masked_fill(groups != groups[mine], -torch.inf).argmax())
            chosen = [*chosen[:place], best, *chosen[place + 1 :]]
            rest = rest - torch.outer(left[best], right[best])
        if chosen == before:
            break
    return chosen


def _without_negatives(
    left: Tensor, right: Tensor, wanted: Tensor, weights: Tensor, active: Tensor
) -> Tensor:
    """Solve least squares over the active products; drop those that would turn negative."""
    while True:
        products = torch.einsum("an,ad->nda", left[active], right[active]).flatten(0, 1)
        solved = torch.linalg.lstsq(products, wanted.reshape(-1, 1)).solution.flatten()
        found = torch.zeros_like(weights)
        if (solved > 0).all():
            found[active] = solved
            return found
        before = weights[active]
        reach = (before / (before - solved).clamp_min(1e-300))[solved <= 0].min()
        now = before + reach * (solved - before)
        now[(solved <= 0) & (now <= 1e-12 * now.max())] = 0.0
        found[active] = now
        weights, active = found, active[now > 0]
        if not len(active):
            return weights


def counts_up_to(copies: int, classes: int) -> Tensor:
    """List every multiset of at most so many labels.  -> (multisets, classes)"""
    several = [
        F.one_hot(torch.tensor(labels, dtype=torch.int64), classes).sum(dim=0)
        for copy in range(copies + 1)
        for labels in combinations_with_replacement(range(classes), copy)
    ]
    return torch.stack(several).double()
