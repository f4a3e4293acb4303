"""Malicious clients under secure aggregation: their lies pass through the ring like anything else.

C6 of the review: a claim of more examples than the largest client's ended the run with a crash.
"""

from __future__ import annotations

import pytest
import torch

from attacks import POISONING_ATTACKS
from lab import Experiment, run
from lab.engine.client.cohort_trainer import cohort_of
from lab.engine.data.federation import federated_dataset

# The clients' examples differ in number, so that weights do.
MASKED = Experiment.read(
    {
        "data": {
            "source": "digits",
            "clients": 6,
            "examples": 120,
            "partition": {"kind": "quantity"},
        },
        "training": {"rounds": 1, "steps": 1, "batch_size": 10, "rate": 0.2},
        "secure_aggregation": {"enabled": True},
        "adversary": {"count": 2, "attack": {"kind": "inflated-weight", "factor": 1e6}},
    }
)


def test_masks_cap_the_claim_of_a_malicious_client_at_the_largest_clients_examples() -> None:
    sizes = federated_dataset(MASKED).sizes.float()
    party = cohort_of(MASKED, 1, tuple(range(6)))
    assert int(party.malicious.sum()) == 2
    expected = torch.where(party.malicious, sizes.max(), sizes)
    assert torch.equal(party.weights, expected)


def test_without_masks_the_server_believes_the_whole_claim() -> None:
    plain = MASKED.changed({"secure_aggregation.enabled": False})
    party, sizes = cohort_of(plain, 1, tuple(range(6))), federated_dataset(plain).sizes.float()
    assert torch.equal(party.weights[party.malicious], 1e6 * sizes[party.malicious])


def test_the_masked_sum_has_the_capped_claim_in_its_weight() -> None:
    moment = next(run(MASKED))
    party = cohort_of(MASKED, 1, tuple(range(6)))
    assert moment.transcript.delivery.weights.tolist() == [float(party.weights.sum())]


@pytest.mark.parametrize("kind", POISONING_ATTACKS)
def test_every_poison_goes_through_masked_sums(kind: str) -> None:
    poisoned = MASKED.changed({"adversary.attack": kind, "data.source": "fashion-mnist"})
    moment = next(run(poisoned))
    assert moment.state.model.isfinite().all()
    assert moment.record.arrived == list(range(6))
