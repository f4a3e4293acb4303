"""Trial: one attack on one round of a run, and its score.  Keeps the spy and the truth apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import exp

import numpy as np
import torch
from torch import Tensor

from lab.accountant import detailed, spent
from lab.alarm import Sign
from lab.assembly import malicious, poisoned
from lab.batches import touched
from lab.blind import blind_scores
from lab.closeness import Unmasked
from lab.engine import Moment, State
from lab.evaluate import evaluate
from lab.experiment import Experiment
from lab.federation import as_floats
from lab.headcount import Headcount, headcount
from lab.knowledge import known_of
from lab.likeness import Judge, Likeness
from lab.parts import Inference, Reconstruction, Spy
from lab.public import outsiders, tested
from lab.records import Guarantee
from lab.roc import Ceiling, Exposure, expose
from lab.sections import Privacy
from lab.settings import SettingError, Settings
from lab.views import Candidates, Guess, OutsiderView, server_view


class Result(Settings):
    """What an attack came to, with everything that was assumed."""

    attack: str
    settings: dict[str, float | int | str]
    round: int
    client: int | None = None
    declared: dict[str, str]
    guarantee: Guarantee | None = None
    likeness: Likeness | None = None
    headcount: Headcount | None = None
    exposure: Exposure | None = None
    unmasked: Unmasked | None = None
    noticed: tuple[Sign, ...] | None = None  # by a client that was sent a planted model

    def lines(self) -> list[str]:
        """The result in plain sentences: what was found, beside what a guess would give."""
        told = [f"{self.attack} on round {self.round}" + _of(self.client)]
        if self.unmasked:
            told += self.unmasked.lines()
        if found := self.likeness:
            if self.unmasked:
                told.append("what that update shows of an example, read off its first layer:")
            floors = ", ".join(f"{name} {value:.1f}" for name, value in found.floors.items())
            told += [
                found.verdict,
                f"PSNR {found.psnr:.1f} dB over {found.counted} (worst {found.worst:.1f}, "
                f"median {found.median:.1f}, best {found.best:.1f}), exact {found.exact:.0%}"
                + ("" if found.ssim is None else f", SSIM {found.ssim:.2f}"),
                f"guesses without the gradient, dB: {floors}",
                f"most similar other training example: {found.nearest:.1f} dB",
                f"labels right: {found.labels:.0%} (evenly spread guess {found.labels_floor:.0%})",
            ]
        if self.headcount:
            told += self.headcount.lines()
        if seen := self.exposure:
            told += [
                seen.verdict,
                f"AUC {seen.auc:.3f} (95 % {seen.auc_low:.3f} to {seen.auc_high:.3f}), "
                f"{seen.members:,} members, {seen.others:,} others",
                *(rate.sentence() for rate in seen.rates),
                seen.baseline(),
            ]
            if seen.ceiling_auc is not None:
                told.append(
                    f"under this epsilon no attack can expect more than {seen.ceiling_auc:.3f}"
                )
        if self.noticed is not None:
            raised = [sign.told for sign in self.noticed if sign.raised]
            nothing = "a careful client could have noticed nothing that Leaklab looks at"
            told += ["a careful client could have noticed:" if raised else nothing, *raised]
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


def reconstruct(spy: Reconstruction, moment: Moment, client: int) -> Iterator[Glimpse]:
    """Attack what the server got from `client` in that round.

    Raises SettingError where there is nothing to attack.
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
    judge = judge_of(now, moment.record.round, client)
    last: Glimpse | None = None
    certificate: dict[str, str] = {}
    known = known_of(moment.state.experiment, moment.record.round)
    for guess in spy(view, client, known):
        last, certificate = _glimpse(guess, judge, view.network.classes), _certificate(guess)
        yield last
    if last is None:
        raise SettingError(f"{spy.kind} had nothing to say of client {client}")
    result = Result(
        attack=spy.kind,
        settings=settings_of_spy(spy),
        round=moment.record.round,
        client=client,
        declared=_declared(spy, moment, len(judge.inputs)) | certificate,
        guarantee=spent(moment.state.experiment, moment.record.round, "server"),
        likeness=last.likeness,
        headcount=last.headcount,
    )
    yield replace(last, result=result)


def infer(spy: Inference, state: State, client: int | None = None) -> Iterator[Glimpse]:
    """Attack the model that was released after the state's round.

    Members are the examples of all honest clients, or of `client`; everybody else's examples that
    nobody trains on, and the test examples, are the others.
    """
    now = state.experiment.at(max(1, state.round))
    federation = tested(now)
    honest = [one for one in federation.everyone if one not in malicious(now)]
    held = torch.cat([federation.held(one) for one in honest if client in (None, one)])
    if not len(held):
        raise SettingError(f"client {client} is malicious or holds nothing: choose from {honest}")
    free = outsiders(now)
    inputs = torch.cat([federation.inputs[held], federation.inputs[free], federation.test_inputs])
    labels = torch.cat([federation.labels[held], federation.labels[free], federation.test_labels])
    candidates = Candidates(as_floats(inputs), labels)
    member = np.arange(len(labels)) < len(held)
    view = OutsiderView(state.round, now.architecture, state.model)
    guarantee = detailed(state.experiment, state.round, "public") if state.round else None
    exposure = expose(
        spy(view, candidates).double().numpy(),
        member,
        blind_scores(candidates, member),
        ceiling_of(guarantee),
    )
    mine = evaluate(now.architecture, state.model, federation.inputs[held], federation.labels[held])
    test = evaluate(now.architecture, state.model, federation.test_inputs, federation.test_labels)
    result = Result(
        attack=spy.kind,
        settings=settings_of_spy(spy),
        round=state.round,
        client=client,
        declared={
            "attacker": spy.attacker,
            "knows": spy.knows,
            "model": now.model.kind,
            "accuracy on members": f"{mine[0]:.3f}",
            "accuracy on test examples": f"{test[0]:.3f}",
            "members": f"{len(held):,} examples of "
            + (f"{len(honest)} honest clients" if client is None else f"client {client}"),
            "non-members": f"{len(free):,} that no client holds, "
            f"{len(federation.test_labels):,} test",
        },
        guarantee=guarantee,
        exposure=exposure,
    )
    pictures = {
        "most": candidates.inputs[list(exposure.most)],
        "least": candidates.inputs[list(exposure.least)],
    }
    yield Glimpse(1, 1, None, pictures, None, result)


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


def _glimpse(guess: Guess, judge: Judge, classes: int) -> Glimpse:
    if not len(guess.inputs):
        counted = headcount(guess.labels, judge.labels, classes)
        return Glimpse(guess.step, guess.steps, guess.objective, {}, None, headcount=counted)
    likeness = judge.score(guess)
    mine = [match.guess for match in likeness.matches]
    true = [match.truth for match in likeness.matches]
    pictures = {"guess": guess.inputs[mine], "private": judge.inputs[true]}
    return Glimpse(guess.step, guess.steps, guess.objective, pictures, likeness)


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
    now, round = moment.state.experiment.at(moment.record.round), moment.record.round
    view = server_view(moment.transcript)
    hidden = "the sum over the cohort only" if view.masked is not None else "single updates"
    return {
        "attacker": spy.attacker,
        "knows": spy.knows,
        "labels": "recovered from the update, not given",
        "sees": hidden,
        "model": f"{now.model.kind}, activation {now.model.activation}, after {round - 1} rounds",
        "accuracy after the round": f"{moment.record.accuracy:.3f}",
        "examples behind the update": str(private),
        "local steps": str(now.recipe.local_steps(private)),
        "privacy": protection(now.privacy),
    }
