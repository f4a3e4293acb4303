"""Inverting gradients and what it shares: budgets, several local steps, clipped and cut rows."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from attacks.causation import Causation, clipped
from attacks.courses import courses
from attacks.gradients import gradient_of, label_counts, observe, total_variation
from attacks.idlg import Idlg
from attacks.inverting_gradients import InvertingGradients, from_row
from attacks.lengths import lengthened
from attacks.pace import Pace
from lab import Experiment, run
from lab.assembly import assemble
from lab.batches import batches
from lab.engine import Moment
from lab.federation import as_floats
from lab.knowledge import known_of
from lab.trial import reconstruct
from lab.views import Guess, Known, Mechanism, ServerView, server_view
from tests.depth import few

SMALL = {
    "data": {"source": "fashion-mnist", "clients": 4},
    "model": {"kind": "lenet"},
    "training": {"rounds": 1, "steps": 1, "batch_size": 1},
}


@cache
def attacked(**settings: object) -> Moment:
    now = Experiment.read(SMALL).changed(
        {path.replace("__", "."): value for path, value in settings.items()}
    )
    *_, moment = run(now)
    return moment


def seen_in(moment: Moment) -> tuple[ServerView, Known]:
    return server_view(moment.transcript), known_of(moment.state.experiment, moment.record.round)


def caused(moment: Moment, unroll: int = 10, known: Known | None = None) -> Causation:
    view, told = seen_in(moment)
    return Causation.of(view, 0, known or told, 64, unroll, torch.float64)


def private(moment: Moment, client: int = 0) -> tuple[Tensor, Tensor]:
    """The examples of the client's batches, one after the other."""
    now = moment.state.experiment
    federation = assemble(now)
    held = federation.held(client)
    used = torch.cat([held[torch.from_numpy(one)] for one in batches(now, 1, client, len(held))])
    return as_floats(federation.inputs[used]).double(), federation.labels[used]


def likeness(row: Tensor, seen: Tensor) -> float:
    return torch.nn.functional.cosine_similarity(row, seen, dim=0).item()


def last(spy: InvertingGradients | Idlg, view: ServerView, known: Known) -> Guess:
    *_, guess = spy(view, 0, known)
    return guess


# --- what a row would be ------------------------------------------------------------------------


def test_the_true_examples_cause_the_row_of_one_step() -> None:
    moment = attacked(training__batch_size=4)
    cause, (inputs, labels) = caused(moment), private(moment)
    assert torch.allclose(cause(inputs, labels), cause.row, atol=1e-6)


def test_one_step_repeated_is_the_plain_gradient() -> None:
    moment = attacked(training__batch_size=4)
    view, _ = seen_in(moment)
    sent = view.sent.double().requires_grad_(True)
    inputs, labels = torch.rand(4, *view.network.shape).double(), torch.tensor([3, 1, 4, 1])
    plain = gradient_of(view, sent, inputs, labels)
    assert torch.allclose(caused(moment)(inputs, labels), plain, atol=1e-12)


@pytest.mark.parametrize("kind", ["lenet", "cnn"])
def test_the_true_examples_in_their_order_cause_the_row_of_several_steps(kind: str) -> None:
    moment = attacked(model__kind=kind, training__batch_size=2, training__steps=5)
    cause, naive = caused(moment), caused(moment, unroll=1)
    inputs, labels = private(moment)
    assert len(labels) == 10
    assert torch.allclose(cause(inputs, labels), cause.row, atol=2e-5)
    error = (cause(inputs, labels) - cause.row).norm()
    assert error < (naive(inputs, labels) - cause.row).norm() / 100


def test_epochs_over_a_client_s_few_examples_repeat_them() -> None:
    """By hand: 3 examples in batches of 2 are steps of 2, 1, 2, 1."""
    view, _ = seen_in(attacked())
    recipe = replace(view.recipe, epochs=2, batch_size=2, cap=0)
    view = replace(view, recipe=recipe, weights=torch.full((4,), 3.0))
    (course,) = courses(view, 0, observe(view, 0), 3, unroll=10)
    assert [step.places.tolist() for step in course] == [[0, 1], [2], [0, 1], [2]]
    (course,) = courses(view, 0, observe(view, 0), 3, unroll=2)
    assert [(step.places.tolist(), step.length) for step in course] == [([0, 1, 2], 2)] * 2
    assert len(courses(view, 0, observe(view, 0), 2, unroll=10)) == 1


def test_under_secure_aggregation_every_client_takes_its_own_steps() -> None:
    moment = attacked(secure_aggregation__enabled=True, training__steps=2)
    cause = caused(moment)
    assert [len(course) for course in cause.courses] == [2] * 4
    pairs = [private(moment, client) for client in range(4)]
    inputs, labels = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    assert torch.allclose(cause(inputs, labels), cause.row, atol=1e-4)


# --- through a defence --------------------------------------------------------------------------


def test_a_long_gradient_is_shortened_and_a_short_one_is_left() -> None:
    """By hand: (3, 4) has length 5."""
    parts = [torch.tensor([3.0]), torch.tensor([4.0])]
    assert torch.cat(clipped(parts, 1.0)).tolist() == pytest.approx([0.6, 0.8])
    assert torch.cat(clipped(parts, 6.0)).tolist() == [3.0, 4.0]


def test_a_shortened_row_gives_the_same_guess() -> None:
    view, known = seen_in(attacked())
    spy, whole = InvertingGradients(iterations=15), None
    for factor in (1.0, 0.01):
        guess = last(spy, replace(view, rows=view.rows * factor), known)
        whole = guess.inputs if whole is None else whole
        assert torch.allclose(guess.inputs, whole, atol=1e-4)


def test_clipping_alone_does_not_stop_idlg_that_knows_of_it() -> None:
    view, known = seen_in(attacked())
    short = replace(view, rows=view.rows * (0.1 / view.rows[0].norm()))
    told = replace(known, mechanism=Mechanism(unit="client", clip=0.1))
    inputs, _ = private(attacked())
    spy = Idlg(iterations=100, restarts=1)
    errors = [
        float((last(spy, short, knows).inputs - inputs).square().mean()) for knows in (told, known)
    ]
    assert errors[0] < 1e-3 < 1e-2 < errors[1]


@pytest.mark.parametrize("client", few(range(2), 0))
def test_the_labels_of_a_clipped_batch_are_counted_at_its_own_length(client: int) -> None:
    view, known = seen_in(attacked(model__kind="cnn", training__batch_size=8))
    told = replace(known, mechanism=Mechanism(unit="client", clip=0.05))
    seen = observe(view, client)
    short = replace(seen, gradient=seen.gradient * 0.05 / seen.gradient.norm())
    true = label_counts(view, seen, known)
    assert torch.equal(label_counts(view, lengthened(view, short, told), known), true)
    assert not torch.equal(label_counts(view, short, known), true)


def test_only_what_arrived_is_compared() -> None:
    moment = attacked(network__compression__kind="top-k")
    cause, (inputs, labels) = caused(moment), private(moment)
    told = caused(moment, known=Known.nothing(cause.network))
    assert likeness(cause(inputs, labels), cause.row) > 0.99999
    assert likeness(told(inputs, labels), cause.row) < 0.99


def test_examples_that_were_clipped_one_by_one_are_clipped_in_the_attackers_mind() -> None:
    moment = attacked(training__batch_size=4)
    view, known = seen_in(moment)
    inputs, labels = private(moment)
    told = replace(known, mechanism=Mechanism(unit="example", clip=2.0))
    cause, sent = caused(moment, known=told), view.sent.double().requires_grad_(True)
    each = [gradient_of(view, sent, inputs[k : k + 1], labels[k : k + 1]) for k in range(4)]
    lengths = torch.stack([one.norm() for one in each])
    assert lengths.max() > 2
    shortened = [one * (2.0 / one.norm()).clamp(max=1) for one in each]
    wanted = torch.stack(shortened).mean(dim=0)
    assert torch.allclose(cause(inputs, labels), wanted, atol=1e-12)


# --- the search ---------------------------------------------------------------------------------


def test_rows_of_one_direction_are_no_distance_apart() -> None:
    seen = torch.tensor([1.0, 2.0, 2.0])
    distance, slope = from_row(3 * seen, seen)
    assert float(distance) == pytest.approx(0, abs=1e-6)
    assert slope.abs().max() < 1e-6
    row = torch.tensor([2.0, -1.0, 0.5], requires_grad=True)
    by_autograd = 1 - torch.nn.functional.cosine_similarity(row, seen, dim=0)
    distance, slope = from_row(row.detach(), seen)
    assert float(distance) == pytest.approx(by_autograd.item())
    assert torch.allclose(slope, torch.autograd.grad(by_autograd, row)[0])


def test_variation_of_a_step_by_hand() -> None:
    picture = torch.tensor([[0.0, 1.0], [0.0, 1.0]]).view(1, 1, 2, 2)
    assert float(total_variation(picture)) == 1.0
    assert float(total_variation(picture.repeat(3, 1, 1, 1))) == 3.0
    assert float(total_variation(torch.rand(3, 105))) == 0.0


def test_a_search_keeps_to_its_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr("attacks.pace.worked", lambda: next(clock))
    view, known = seen_in(attacked())
    guesses = list(InvertingGradients(iterations=30_000, seconds=100)(view, 0, known))
    assert 10 < guesses[-1].step < 100
    assert len(guesses) == guesses[-1].step  # a second is long enough for a guess


def test_without_haste_only_the_steps_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(n * 1e-3 for n in range(10_000))
    monkeypatch.setattr("attacks.pace.worked", lambda: next(clock))
    pace = Pace(100, 60.0)
    spent = []
    while pace.tick():
        spent.append(pace.spent)
    assert spent == [step / 100 for step in range(1, 101)]


def test_a_search_that_is_stuck_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the way it is only looking around; then it has a share of it to get better."""
    pace = Pace(200, 60.0)
    heights = [1.0] * 200
    while pace.tick() and not pace.stuck(heights[pace.step - 1]):
        pass
    assert pace.step == 100
    pace = Pace(200, 60.0)
    while pace.tick() and not pace.stuck(1.0 / pace.step):
        pass
    assert pace.step == 200


def test_starts_that_agree_are_nearer_to_one_another() -> None:
    view, known = seen_in(attacked())

    def spread(agree: float) -> float:
        spy = InvertingGradients(restarts=2, agree=agree)
        inputs = spy._start(view, 1)
        cause = Causation.of(view, 0, known, 1, 1, torch.float32)
        _, slopes = spy._look(cause, inputs)
        moved = inputs - 0.01 * slopes.sign()
        return float((moved[0] - moved[1]).norm() - (inputs[0] - inputs[1]).norm())

    assert spread(10.0) < min(0.0, spread(0.0))


def test_guesses_never_get_worse_and_the_last_is_the_best() -> None:
    view, known = seen_in(attacked())
    guesses = list(InvertingGradients(iterations=40, restarts=2)(view, 0, known))
    heights = [guess.objective for guess in guesses if guess.objective is not None]
    assert heights == sorted(heights, reverse=True)
    assert 20 <= guesses[-1].step <= guesses[-1].steps == 40


def test_several_local_steps_of_one_example_are_undone() -> None:
    """Read as one mean gradient it does not come back; repeated step by step, it does."""
    moment = attacked(data__examples=4, training__epochs=3, training__steps=0, training__rate=0.5)
    found = []
    for unroll in (3, 1):
        spy = Idlg(iterations=80, restarts=1, unroll=unroll)
        *_, glimpse = reconstruct(spy, moment, 0)
        assert glimpse.likeness is not None
        found.append(glimpse.likeness.psnr)
    assert found[0] > max(25, found[1] + 10)
