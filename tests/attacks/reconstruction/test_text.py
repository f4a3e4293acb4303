"""Text: what an update tells of what was typed, how that is scored, and the page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from attacks import PRIVACY_ATTACKS
from attacks.reconstruction.analytic.sentences import Sentences
from attacks.reconstruction.analytic.tokens import Tokens, typed_words
from attacks.reconstruction.shared.observed_gradient import observe
from attacks.reconstruction.shared.sentence_span import Span
from datasets.sources.chat import LENGTH
from lab.attack_runs.reconstruction.reconstruction import run_reconstruction
from lab.attack_runs.secure_aggregation.unmasking import run_unmasking
from lab.attack_runs.shared.auxiliary_info import auxiliary_info
from lab.common.settings import SettingError
from lab.engine.run import initial_state
from lab.interfaces.attack_data import ReconstructedBatch
from lab.interfaces.privacy_attacks import SecureAggregationAttack
from lab.interfaces.views import AuxiliaryInfo, server_view
from lab.models.layers.dense import Dense
from lab.models.layers.transformer import Block, attended, thought
from lab.scoring.attack_result import AttackResult
from lab.scoring.reconstruction.text_score import TextScore, TextScorer
from lab.scoring.update_score import UpdateRecoveryScore
from lab.storage.store import Store
from tests.support.app_pages import attack, opened, trained
from tests.support.typed_text import last, moment_of, plain, private, sentences, typed, view_of

# --- which words ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["keyboard", "transformer"])
@pytest.mark.parametrize("changes", [{}, {"training.batch_size": 40}, {"training.steps": 4}])
def test_every_word_that_was_typed_is_found_and_no_other(
    kind: str, changes: dict[str, Any]
) -> None:
    """For one batch, for a large one, and for several local steps."""
    small = {"heads": 2, "each": 8} if kind == "transformer" else {}
    moment = moment_of(typed(model={"kind": kind, **small}).changed(changes))
    view, known = server_view(moment.transcript), auxiliary_info(moment.state.experiment, 1)
    for client in moment.record.arrived:
        guess = last(Tokens()(view, client, known))
        inputs, _ = private(moment, client)
        assert guess.bag is not None
        assert guess.proven
        assert guess.bag.nonzero().flatten().tolist() == inputs.unique().long().tolist()
        assert int(guess.bag.sum()) == inputs.numel()


def test_next_words_of_one_step_of_an_untrained_model_are_counted() -> None:
    view = server_view(plain().transcript)
    for client in plain().record.arrived:
        guess = last(Tokens()(view, client, AuxiliaryInfo.nothing(view.network)))
        assert guess.labels.tolist() == private(plain(), client)[1].sort().values.tolist()


def test_under_masks_the_words_of_all_senders_are_found() -> None:
    moment = moment_of(typed(secure_aggregation__enabled=True, model__heads=1))
    view = server_view(moment.transcript)
    guess = last(Tokens()(view, moment.record.arrived[0], AuxiliaryInfo.nothing(view.network)))
    every = torch.cat([private(moment, client)[0] for client in moment.record.arrived])
    assert guess.bag is not None
    found = set(guess.bag.nonzero().flatten().tolist())
    assert found <= set(every.unique().long().tolist())
    assert len(found) > 0.9 * len(every.unique())  # rounding to whole numbers hides a few
    assert guess.proven is False


def test_a_packed_update_proves_no_word_missing() -> None:
    """Top-k keeps no slope of some words that were typed; those it keeps were."""
    packed = {"network__compression__kind": "top-k", "model": {"kind": "keyboard", "hidden": 8}}
    moment = moment_of(typed(**packed, training__batch_size=20))
    view, client = server_view(moment.transcript), moment.record.arrived[0]
    guess = last(Tokens()(view, client, auxiliary_info(moment.state.experiment, 1)))
    assert guess.bag is not None
    typed_here = set(private(moment, client)[0].unique().long().tolist())
    assert set(guess.bag.nonzero().flatten().tolist()) <= typed_here
    assert guess.proven is False


@pytest.mark.parametrize("name", ["tokens", "sentences"])
def test_under_noise_nothing_is_claimed(name: str) -> None:
    moment = moment_of(typed(privacy__kind="client", privacy__noise=0.5, model__heads=1))
    view = server_view(moment.transcript)
    spy = PRIVACY_ATTACKS[name]()
    guess = last(spy(view, moment.record.arrived[0], AuxiliaryInfo.nothing(view.network)))  # type: ignore[operator]
    assert guess.proven is False
    assert not len(guess.inputs)
    assert guess.bag is None or not guess.bag.any()


# --- which sentences ------------------------------------------------------------------------------


def test_every_sentence_is_found_exactly_with_its_next_word() -> None:
    """On what a run has sent."""
    view = server_view(plain().transcript)
    for client in plain().record.arrived:
        guess = last(Sentences()(view, client, AuxiliaryInfo.nothing(view.network)))
        assert guess.proven
        assert sentences(guess.inputs, guess.labels) == sentences(*private(plain(), client))


def test_a_sentence_typed_twice_is_found_twice() -> None:
    inputs = torch.tensor([[4, 4, 7, 9], [4, 4, 7, 9], [4, 4, 9, 7], [3, 1, 1, 4]])
    labels = torch.tensor([11, 5, 5, 4])
    view = view_of(inputs, labels)
    guess = last(Sentences()(view, 0, AuxiliaryInfo.nothing(view.network)))
    assert guess.proven
    assert sentences(guess.inputs, guess.labels) == sentences(inputs, labels)


def test_beginnings_grow_word_by_word() -> None:
    view = server_view(plain().transcript)
    guesses = list(
        Sentences()(view, plain().record.arrived[0], AuxiliaryInfo.nothing(view.network))
    )
    assert [guess.step for guess in guesses] == list(range(1, LENGTH + 1))
    assert all(guess.steps == LENGTH for guess in guesses)
    for place, guess in enumerate(guesses, start=1):
        assert guess.inputs[:, :place].all()
        assert not guess.inputs[:, place:].any()


def test_what_is_asked_of_the_span_is_what_the_layer_reads() -> None:
    """The shortcut over tables of words and places, against the layers themselves."""
    view = server_view(plain().transcript)
    seen = observe(view, plain().record.arrived[0])
    words = typed_words(view, seen)
    span = Span.of(view, seen.gradient, words)
    assert span is not None
    own = view.network.owned(view.network.split(view.sent.double()))
    chosen = torch.tensor([[0, 3, 3, 1], [5, 0, 2, 2]])
    block = view.network.layers[2]
    assert isinstance(block, Block)
    vectors = own[0][0][words[chosen]] + own[1][0][:4]
    middle = attended(block.heads, own[2], vectors)[1]
    assert torch.allclose(span.read(chosen), thought(own[2], middle)[0][:, -1], atol=1e-12)


def test_a_right_beginning_is_inside_the_span_and_a_wrong_one_far_out() -> None:
    view, client = server_view(plain().transcript), plain().record.arrived[0]
    seen = observe(view, client)
    words = typed_words(view, seen)
    span = Span.of(view, seen.gradient, words)
    assert span is not None
    inputs, _ = private(plain(), client)
    places = torch.searchsorted(words, inputs.long())
    swapped = places.clone()
    swapped[:, [4, 9]] = places[:, [9, 4]]
    for length in (1, 8, 16):
        assert span.outside(places[:, :length]).max() < 1e-5
    assert span.outside(swapped[:, :5]).max() > 0.1


@pytest.mark.parametrize("spoil", [1e-5, 1e-3, 1.0])
def test_a_spoilt_gradient_gives_no_false_sentence(spoil: float) -> None:
    inputs, labels = torch.tensor([[4, 4, 7, 9], [3, 1, 1, 4]]), torch.tensor([11, 5])
    view = view_of(inputs, labels, spoil=spoil)
    guess = last(Sentences()(view, 0, AuxiliaryInfo.nothing(view.network)))
    assert guess.proven is False
    assert not len(guess.inputs)


@pytest.mark.parametrize(
    "changes",
    [{"training.batch_size": 12}, {"training.steps": 3}, {"network.compression.kind": "sign"}],
)
def test_where_it_must_fail_nothing_false_is_claimed(changes: dict[str, Any]) -> None:
    """As many words as the model is wide, several local steps, and a packed update."""
    moment = moment_of(typed().changed(changes))
    view = server_view(moment.transcript)
    for client in moment.record.arrived:
        guess = last(Sentences()(view, client, AuxiliaryInfo.nothing(view.network)))
        assert guess.proven is False
        true = {row for row, _ in sentences(*private(moment, client))}
        assert {tuple(row) for row in guess.inputs.long().tolist()} <= true


def test_a_certificate_closes_on_nobody_elses_gradient() -> None:
    """The same view with another batch's output layer: sentences may stand, the proof must not."""
    inputs, labels = torch.tensor([[4, 4, 7, 9], [3, 1, 1, 4]]), torch.tensor([11, 5])
    right, wrong = view_of(inputs, labels), view_of(inputs, torch.tensor([12, 5]))
    rows, (place, _) = right.rows.clone(), right.network.slots["out.weight"]
    rows[:, place] = wrong.rows[:, place]
    guess = last(Sentences()(replace(right, rows=rows), 0, AuxiliaryInfo.nothing(right.network)))
    assert guess.proven is False


def test_one_layer_of_attention_is_refused_and_so_is_a_keyboard() -> None:
    for model in ({"kind": "transformer", "depth": 1}, {"kind": "keyboard"}):
        with pytest.raises(SettingError, match="sentences needs a transformer of two layers"):
            Sentences().suits(typed(model=model).architecture)


@pytest.mark.parametrize(
    ("name", "source"), [("idlg", "chat"), ("dlg", "chat"), ("spear", "chat"), ("tokens", "digits")]
)
def test_an_attack_is_refused_on_what_it_cannot_find(name: str, source: str) -> None:
    model = "transformer" if source == "chat" else "mlp"
    now = typed(data__source=source, model={"kind": model})
    told = "use label-counts or tokens" if source == "chat" else "tokens finds text, and model.kind"
    with pytest.raises(SettingError, match=told):
        PRIVACY_ATTACKS[name]().suits(now.architecture)


# --- the score ------------------------------------------------------------------------------------


READER = TextScorer(
    inputs=torch.tensor([[1.0, 2, 3], [4, 2, 2]]),
    labels=torch.tensor([5, 6]),
    public=torch.tensor([[1.0, 1, 2], [1, 1, 7]]),
    public_labels=torch.tensor([5, 5]),
    words=("none", "a", "b", "c", "d", "e", "f", "g"),
)


def guess_of(
    rows: list[list[int]], labels: list[int], bag: list[int] | None = None
) -> ReconstructedBatch:
    inputs = torch.tensor(rows, dtype=torch.float32).view(len(rows), 3)
    counted = None if bag is None else torch.tensor(bag)
    return ReconstructedBatch(inputs, torch.tensor(labels, dtype=torch.int64), 1, 1, bag=counted)


def test_a_score_by_hand() -> None:
    """Of six words five are right; one sentence is, and one next word."""
    found = READER.score(guess_of([[4, 2, 3], [1, 2, 3]], [7, 5]))
    assert (found.exact, found.false, found.guessed, found.sentences) == (1, 1, 2, 2)
    assert found.f1 == pytest.approx(5 / 6)
    assert (found.distinct, found.found, found.wrong) == (4, 4, 0)
    assert found.next == 0.5
    assert found.pairs[0].typed == found.pairs[0].guessed == ("a", "b", "c")
    assert (found.pairs[1].right, found.pairs[1].next_typed, found.pairs[1].next_guessed) == (
        2, "f", "g",
    )  # fmt: skip


def test_floors_by_hand() -> None:
    """Six words as in public text are a, a, a, a, b, g; of the typed ones that has a and b."""
    found = READER.score(guess_of([], []))
    assert found.floors["words as frequent as in public text"] == pytest.approx(2 / 6)
    assert found.floors["public sentences"] == pytest.approx(2 / 6)
    assert found.next_floor == 0.5
    assert found.next is None


@pytest.mark.parametrize(
    ("guess", "verdict"),
    [
        (guess_of([[4, 2, 2], [1, 2, 3]], [6, 5]), "exact: every sentence, in order"),
        (guess_of([[4, 2, 2], [1, 2, 3], [1, 1, 1]], []), "partial: most sentences, in order"),
        (guess_of([], [], [0, 1, 2, 1, 2, 0, 0, 0]), "every word that was typed, and no other"),
        (guess_of([[1, 2, 7], [2, 2, 4]], []), "partial: most words"),
        (guess_of([], [5, 6]), "next words only"),
        (guess_of([[1, 1, 2]], []), "partial: better than a guess"),
        (guess_of([], [], [0] * 8), "no better than a guess"),
        (guess_of([], []), "no better than a guess"),
    ],
)
def test_the_verdict_follows_from_what_was_found(guess: ReconstructedBatch, verdict: str) -> None:
    assert READER.score(guess).verdict.startswith(verdict)


def test_a_result_tells_the_sentences() -> None:
    *_, glimpse = run_reconstruction(Sentences(), plain(), plain().record.arrived[0])
    assert glimpse.result is not None
    assert glimpse.score is not None
    assert AttackResult.model_validate_json(glimpse.result.model_dump_json()) == glimpse.result
    lines = glimpse.result.lines()
    assert "exact: every sentence, in order" in lines
    first = glimpse.score.pairs[0]
    assert f"typed: {' '.join(first.typed)} > {first.next_typed}" in lines
    assert f"read:  {' '.join(first.typed)} > {first.next_typed}" in lines
    assert glimpse.score.floor < 0.7


def test_the_last_layer_is_dense() -> None:
    """Which `sentences` counts on where it reads next words."""
    for kind in ("keyboard", "transformer"):
        last_layer = typed(model={"kind": kind}).architecture.layers[-1]
        assert isinstance(last_layer, Dense)
        assert last_layer.name == "out"


# --- on the page ----------------------------------------------------------------------------------


def test_the_page_shows_what_was_typed_beside_what_was_read(store: Store) -> None:
    """Right words are underlined, so that nobody needs to see colours."""
    run = trained(store, typed(model__heads=2, training__batch_size=2))
    attack(store, run, "sentences", round=1)
    found = TextScore.read(store.sights(store.attacks_on(run)[0].id)[-1].body["score"])
    assert found.verdict.startswith("exact")
    app = opened("inversion", run=run)
    metrics = {metric.label: metric.value for metric in app.metric}
    assert metrics["Sentences exact"] == "2 of 2"
    assert metrics["False sentences"] == "0"
    (told,) = [each.proto.body for each in app.get("html") if "<ol>" in each.proto.body]
    assert told.count('title="right"') == 2 * (LENGTH + 1)
    assert "underline" in told
    assert "dlg" not in next(one for one in app.selectbox if one.label == "Attack").options


def test_an_update_that_was_unmasked_is_told_without_pictures() -> None:
    now = typed(secure_aggregation__enabled=True, model={"kind": "keyboard", "hidden": 8})
    before, moment = initial_state(now), moment_of(now)
    spy = PRIVACY_ATTACKS["single-out"]()
    assert isinstance(spy, SecureAggregationAttack)
    *_, glimpse = run_unmasking(spy, before, moment, moment.record.arrived[0])
    assert glimpse.result is not None
    assert isinstance(glimpse.result.score, UpdateRecoveryScore)
    assert glimpse.result.extras == ()
