"""What the server sees: rows as they came, and what can be read off each."""

from __future__ import annotations

import torch

from lab.attack_runs.reconstruction.server_snapshot import SHOWN, server_snapshot
from lab.engine.round import run_round
from lab.engine.run import initial_state
from lab.experiment.experiment import Experiment
from lab.interfaces.views import server_view

LEAKY = Experiment.read(
    {
        "data": {"source": "digits", "clients": 4, "examples": 80},
        "training": {"rounds": 1, "steps": 1, "batch_size": 1},
    }
)


def test_every_bare_update_is_there_and_can_be_read() -> None:
    moment = run_round(initial_state(LEAKY))
    post = server_snapshot(moment)
    rows = server_view(moment.transcript).rows
    assert [letter.senders for letter in post.letters] == [(0,), (1,), (2,), (3,)]
    norms = torch.linalg.vector_norm(rows, dim=1).tolist()
    assert [letter.norm for letter in post.letters] == norms
    for letter in post.letters:
        assert letter.reading is not None
        assert letter.private is not None
        assert torch.allclose(letter.reading, letter.private, atol=1e-4)
    assert not post.masked


def test_under_masks_there_is_noise_from_each_and_one_sum() -> None:
    post = server_snapshot(
        run_round(initial_state(LEAKY.changed({"secure_aggregation.enabled": True})))
    )
    assert [letter.senders for letter in post.letters] == [(0, 1, 2, 3)]
    assert len(post.masked) == 4
    assert all(letter.norm is None for letter in post.masked)
    noise = torch.stack([letter.picture for letter in post.masked])
    assert 0.4 < float(noise.mean()) < 0.6  # spread over the whole ring
    (whole,) = post.letters
    assert whole.reading is not None
    assert whole.private is not None
    assert not torch.allclose(whole.reading, whole.private, atol=0.05)


def test_of_many_the_first_are_shown() -> None:
    post = server_snapshot(run_round(initial_state(LEAKY.changed({"data.clients": 20}))))
    assert (len(post.letters), post.came) == (SHOWN, 20)


def test_a_round_without_post_is_empty() -> None:
    unlucky = LEAKY.changed({"network.dropout": 0.95, "data.clients": 2})
    rounds = (run_round(initial_state(unlucky.changed({"seed": seed}))) for seed in range(100))
    post = server_snapshot(next(moment for moment in rounds if not moment.record.arrived))
    assert (post.letters, post.masked, post.came) == ((), (), 0)


def test_an_update_as_long_as_an_attacker_likes_is_looked_at_all_the_same() -> None:
    """After three rounds of MPAF the rows are 10^18 long, and so is the model that was sent."""
    boosted: dict[str, int | str] = {"adversary.count": 2, "adversary.attack.kind": "mpaf"}
    # Of two examples labels are counted, of a single one they are read off.
    boosted |= {"training.rounds": 3, "training.batch_size": 2}
    state = initial_state(LEAKY.changed(boosted))
    for _ in range(3):
        moment = run_round(state)
        state = moment.state
    assert len(server_snapshot(moment).letters) == 4
