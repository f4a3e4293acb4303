"""Label counts: by hand, exact where they must be, and honest where they are a guess."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch

from attacks import gradients
from attacks.gradients import label_counts, observe
from attacks.label_counts import LabelCounts
from lab import Experiment, run
from lab.assembly import assemble
from lab.engine import Moment
from lab.headcount import Headcount, headcount
from lab.knowledge import known_of
from lab.models import Logistic, Network
from lab.settings import SettingError
from lab.trial import Glimpse, Result, reconstruct
from lab.views import Known, ServerView, server_view
from lab.wire import Recipe


@cache
def attacked_round(
    kind: str = "mlp", batch: int = 32, rounds: int = 1, split: str = "iid", noise: float = 0.0
) -> Moment:
    """One step of one batch in the last round; the rounds before it train the model."""
    one_step = {"training.steps": 1, "training.batch_size": batch}
    now = Experiment.read(
        {
            "data": {"source": "fashion-mnist", "clients": 10, "split": split},
            "model": {"kind": kind},
            "training": {"rounds": rounds, "steps": 10, "batch_size": 32},
            "privacy": {"kind": "client", "noise": noise} if noise else {},
        }
    )
    changed = now.changed(one_step) if rounds == 1 else now.changed_from(rounds, one_step)
    *_, moment = run(changed)
    return moment


def found(moment: Moment, client: int = 0) -> Headcount:
    *_, glimpse = reconstruct(LabelCounts(), moment, client)
    assert glimpse.headcount is not None
    return glimpse.headcount


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def view_of(bias: list[float], examples: int) -> ServerView:
    """A logistic model of zeros, which says 1/3 to each of three classes of a one-column table."""
    network = Network(Logistic(), (1,), 3)
    row = torch.tensor([0.0, 0.0, 0.0, *bias]) * -0.1  # a step of rate 0.1 down the gradient
    return ServerView(
        round=1,
        network=network,
        recipe=Recipe(1, 1, examples, 0.1, None, weighted=True, mean_size=examples),
        sent=torch.zeros(6),
        rows=row.unsqueeze(0),
        weights=torch.tensor([float(examples)]),
        senders=((0,),),
        shared=6,
        masked=None,
    )


def test_counts_by_hand() -> None:
    """Labels 0, 0, 1, 1, 1, 2 and p = 1/3 each: the mean of p - y is (0, -1/6, 1/6)."""
    view = view_of([0, -1 / 6, 1 / 6], 6)
    assert label_counts(view, observe(view, 0), Known.nothing(view.network)).tolist() == [2, 3, 1]
    (guess,) = LabelCounts()(view, 0, Known.nothing(view.network))
    assert guess.labels.tolist() == [0, 0, 1, 1, 1, 2]


def test_a_bias_that_leaves_no_class_is_an_even_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every entry is above any probability, as noise may have it: no count is left."""
    monkeypatch.setattr(gradients, "TOO_WIDE", 2)
    view = view_of([2.0, 2.0, 2.0], 9)
    assert label_counts(view, observe(view, 0), Known.nothing(view.network)).tolist() == [3, 3, 3]


def test_one_example_is_the_only_negative_error() -> None:
    """Label 2 and p = 1/3 each: p - y is (1/3, 1/3, -2/3)."""
    view = view_of([1 / 3, 1 / 3, -2 / 3], 1)
    (guess,) = LabelCounts()(view, 0, Known.nothing(view.network))
    assert guess.labels.tolist() == [2]


def test_a_headcount_by_hand() -> None:
    """Of 0, 0, 1, 2 against 0, 1, 1, 1 two are right; an even guess over three gets 7/12."""
    counted = headcount(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 1]), classes=3)
    assert counted.guessed == (2, 1, 1)
    assert counted.true == (1, 3, 0)
    assert counted.right == 0.5
    assert counted.floor == pytest.approx(7 / 12)
    assert counted.verdict == "no better than an even guess"


@pytest.mark.parametrize(
    ("kind", "batch"),
    [("mlp", 8), ("mlp", 32), pytest.param("cnn", 8, marks=pytest.mark.deep), ("cnn", 32)],
)
def test_counts_of_an_untrained_model_are_exact_even_when_labels_repeat(
    kind: str, batch: int
) -> None:
    for client in range(3):
        counted = found(attacked_round(kind, batch), client)
        assert sum(counted.true) == batch
        assert max(counted.true) > 1
        assert counted.guessed == counted.true
        assert counted.verdict.startswith("exact")


@pytest.mark.parametrize("kind", ["logistic", pytest.param("lenet", marks=pytest.mark.deep)])
def test_counts_of_other_untrained_models_are_nearly_exact(kind: str) -> None:
    assert mean([found(attacked_round(kind), client).right for client in range(10)]) > 0.93


def test_one_label_is_found_in_a_trained_model_too() -> None:
    for client in range(5):
        assert found(attacked_round(batch=1, rounds=15), client).right == 1


@pytest.mark.parametrize("rounds", [3, 15])
def test_without_public_examples_the_counts_of_a_trained_model_are_whole_all_the_same(
    rounds: int,
) -> None:
    """No great thing: nothing tells what the model thinks of each class."""
    moment = attacked_round(rounds=rounds)
    view = server_view(moment.transcript)
    for client in range(3):
        counts = label_counts(view, observe(view, client), Known.nothing(view.network))
        assert int(counts.sum()) == 32
        assert int(counts.min()) >= 0


def test_classes_of_which_nothing_is_public_are_counted_too() -> None:
    moment = attacked_round("mlp", 32)
    known = known_of(moment.state.experiment, 1)
    some = known.labels < 7
    part = replace(known, inputs=known.inputs[some], labels=known.labels[some])
    view, judged = server_view(moment.transcript), found(moment)
    assert tuple(label_counts(view, observe(view, 0), part).tolist()) == judged.true


@pytest.mark.parametrize("rounds", [3, 15])
def test_four_of_five_labels_are_found_in_a_batch_of_a_trained_model(rounds: int) -> None:
    """No great thing: an even guess finds three of four where classes are balanced."""
    counted = [found(attacked_round(rounds=rounds), client) for client in range(10)]
    assert mean([each.right for each in counted]) >= 0.8
    assert mean([each.right - each.floor for each in counted]) > 0.02


def test_skewed_clients_give_more_away_than_an_even_guess_would() -> None:
    moment = attacked_round(rounds=5, split="dirichlet")
    held = assemble(moment.state.experiment).sizes
    counted = [found(moment, client) for client in range(10) if held[client] >= 32]
    assert len(counted) > 4
    assert mean([each.right - each.floor for each in counted]) > 0.25


def test_noise_hides_the_counts() -> None:
    counted = [found(attacked_round(noise=1.0), client) for client in range(10)]
    assert mean([each.right - each.floor for each in counted]) < 0.05


def test_the_guess_does_not_change_when_the_truth_does() -> None:
    moment = attacked_round()
    view, federation = server_view(moment.transcript), assemble(moment.state.experiment)
    (first,) = LabelCounts()(view, 0, Known.nothing(view.network))
    inputs, labels = federation.inputs.clone(), federation.labels.clone()
    federation.inputs.zero_()
    federation.labels.zero_()
    try:
        (again,) = LabelCounts()(view, 0, Known.nothing(view.network))
    finally:
        federation.inputs.copy_(inputs)
        federation.labels.copy_(labels)
    assert torch.equal(first.labels, again.labels)


def test_it_shows_no_picture_and_is_given_no_score_of_pictures() -> None:
    glimpses: list[Glimpse] = list(reconstruct(LabelCounts(), attacked_round(), 0))
    for glimpse in glimpses:
        assert glimpse.pictures == {}
        assert glimpse.likeness is None
    result = glimpses[-1].result
    assert result is not None
    assert Result.model_validate_json(result.model_dump_json()) == result
    assert not any("PSNR" in line for line in result.lines())
    assert any(line.startswith("labels right: 100%") for line in result.lines())


def test_a_last_layer_that_never_leaves_the_client_tells_of_no_label() -> None:
    now = attacked_round().state.experiment.changed({"training.algorithm": "fedper"})
    *_, moment = run(now)
    with pytest.raises(SettingError, match="label-counts needs the gradient of every layer"):
        list(reconstruct(LabelCounts(), moment, 0))
