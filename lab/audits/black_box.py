"""Mislabelled canaries, and the released model only. Steinke et al. 2023, arXiv:2305.08846.

A canary is an example with a wrong label: a model that never trained on it has no reason to predict
that label.  An excluded canary is absent, with neither the wrong nor the right label, so the bound
is
about adding or removing an example, as the claim is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from lab.audits.audit import Audit, AuditedRun, CanaryScores
from lab.common.random_streams import random_stream
from lab.common.settings import SettingError
from lab.engine.data.federation import federated_dataset, shifts
from lab.engine.data.injected_examples import InjectedExamples, with_injected_examples
from lab.engine.data.malicious_clients import malicious_clients
from lab.engine.data.public_examples import test_data
from lab.engine.differential_privacy.accountant import Adversary
from lab.engine.round import run_round
from lab.engine.run import initial_state
from lab.experiment.experiment import Experiment
from lab.interfaces.data import FederatedDataset, Partition
from lab.models.architectures import Modality
from lab.models.inputs import as_floats
from lab.models.network import Network

MOST = 2  # one in so many of the examples becomes a canary, at most
MANY = 2000  # test examples that tell what is usual
BLOCK = 1024  # examples at once


class BlackBox(Audit):
    """Trains a separate run with mislabelled examples; bounds the released model's leakage."""

    kind: Literal["black-box"] = "black-box"
    title: ClassVar[str] = "Mislabelled canaries (black box)"
    source: ClassVar[str] = "Steinke et al. 2023, arXiv:2305.08846, section 6"
    reads: ClassVar[tuple[Modality, ...]] = ("pictures", "table")
    against: ClassVar[Adversary] = "public"
    attacker: ClassVar[str] = "an auditor who has the released model and no other"
    knows: ClassVar[str] = "every canary with its wrong label, and public test examples"
    fails: ClassVar[str] = "much noise: one model leaks far less than all rounds do"
    main: ClassVar[str] = "steinke"  # a released model is no Gaussian mechanism

    def refuse(self, past: AuditedRun) -> None:
        now = past.experiment.at(max(1, past.round))
        if self.fault != "none":
            raise SettingError(
                f"fault is {self.fault}, and {self.kind} sees too little to catch one: audit "
                "with one-run"
            )
        if shifts(now.data):
            raise SettingError(
                f"data.partition.kind {now.data.partition.kind} changes each client's examples: "
                "audit a run whose examples stay as they are"
            )
        most = len(_places(now, past.client)) // MOST
        if self.canaries > most:
            raise SettingError(
                f"canaries is {self.canaries}, which take the places of examples: give {most} or "
                "fewer, or more data.examples"
            )

    def __call__(self, past: AuditedRun) -> Iterator[CanaryScores]:
        self.refuse(past)
        inside = past.draw(self.canaries)
        chosen = mislabelled(past.experiment.at(1), self.canaries, past.client)
        state = initial_state(inserted(past.experiment, chosen, inside))
        network, public = past.experiment.architecture, test_data(past.experiment.at(1))
        for round in range(1, past.round + 1):
            state = run_round(state).state
            scores = belief(network, state.model, chosen, public)
            yield CanaryScores(round, inside, {"belief in the wrong label": scores})


@dataclass(frozen=True, eq=False)
class Mislabelled:
    """The examples whose places canaries take or leave empty."""

    clients: np.ndarray  # (canaries,)
    positions: np.ndarray  # (canaries,) among the client's own
    inputs: Tensor  # (canaries, *shape) floats
    labels: Tensor  # (canaries,) wrong ones
    right: Tensor  # (canaries,)


class Thinned(Partition):
    """A partition without some examples.  It is in no table, so no file can ask for it."""

    kind: Literal["thinned"] = "thinned"
    honest: Partition
    absent: tuple[tuple[int, ...], ...]  # of each client, places among its own

    def __call__(
        self,
        labels: np.ndarray,
        groups: np.ndarray | None,
        clients: int,
        generator: np.random.Generator,
    ) -> Sequence[np.ndarray]:
        shares = self.honest(labels, groups, clients, generator)
        return [
            np.delete(share, np.array(gone, dtype=np.int64))
            for share, gone in zip(shares, self.absent, strict=True)
        ]

    def dump(self) -> Any:
        """Dump the honest partition: random coins decide who is absent, and no setting."""
        return self.honest.dump()


def mislabelled(now: Experiment, count: int, client: int | None = None) -> Mislabelled:
    """Draw examples of honest clients, or of `client`, each with a random wrong label."""
    federation, places = federated_dataset(now), _places(now, client)
    chosen = random_stream(now.seed, "canary examples").permutation(len(places))[:count]
    clients, positions = places[np.sort(chosen)].T
    held = torch.cat(
        [federation.held(one)[[at]] for one, at in zip(clients, positions, strict=True)]
    )
    classes = len(now.data.source.classes)
    further = random_stream(now.seed, "canary labels").integers(1, classes, size=count)
    right = federation.labels[held]
    wrong = (right + torch.from_numpy(further)) % classes
    return Mislabelled(clients, positions, as_floats(federation.inputs[held]), wrong, right)


def inserted(experiment: Experiment, chosen: Mislabelled, inside: np.ndarray) -> Experiment:
    """Return the experiment with the included canaries, and without the excluded examples."""
    absent, plants = [], []
    for client in range(experiment.data.clients):
        mine = chosen.clients == client
        gone, there = chosen.positions[mine & ~inside], chosen.positions[mine & inside]
        absent.append(tuple(gone.tolist()))
        if len(there):
            moved = torch.from_numpy(there - np.searchsorted(np.sort(gone), there))
            which = torch.from_numpy(np.flatnonzero(mine & inside))
            plants.append(
                InjectedExamples(client, moved, chosen.inputs[which], chosen.labels[which])
            )
    split = Thinned(honest=experiment.data.partition, absent=tuple(absent))
    data = experiment.data.model_copy(update={"partition": split})
    return with_injected_examples(experiment.model_copy(update={"data": data}), plants)


def belief(
    network: Network, model: Tensor, chosen: Mislabelled, public: FederatedDataset
) -> np.ndarray:
    """Return the log probability of wrong labels, minus that of others in the right class.

    public: the test examples that serve as those others.  -> (canaries,)
    """
    others = _logarithms(network, model, as_floats(public.test_inputs[:MANY]))
    usual = others.new_zeros(2 * [others.shape[1]])  # (classes, classes): the right one, another
    for right in range(len(usual)):
        like = others[public.test_labels[:MANY] == right]
        usual[right] = like.mean(dim=0) if len(like) else 0.0
    mine = _logarithms(network, model, chosen.inputs)  # (canaries, classes)
    gained = mine.gather(1, chosen.labels[:, None])[:, 0] - usual[chosen.right, chosen.labels]
    return gained.numpy()


def _logarithms(network: Network, model: Tensor, inputs: Tensor) -> Tensor:
    """Return the log-probability of each class.  -> (inputs, classes) float64"""
    with torch.no_grad():
        blocks = [network(model, block) for block in inputs.split(BLOCK)]
    return torch.cat(blocks).double().log_softmax(dim=1)


def _places(now: Experiment, client: int | None) -> np.ndarray:
    """Return every example that may become a canary: its client and place.  -> (examples, 2)"""
    honest = [one for one in federated_dataset(now).everyone if one not in malicious_clients(now)]
    if client is not None and client not in honest:
        raise SettingError(f"client is {client}, who is malicious: choose from {honest}")
    sizes = federated_dataset(now).sizes
    return np.array(
        [
            (one, place)
            for one in (honest if client is None else [client])
            for place in range(int(sizes[one]))
        ],
        dtype=np.int64,
    ).reshape(-1, 2)
