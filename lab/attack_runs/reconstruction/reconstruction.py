"""Trial: one attack on one round of a run, and its score.  Keeps the spy and the truth apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import inf
from time import monotonic

from lab.attack_runs.shared.assumptions import accuracy_of, model_attacked, protection
from lab.attack_runs.shared.attack_request import AttackRequest, target_of
from lab.attack_runs.shared.auxiliary_info import auxiliary_info
from lab.attack_runs.shared.ground_truth import reconstruction_scorer
from lab.attack_runs.shared.run_history import RunHistory
from lab.common.settings import SettingError
from lab.engine.differential_privacy.accountant import spent
from lab.engine.run_state import RoundResult
from lab.interfaces.attack_data import ReconstructedBatch
from lab.interfaces.data import DataSource
from lab.interfaces.privacy_attacks import (
    ActiveReconstructionAttack,
    PrivacyAttack,
    ReconstructionAttack,
    attack_settings,
)
from lab.interfaces.views import AuxiliaryInfo, ServerView, server_view
from lab.scoring.attack_result import AttackProgress, AttackResult
from lab.scoring.reconstruction.image_score import ImageScore
from lab.scoring.reconstruction.image_scorer import ReconstructionScorer
from lab.scoring.reconstruction.label_score import label_score
from lab.scoring.reconstruction.record_score import RecordScorer
from lab.scoring.reconstruction.text_score import TextScorer


@dataclass(frozen=True, eq=False)
class Trial:
    """A spy at work on its view, beside the judge, who alone knows the truth."""

    spy: ReconstructionAttack
    view: ServerView
    target: int
    known: AuxiliaryInfo
    judge: ReconstructionScorer
    source: DataSource  # of the private examples
    blank: AttackResult  # all but the score

    def glimpses(self, apart: float = 0.0) -> Iterator[AttackProgress]:
        """The last guess and others so many seconds `apart`; 0: all.  Raises SettingError."""
        guesses, last = self.spy(self.view, self.target, self.known), None
        seconds, shown = 0.0, -inf
        while True:
            began = monotonic()
            guess = next(guesses, None)
            seconds += monotonic() - began
            if guess is None:
                break
            last = guess
            if monotonic() - shown >= apart:
                yield self._glimpse(guess, seconds)
                shown = monotonic()
        if last is None:
            raise SettingError(f"{self.spy.kind} had nothing to say of client {self.target}")
        found = self._glimpse(last, seconds)
        result = self._result(last, found, seconds)
        yield replace(found, score=result.score, result=result)

    @cached_property
    def _clerk(self) -> RecordScorer | None:
        return RecordScorer(self.known.columns, self.judge) if self.known.columns else None

    def _glimpse(self, guess: ReconstructedBatch, seconds: float) -> AttackProgress:
        found = _glimpse(guess, self.judge, self._clerk, self.source)
        return replace(found, conclude=partial(self._result, guess, found, seconds))

    def _result(
        self, guess: ReconstructedBatch, found: AttackProgress, seconds: float, stopped: str = ""
    ) -> AttackResult:
        score = found.score
        if isinstance(score, ImageScore):
            score = self.judge.identify(guess, score)
        ended = {"stopped": f"{stopped} at step {guess.step} of {guess.steps}"} if stopped else {}
        return self.blank.model_copy(
            update={
                "declared": ended | self.blank.declared | _trials(guess) | _certificate(guess),
                "score": score,
                "seconds": round(seconds, 3),
            }
        )


def check(order: AttackRequest, history: RunHistory) -> None:
    """Raise SettingError where the run gives nothing to attack."""
    history.check_replay(order.round)


def start(
    order: AttackRequest, history: RunHistory, apart: float = 0.0
) -> Iterator[AttackProgress]:
    """Attack, as the request says."""
    assert isinstance(order.attack, ReconstructionAttack)  # so says the table of families
    moment = history.replay(order.round)
    return run_reconstruction(order.attack, moment, target_of(order, history), apart)


def run_reconstruction(
    spy: ReconstructionAttack, moment: RoundResult, client: int, apart: float = 0.0
) -> Iterator[AttackProgress]:
    """Attack what the server got from `client` in that round.

    apart: seconds between two glimpses at least.  Raises SettingError where there is nothing to
    attack.
    """
    view, now = (
        server_view(moment.transcript, client),
        moment.state.experiment.at(moment.record.round),
    )
    try:
        view.row_of(client)
    except LookupError as error:
        there = ", ".join(str(one) for row in view.senders for one in row) or "nobody"
        raise SettingError(f"{error}: choose from {there}") from None
    if not isinstance(
        spy, ActiveReconstructionAttack
    ):  # it suits the model that the clients agreed to
        spy.suits(view.network)
    judge = reconstruction_scorer(now, moment.record.round, client)
    blank = AttackResult(
        attack=spy.kind,
        settings=attack_settings(spy),
        round=moment.record.round,
        client=client,
        declared=_declared(spy, moment, len(judge.inputs)),
        guarantee=spent(moment.state.experiment, moment.record.round, "server"),
    )
    known = auxiliary_info(moment.state.experiment, moment.record.round)
    yield from Trial(spy, view, client, known, judge, now.data.source, blank).glimpses(apart)


def _trials(guess: ReconstructedBatch) -> dict[str, str]:
    """How many answers the attack chose from."""
    if guess.starts == 1:
        return {"trials": "1, and nothing was picked among several"}
    return {
        "trials": f"{guess.starts} random starts, of which the attack kept the best by its own "
        "measure, without the private examples"
    }


def _certificate(guess: ReconstructedBatch) -> dict[str, str]:
    if guess.proven is None:
        return {}
    return {"certified by the attack itself": "yes" if guess.proven else "no"}


def _glimpse(
    guess: ReconstructedBatch,
    judge: ReconstructionScorer,
    clerk: RecordScorer | None,
    source: DataSource,
) -> AttackProgress:
    """Score pictures by likeness, records of a table by their cells, text by its words, mere labels
    by a headcount.
    """
    if source.content == "text":
        return _text(guess, judge, source.classes)
    if clerk and len(guess.inputs) == len(guess.labels):
        found = clerk.score(guess)
        rows = {
            "guess": guess.inputs[[pair.guess for pair in found.pairs]],
            "private": judge.inputs[[pair.truth for pair in found.pairs]],
        }
        return AttackProgress(guess.step, guess.steps, guess.objective, rows, found)
    if not len(guess.inputs):
        counted = label_score(guess.labels, judge.labels, len(source.classes))
        return AttackProgress(guess.step, guess.steps, guess.objective, score=counted)
    likeness = judge.score(guess)
    mine = [match.guess for match in likeness.matches]
    true = [match.truth for match in likeness.matches]
    pictures = {"guess": guess.inputs[mine], "private": judge.inputs[true]}
    return AttackProgress(guess.step, guess.steps, guess.objective, pictures, likeness)


def _text(
    guess: ReconstructedBatch, judge: ReconstructionScorer, words: tuple[str, ...]
) -> AttackProgress:
    reader = TextScorer(judge.inputs, judge.labels, judge.public, judge.public_labels, words)
    found, wording = {"guess": guess.inputs, "private": judge.inputs}, reader.score(guess)
    return AttackProgress(guess.step, guess.steps, guess.objective, found, wording)


def _declared(spy: PrivacyAttack, moment: RoundResult, private: int) -> dict[str, str]:
    """What is assumed, and what makes the number what it is."""
    now = moment.state.experiment.at(moment.record.round)
    view = server_view(moment.transcript)
    hidden = "the sum over the cohort only" if view.masked is not None else "single updates"
    accuracy = f"{moment.record.accuracy:.3f} after the round"
    return {
        "attacker": spy.attacker,
        "knows": spy.knows,
        "labels": "recovered from the update, not given",
        "batch": "how many examples are in it is known; which, and in what local order, is not",
        "sees": hidden,
        **model_attacked(now, view),
        "accuracy": f"{accuracy}, {accuracy_of(now, view.sent):.3f} of the model that was sent",
        "examples behind the update": str(private),
        "local steps": str(now.recipe.local_steps(private)),
        "privacy": protection(now.privacy),
    }
