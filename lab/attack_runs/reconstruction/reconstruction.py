"""Trial: one attack on one round of a run, and its score.  Keeps the spy and the truth apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import exp, inf
from time import monotonic

import torch
from torch import Tensor

from lab.attack_runs.shared.auxiliary_info import known_of
from lab.common.settings import SettingError, Settings
from lab.engine.client.batches import touched
from lab.engine.data.federation import poisoned
from lab.engine.data.public_examples import tested
from lab.engine.differential_privacy.accountant import spent
from lab.engine.evaluation.record import Guarantee
from lab.engine.run import Moment
from lab.experiment.experiment import Experiment
from lab.experiment.sections import Privacy
from lab.interfaces.data import as_floats
from lab.interfaces.privacy_attacks import Reconstruction, Source, Spy, Subversion
from lab.interfaces.views import Guess, Known, ServerView, server_view
from lab.models.metrics import evaluate
from lab.scoring.audit_score import Audited
from lab.scoring.membership.active_gain import Gain
from lab.scoring.membership.leakage_by_group import Breakdown
from lab.scoring.membership.membership_score import Ceiling, Exposure
from lab.scoring.membership.source_score import Attribution
from lab.scoring.property_score import Poll
from lab.scoring.reconstruction.image_scorer import Judge, Likeness
from lab.scoring.reconstruction.label_score import Headcount, headcount
from lab.scoring.reconstruction.record_score import Clerk, Dossier
from lab.scoring.reconstruction.text_score import Proofreader, Wording
from lab.scoring.secret_score import Secrets
from lab.scoring.tampering_signs import Sign
from lab.scoring.update_score import Unmasked


class Result(Settings):
    """What an attack came to, with everything that was assumed."""

    attack: str
    settings: dict[str, float | int | str]
    round: int
    client: int | None = None
    own: bool = False  # whether the private example was a picture of the user's own
    seconds: float | None = None  # that the attack itself took
    declared: dict[str, str]
    guarantee: Guarantee | None = None
    likeness: Likeness | None = None
    headcount: Headcount | None = None
    dossier: Dossier | None = None
    wording: Wording | None = None
    exposure: Exposure | None = None
    breakdown: Breakdown | None = None  # who is exposed most
    pooled: Exposure | None = None  # the same attack on models like this one, taken together
    targets: int = 0  # how many those are
    rivals: Exposure | None = None  # against members of other clients
    attribution: Attribution | None = None
    unmasked: Unmasked | None = None
    secrets: Secrets | None = None
    gain: Gain | None = None  # of acting over watching
    poll: Poll | None = None
    audited: Audited | None = None
    noticed: tuple[Sign, ...] | None = None  # by a client that was sent a planted model

    def lines(self) -> list[str]:
        """The result in plain sentences: what was found, beside what a guess would give."""
        whose = ", a picture of your own" if self.own else _of(self.client)
        told = [f"{self.attack} on round {self.round}{whose}"]
        if self.unmasked:
            told += self.unmasked.lines()
        if found := self.likeness:
            if self.unmasked:
                told.append("what that update shows of an example, read off its first layer:")
            told += found.lines()
        if self.headcount:
            told += self.headcount.lines()
        if self.dossier:
            told += self.dossier.lines()
        if self.wording:
            told += self.wording.lines()
        if self.exposure:
            told += self.exposure.lines()
        if self.breakdown:
            told += self.breakdown.lines()
        if self.pooled:
            told.append(
                f"models like this one, {self.targets} federations by the same recipe together:"
            )
            told += self.pooled.lines(blind=False)  # who is inside was drawn at random
        if self.rivals:
            told += ["against members of other clients:", *self.rivals.lines()]
        if self.attribution:
            told += self.attribution.lines()
        if self.secrets:
            told += self.secrets.lines()
        if self.poll:
            told += self.poll.lines()
        if self.gain:
            told += self.gain.lines()
        if self.audited:
            told += self.audited.lines()
        if self.noticed is not None:
            raised = [sign.told for sign in self.noticed if sign.raised]
            nothing = "a careful client could have noticed nothing that Leaklab looks at"
            told += ["a careful client could have noticed:" if raised else nothing, *raised]
        if self.seconds is not None:
            told.append(f"the attack took {self.seconds:.1f} s")
        told += [f"{name}: {value}" for name, value in self.declared.items()]
        nothing = "no privacy guarantee against this attacker"
        told.append(self.guarantee.sentence() if self.guarantee else nothing)
        return told


def _of(client: int | None) -> str:
    return "" if client is None else f", client {client}"


@dataclass(frozen=True, eq=False)
class Glimpse:
    """Where an attack stands.  The last glimpse of a trial carries its result."""

    step: int
    steps: int
    objective: float | None
    pictures: dict[str, Tensor]  # "guess" beside "private", or "most" and "least" exposed
    likeness: Likeness | None
    result: Result | None = None
    headcount: Headcount | None = None
    conclude: Callable[[str], Result] | None = None  # its result if it ends here, and why it does
    dossier: Dossier | None = None
    wording: Wording | None = None
    audited: Audited | None = None


@dataclass(frozen=True, eq=False)
class Trial:
    """A spy at work on its view, beside the judge, who alone knows the truth."""

    spy: Reconstruction
    view: ServerView
    target: int
    known: Known
    judge: Judge
    source: Source  # of the private examples
    blank: Result  # all but the score

    def glimpses(self, apart: float = 0.0) -> Iterator[Glimpse]:
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
        yield replace(found, likeness=result.likeness, result=result)

    @cached_property
    def _clerk(self) -> Clerk | None:
        return Clerk(self.known.columns, self.judge) if self.known.columns else None

    def _glimpse(self, guess: Guess, seconds: float) -> Glimpse:
        found = _glimpse(guess, self.judge, self._clerk, self.source)
        return replace(found, conclude=partial(self._result, guess, found, seconds))

    def _result(self, guess: Guess, found: Glimpse, seconds: float, stopped: str = "") -> Result:
        likeness = found.likeness and self.judge.identify(guess, found.likeness)
        ended = {"stopped": f"{stopped} at step {guess.step} of {guess.steps}"} if stopped else {}
        return self.blank.model_copy(
            update={
                "declared": ended | self.blank.declared | _trials(guess) | _certificate(guess),
                "likeness": likeness,
                "headcount": found.headcount,
                "dossier": found.dossier,
                "wording": found.wording,
                "seconds": round(seconds, 3),
            }
        )


def reconstruct(
    spy: Reconstruction, moment: Moment, client: int, apart: float = 0.0
) -> Iterator[Glimpse]:
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
    if not isinstance(spy, Subversion):  # it suits the model that the clients agreed to
        spy.suits(view.network)
    judge = judge_of(now, moment.record.round, client)
    blank = Result(
        attack=spy.kind,
        settings=settings_of_spy(spy),
        round=moment.record.round,
        client=client,
        declared=_declared(spy, moment, len(judge.inputs)),
        guarantee=spent(moment.state.experiment, moment.record.round, "server"),
    )
    known = known_of(moment.state.experiment, moment.record.round)
    yield from Trial(spy, view, client, known, judge, now.data.source, blank).glimpses(apart)


def _trials(guess: Guess) -> dict[str, str]:
    """How many answers the attack chose from."""
    if guess.starts == 1:
        return {"trials": "1, and nothing was picked among several"}
    return {
        "trials": f"{guess.starts} random starts, of which the attack kept the best by its own "
        "measure, without the private examples"
    }


def _certificate(guess: Guess) -> dict[str, str]:
    if guess.proven is None:
        return {}
    return {"certified by the attack itself": "yes" if guess.proven else "no"}


def ceiling_of(guarantee: Guarantee | None) -> Ceiling | None:
    """What the guarantee says of one example's membership.

    A client's guarantee covers an example too: changing it replaces the client, which is one
    removal and one addition, so epsilon doubles (group privacy, Dwork and Roth 2014, theorem 2.2).
    """
    if guarantee is None:
        return None
    pairs = [(guarantee.epsilon, guarantee.delta), *guarantee.profile]
    if guarantee.unit == "client":
        pairs = [(2 * one, min(1.0, delta * (1 + exp(min(one, 50.0))))) for one, delta in pairs]
    return Ceiling(epsilon=pairs[0][0], delta=pairs[0][1], profile=tuple(pairs[1:]))


def judge_of(now: Experiment, round: int, client: int) -> Judge:
    federation = poisoned(now, round)
    held = federation.held(client)
    private = held[torch.from_numpy(touched(now, round, client, len(held)))]
    if not len(private):
        raise SettingError(
            f"client {client} drew an empty batch in round {round}: its update tells of nobody; "
            "choose another client or round"
        )
    others = torch.ones(len(federation.labels), dtype=torch.bool)
    others[private] = False
    return Judge(
        inputs=as_floats(federation.inputs[private]),
        labels=federation.labels[private],
        others=as_floats(federation.inputs[others]),
        public=as_floats(federation.test_inputs),
        public_labels=federation.test_labels,
    )


def _glimpse(guess: Guess, judge: Judge, clerk: Clerk | None, source: Source) -> Glimpse:
    """Pictures by their likeness, records of a table by a dossier, text by its wording, mere labels
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
        return Glimpse(guess.step, guess.steps, guess.objective, rows, None, dossier=found)
    if not len(guess.inputs):
        counted = headcount(guess.labels, judge.labels, len(source.classes))
        return Glimpse(guess.step, guess.steps, guess.objective, {}, None, headcount=counted)
    likeness = judge.score(guess)
    mine = [match.guess for match in likeness.matches]
    true = [match.truth for match in likeness.matches]
    pictures = {"guess": guess.inputs[mine], "private": judge.inputs[true]}
    return Glimpse(guess.step, guess.steps, guess.objective, pictures, likeness)


def _text(guess: Guess, judge: Judge, words: tuple[str, ...]) -> Glimpse:
    reader = Proofreader(judge.inputs, judge.labels, judge.public, judge.public_labels, words)
    found, wording = {"guess": guess.inputs, "private": judge.inputs}, reader.score(guess)
    return Glimpse(guess.step, guess.steps, guess.objective, found, None, wording=wording)


def protection(privacy: Privacy) -> str:
    if privacy.kind != "client":
        return "none" if privacy.kind == "none" else "example-level"
    noise = {
        "distributed": "each update carries its share of the noise",
        "central": "the server adds all noise, after it has seen the updates",
        "local": "each update carries all of the noise",
    }
    return f"client-level, {noise[privacy.place]}"


def settings_of_spy(spy: Spy) -> dict[str, float | int | str]:
    return {name: value for name, value in spy.dump().items() if name != "kind"}


def _declared(spy: Spy, moment: Moment, private: int) -> dict[str, str]:
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


def model_attacked(now: Experiment, view: ServerView) -> dict[str, str]:
    """Of what kind, how it began, and how long it was trained before that round."""
    wide, narrow = now.model.spread(1), now.model.spread(4)
    even = f"+-{wide:g}" if wide == narrow else "+-1 / sqrt(inputs), PyTorch's default"
    training, past = now.training, view.round - 1
    each = f"epochs a round: {training.epochs}"
    capped = f", local steps at most: {training.steps}" if training.steps else ""
    return {
        "model": f"{now.model.kind}, activation {now.model.activation}",
        "initialisation": f"uniform in {even}",
        "trained before": f"rounds: {past}, {each}{capped}" if past else "not at all",
    }


def accuracy_of(now: Experiment, model: Tensor) -> float:
    """On public test examples."""
    federation = tested(now)
    return evaluate(now.architecture, model, federation.test_inputs, federation.test_labels)[0]
