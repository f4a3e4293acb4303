"""Knowledge: what an attacker is given besides its view, from the public side of an experiment."""

from __future__ import annotations

from lab.engine.data.public_examples import test_data
from lab.engine.differential_privacy.accountant import noise_multiplier
from lab.experiment.experiment import Experiment
from lab.interfaces.views import AuxiliaryInfo, ClientMechanism
from lab.models.inputs import as_floats

MOST = 2_000  # public examples


def auxiliary_info(experiment: Experiment, round: int) -> AuxiliaryInfo:
    """Of a round's attacker: test examples, the columns' meaning, what the server prescribes."""
    now = experiment.at(round)
    federation = test_data(now)
    return AuxiliaryInfo(
        inputs=as_floats(federation.test_inputs[:MOST]),
        labels=federation.test_labels[:MOST],
        columns=now.data.source.columns(),
        mechanism=mechanism_of(experiment, round),
    )


def mechanism_of(experiment: Experiment, round: int) -> ClientMechanism:
    """What is done to updates in that round before they are sent."""
    now = experiment.at(round)
    codec = "" if now.network.compression.kind == "none" else now.network.compression.kind
    if now.privacy.kind == "none":
        return ClientMechanism(codec=codec)
    return ClientMechanism(
        unit=now.privacy.kind,
        clip=now.privacy.clip,
        noise=noise_multiplier(experiment, round),
        codec=codec,
    )
