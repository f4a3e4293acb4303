"""Runs under masks: what is learnt stays the same, and what the server sees is noise."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import Tensor

from defenses.secure_aggregation import Ring
from lab import Experiment, run
from lab.engine.data.federation import federated_dataset
from lab.engine.run import initial_state
from lab.engine.run_state import RoundResult, RunStopped
from lab.interfaces.views import ServerView, server_view
from tests.support.masked_clients import looks_random

SMALL = Experiment().changed(
    {
        "seed": 6,  # loses nobody in round 1, two in round 2, one in round 3
        "data.source": "digits",
        "data.clients": 6,
        "data.examples": 300,
        "data.partition": {"kind": "dirichlet", "alpha": 1.0},
        "model.kind": "logistic",
        "training.rounds": 3,
        "network.dropout": 0.25,
        "secure_aggregation.enabled": True,
        "secure_aggregation.threshold": 0.51,
    }
)


def moments(experiment: Experiment, **settings: object) -> list[RoundResult]:
    changes = {name.replace("__", "."): value for name, value in settings.items()}
    return list(run(experiment.changed(changes)))


def test_the_same_experiment_gives_the_same_records_although_keys_are_random() -> None:
    one, other = moments(SMALL), moments(SMALL)
    assert [moment.record for moment in one] == [moment.record for moment in other]
    assert torch.equal(one[-1].state.model, other[-1].state.model)
    masks = [moment.transcript.delivery.masked for moment in (one[0], other[0])]
    assert masks[0] is not None
    assert masks[1] is not None
    assert not np.array_equal(*masks)


def test_masks_change_what_the_server_sees_and_not_what_is_learnt() -> None:
    """Some are lost on the way, so the masks of the lost are really taken off."""
    hidden, bare = moments(SMALL), moments(SMALL, secure_aggregation__enabled=False)
    assert any(moment.record.lost for moment in hidden)
    for one, other in zip(hidden, bare, strict=True):
        assert one.record.lost == other.record.lost
        assert one.record.bytes_up > other.record.bytes_up
        assert torch.allclose(one.state.model, other.state.model, atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"neighbours": 4},
        {"signatures": True},
        {"neighbours": 2, "signatures": True},
        {"binding": False},
        {"generator": "weak"},
        {"silent": "keys"},
        {"silent": "shares", "neighbours": 4},
    ],
    ids=str,
)
def test_however_masks_are_made_the_same_is_learnt(settings: dict[str, object]) -> None:
    given = {f"secure_aggregation__{name}": value for name, value in settings.items()}
    for one, other in zip(moments(SMALL), moments(SMALL, **given), strict=True):
        if not other.transcript.delivery.aborted:
            assert one.record.lost == other.record.lost
            assert torch.equal(one.transcript.delivery.rows, other.transcript.delivery.rows)
        else:
            assert settings.get("neighbours"), other.record.note  # too few in a neighbourhood
            break


def test_updates_of_clients_who_do_not_unmask_count() -> None:
    hidden = moments(SMALL, secure_aggregation__silent="unmasking")
    for one, other in zip(hidden, moments(SMALL, network__dropout=0.0), strict=True):
        assert one.record.lost == ()
        assert torch.equal(one.state.model, other.state.model)


def test_the_servers_view_under_masks_holds_no_single_row() -> None:
    hidden, bare = moments(SMALL), moments(SMALL, secure_aggregation__enabled=False)
    for covered, open_ in zip(hidden, bare, strict=True):
        view, truth = server_view(covered.transcript), server_view(open_.transcript)
        assert len(view.rows) == 1
        assert view.senders == (tuple(client for (client,) in truth.senders),)
        for row in truth.rows:
            assert _holds(truth, row)
            assert not _holds(view, row)


def test_the_words_that_the_server_sees_under_masks_are_noise() -> None:
    hidden, bare = moments(SMALL), moments(SMALL, secure_aggregation__enabled=False)
    heaviest = float(federated_dataset(SMALL).sizes.max())
    for covered, open_ in zip(hidden, bare, strict=True):
        seen, truth = server_view(covered.transcript).masked, server_view(open_.transcript)
        ring = Ring(SMALL.cohort_size, SMALL.secure_aggregation.bound, heaviest)
        words = ring.encode(truth.rows.numpy(), truth.weights.double().numpy())
        assert seen is not None
        assert seen.shape == words.shape
        assert (seen == words).mean() < 0.01
        assert looks_random(seen)
        assert not looks_random(words)


def _holds(view: ServerView, row: Tensor) -> bool:
    """Whether a vector in the view is the row, but for one part in a hundred."""
    things = [getattr(view, field.name) for field in fields(view)]
    vectors = [
        vector
        for thing in things
        if isinstance(thing, Tensor) and thing.shape[-1] == len(row)
        for vector in thing.reshape(-1, len(row))
    ]
    return any(float((vector - row).norm() / row.norm()) < 0.01 for vector in vectors)


def test_an_aborted_round_leaves_the_model_alone_or_stops_the_run() -> None:
    strict = {"secure_aggregation__threshold": 1.0, "network__dropout": 0.9}
    for moment in moments(SMALL, **strict):
        assert "secure aggregation aborted" in moment.record.note
        assert moment.record.lost == moment.record.clients
        assert torch.equal(moment.transcript.released, moment.transcript.sent)
    with pytest.raises(RunStopped, match="round 1: secure aggregation aborted"):
        moments(SMALL, secure_aggregation__on_abort="stop", **strict)


def test_clients_shorten_what_they_mask() -> None:
    """As far as they are honest: nobody can see the length of what is masked."""
    plain = Experiment().changed(
        {"data.source": "digits", "data.clients": 6, "model.kind": "logistic",
         "training.rounds": 1, "secure_aggregation.enabled": True}
    )  # fmt: skip
    short = plain.changed({"secure_aggregation.norm": 0.05})
    steps = [next(run(each)).state.model - initial_state(each).model for each in (plain, short)]
    assert float(steps[0].norm()) > 0.05
    assert float(steps[1].norm()) <= 0.05 * (1 + 1e-4)
    bare = short.changed({"secure_aggregation.enabled": False})
    assert float((next(run(bare)).state.model - initial_state(bare).model).norm()) > 0.05
