"""The scorer of a reconstruction, which alone has the private examples."""

from __future__ import annotations

import torch

from lab.common.settings import SettingError
from lab.engine.client.batches import touched
from lab.engine.data.federation import training_data
from lab.experiment.experiment import Experiment
from lab.models.inputs import as_floats
from lab.scoring.reconstruction.image_scorer import ReconstructionScorer


def reconstruction_scorer(now: Experiment, round: int, client: int) -> ReconstructionScorer:
    federation = training_data(now, round)
    held = federation.held(client)
    private = held[torch.from_numpy(touched(now, round, client, len(held)))]
    if not len(private):
        raise SettingError(
            f"client {client} drew an empty batch in round {round}: its update tells of nobody; "
            "choose another client or round"
        )
    others = torch.ones(len(federation.labels), dtype=torch.bool)
    others[private] = False
    return ReconstructionScorer(
        inputs=as_floats(federation.inputs[private]),
        labels=federation.labels[private],
        others=as_floats(federation.inputs[others]),
        public=as_floats(federation.test_inputs),
        public_labels=federation.test_labels,
    )
