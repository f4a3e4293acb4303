"""Knowledge: what an attacker is given besides its view, from the public side of an experiment."""

from __future__ import annotations

from lab.engine.data.public_examples import tested
from lab.engine.differential_privacy.accountant import noise_multiplier
from lab.experiment.experiment import Experiment
from lab.interfaces.views import Known, Mechanism
from lab.models.inputs import as_floats

MOST = 2_000  # public examples


def known_of(experiment: Experiment, round: int) -> Known:
    """Of a round's attacker: test examples, the columns' meaning, what the server prescribes."""
    now = experiment.at(round)
    federation = tested(now)
    return Known(
        inputs=as_floats(federation.test_inputs[:MOST]),
        labels=federation.test_labels[:MOST],
        columns=now.data.source.columns(),
        mechanism=mechanism_of(experiment, round),
    )


def mechanism_of(experiment: Experiment, round: int) -> Mechanism:
    """What is done to updates in that round before they are sent."""
    now = experiment.at(round)
    codec = "" if now.network.compression.kind == "none" else now.network.compression.kind
    if now.privacy.kind == "none":
        return Mechanism(codec=codec)
    return Mechanism(
        unit=now.privacy.kind,
        clip=now.privacy.clip,
        noise=noise_multiplier(experiment, round),
        codec=codec,
    )
