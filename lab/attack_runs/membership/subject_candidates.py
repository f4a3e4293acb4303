"""The census: which people are asked about, which took part, and whose data an attacker has.

Everybody is asked by test examples, on which nobody trained, neither those who took part nor those
who did not.  Who takes part is drawn at random, so the two are alike but for the training.  (For
comparison all may be asked by their training examples instead.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lab.common.random_streams import random_stream
from lab.common.settings import SettingError
from lab.engine.data.federation import examples_of, federated_dataset
from lab.engine.data.malicious_clients import malicious_clients
from lab.experiment.experiment import Experiment
from lab.interfaces.attack_data import Candidates
from lab.interfaces.privacy_attacks import AttackResources
from lab.models.inputs import as_floats


@dataclass(frozen=True, eq=False)
class SubjectCandidates:
    """People, by their number in the census, and the truth, which only the judge may read."""

    asked: Candidates  # examples of people who are asked about
    person: Tensor  # (asked,) int64 whose each is
    others: Candidates  # all training examples of further people, whom no client holds
    owner: np.ndarray  # (people,) the client that holds each, -1 for nobody

    @property
    def member(self) -> np.ndarray:
        """(people,) bool"""
        return self.owner >= 0


def select_subjects(
    now: Experiment, needs: AttackResources, seen: bool, client: int | None = None
) -> SubjectCandidates:
    """Members first.  client: of its people alone; None: of those of all honest clients.

    An attack with shadows owns half of the people who took no part, and is not asked about them.

    seen: asked by training examples, of those who took no part as well

    Raises SettingError where there is nobody to tell apart.
    """
    held, absent = _people(now)
    honest = [one for one in federated_dataset(now).everyone if one not in malicious_clients(now)]
    if client is not None and client not in honest:
        raise SettingError(f"client {client} is malicious: choose from {honest}")
    wanted = honest if client is None else [client]
    members = [person for person, owner in held.items() if owner in wanted]
    if not members or len(absent) < 4:
        raise SettingError(
            f"{len(absent)} people took no part and {len(members)} did, so there is nobody to tell "
            "apart: use data.partition.kind people with data.partition.left_out 0.5"
        )
    drawn = random_stream(now.seed, "census").permutation(absent).tolist()
    kept = len(drawn) // 2 if needs.shadows else 0
    asked, owned = [*members, *drawn[kept:]], drawn[:kept]
    examples = examples_of(now)
    assert examples.groups is not None
    assert examples.test_groups is not None
    place = torch.full((int(examples.groups.max()) + 1,), -1)
    place[torch.tensor(asked)] = torch.arange(len(asked))
    whose, inputs, labels = examples.test_groups, examples.test_inputs, examples.test_labels
    if seen:
        whose, inputs, labels = examples.groups, examples.inputs, examples.labels
    person = place[whose]
    chosen, theirs = person >= 0, torch.isin(examples.groups, torch.tensor(owned))
    return SubjectCandidates(
        Candidates(as_floats(inputs[chosen]), labels[chosen]),
        person[chosen],
        Candidates(as_floats(examples.inputs[theirs]), examples.labels[theirs]),
        np.array([held.get(person, -1) for person in asked]),
    )


def _people(now: Experiment) -> tuple[dict[int, int], list[int]]:
    """The client that each person is at, and who is at none."""
    examples = examples_of(now)
    if examples.groups is None or examples.test_groups is None:
        raise SettingError(
            f"{now.data.source.kind} does not say whose its test examples are: use data.source chat"
        )
    if now.aggregation.rule.public:
        raise SettingError(
            f"aggregation.rule.kind {now.aggregation.rule.kind} may move the model by test "
            "examples, of people who took no part: use another rule"
        )
    federation, held = federated_dataset(now), dict[int, int]()
    for client in federation.everyone:
        owners = examples.groups[federation.held(client)].unique().tolist()
        if again := [one for one in owners if one in held]:
            raise SettingError(
                f"person {again[0]} is at several clients: use data.partition.kind people"
            )
        held |= dict.fromkeys(owners, client)
    return held, [one for one in examples.groups.unique().tolist() if one not in held]
