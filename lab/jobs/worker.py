"""Jobs: the worker processes that pull runs, attacks and cells, and the supervisor of workers.

A worker is a process of its own that outlives pages and server.  It takes one job at a time,
writes what comes into the store, and looks there for commands between rounds.  After a turn it goes
on with another visitor's: a run from its checkpoint later on, an attack from where it was.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
import traceback
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from functools import partial
from math import isclose
from threading import Event, Thread
from typing import TypeVar

from lab.attack_runs.membership.active import before_of, provoke
from lab.attack_runs.membership.outsider import infer
from lab.attack_runs.membership.server import surveil
from lab.attack_runs.membership.subject import recognise
from lab.attack_runs.property_inference import survey
from lab.attack_runs.reconstruction.model_manipulation import subvert
from lab.attack_runs.reconstruction.own_example import invert
from lab.attack_runs.reconstruction.quick_look import glance
from lab.attack_runs.reconstruction.reconstruction import Glimpse, reconstruct
from lab.attack_runs.secret_extraction import extract
from lab.attack_runs.secure_aggregation.unmasking import unmask
from lab.attack_runs.shared.attack_request import Aim
from lab.audits import Audit
from lab.audits.audit import Past
from lab.audits.run_audit import audit
from lab.common.paths import ROOT
from lab.common.settings import SettingError
from lab.common.thread_time import standing_still
from lab.common.threads import warm_up
from lab.engine.evaluation.record import Record
from lab.engine.run import Moment, State, Stopped, run, step
from lab.interfaces.privacy_attacks import (
    Extraction,
    Inference,
    Provocation,
    Recognition,
    Reconstruction,
    Subversion,
    Surveillance,
    Survey,
    Unmasking,
)
from lab.jobs.overdue_commands import PATIENCE, Watch, release, settle
from lab.jobs.polling import paced
from lab.jobs.suspended_attacks import Aside
from lab.storage.administration import give_up
from lab.storage.array_disposal import sweep
from lab.storage.database import DATABASE, data_folder
from lab.storage.store import Job, Order, Round, Status, Store, check_replay
from lab.storage.worker_store import EvictedError, Ledger
from lab.sweeps._probe import EARLY, probed
from lab.sweeps.attacked_run import raided

WORKERS = "LEAKLAB_WORKERS"  # the environment variable with the number of worker processes
IDLE = "LEAKLAB_IDLE"  # the one with the seconds until a worker without work leaves
NAP = 0.1  # seconds between two looks at the queue
APART = 0.15  # seconds between two stored glimpses of an attack
LOOK = 0.2  # seconds after which a command is seen, whatever an attack is busy with
SELDOM = 1.0  # the same for a cell of sweeps
TURN = 5.0  # seconds of a run or an attack, after which another visitor's job goes first
TIDY = 5.0  # seconds between two looks for what was left behind
LISTEN = 0.5  # seconds between two looks for what no worker has answered

Ending = tuple[Status, str]  # how a job ends, and why
Step = TypeVar("Step")


def pull(ledger: Ledger, job: Job, interrupted: Status = "paused") -> Generator[Round, None, None]:
    """Carry on a claimed run until it ends or is told to; every round yielded is in the store."""
    return _settled(ledger, job, _rounds(ledger, job), (interrupted, ""))


def attacked(ledger: Ledger, job: Job) -> Generator[Glimpse, None, None]:
    """Carry out a claimed attack; a few glimpses a second, and the last, go into the store."""
    with closing(_attacking(ledger, job)) as steps:
        yield from (glimpse for glimpse in steps if glimpse is not None)


def _attacking(ledger: Ledger, job: Job) -> Generator[Glimpse | None, None, None]:
    """The same, and None a few times a second where there is nothing new."""
    return _settled(ledger, job, _glimpses(ledger, job), ("stopped", "interrupted"))


def _settled(
    ledger: Ledger, job: Job, steps: Generator[Step, None, Ending], interrupted: Ending
) -> Generator[Step, None, None]:
    """The steps of a claimed job, whose lease is held and whose ending is stored.

    What the user has to mend ends it with a message; any other error does too, and travels.
    """
    with ledger.held(job), suppress(EvictedError):
        try:
            ending = yield from steps
        except (SettingError, Stopped) as error:
            ending = "stopped", str(error)
        except (KeyboardInterrupt, GeneratorExit):
            ledger.settle(job, *interrupted)
            raise
        except EvictedError:
            raise
        except Exception as error:
            ledger.settle(job, "failed", f"{type(error).__name__}: {error}")
            raise
        ledger.settle(job, *ending)


def _rounds(ledger: Ledger, job: Job) -> Generator[Round, None, Ending]:
    state = ledger.store.state(job.id)
    moments = run(state.experiment, state)
    while True:
        for number, kind, settings in ledger.commands(job):
            if kind != "change":
                ledger.carried_out(job, number, "done")
                return ("paused" if kind == "pause" else "stopped"), ""
            try:
                changed = state.experiment.changed_from(state.round + 1, settings)
            except SettingError as error:  # another change came first
                ledger.carried_out(job, number, f"refused: {error}")
                continue
            ledger.carried_out(job, number, f"from round {state.round + 1}", changed)
            state = replace(state, experiment=changed)
            moments = run(changed, state)
        began = time.perf_counter()
        moment = next(moments, None)
        if moment is None:
            return "finished", ""
        finished = Round(moment.record, time.perf_counter() - began)
        ledger.finish_round(job, moment, finished.seconds)
        if ledger.store.watched(job.id) and (seen := glance(moment)):
            ledger.show(job, moment.record.round, seen)
        state = moment.state
        yield finished
        until, last = ledger.store.job(job.id).until, _last_round(state)
        if until is not None and until <= state.round < last:
            return "paused", ""


def _last_round(state: State) -> int:
    return state.experiment.at(state.round + 1).training.rounds


def glimpses_of(store: Store, run_id: str, order: Order) -> Iterator[Glimpse]:
    """An attack on a stored run, a few glimpses a second.

    Raises SettingError where there is nothing to attack.
    """
    spy = order.spy
    if isinstance(spy, Audit):
        experiment = store.run(run_id).experiment
        past = Past(experiment, order.round, partial(store.sent, run_id), order.client)
        return audit(spy, past)
    if isinstance(spy, Inference):
        state = store.state(run_id, order.round)
        return _thinned(infer(spy, state, order.client, order.targets, store.stock))
    if isinstance(spy, Surveillance):
        return surveil(spy, store.state(run_id, order.round), order.client)
    if isinstance(spy, Recognition):
        return recognise(spy, store.state(run_id, order.round), order.client)
    if isinstance(spy, Extraction):
        return extract(spy, store.state(run_id, order.round), order.client)
    if isinstance(spy, Provocation):
        first = before_of(spy, order.round)
        before, usual = (store.state(run_id, one) for one in (first, order.round))
        earlier = store.state(run_id, first - 1).model if first else None
        return provoke(spy, before, usual, order.client, earlier)
    if isinstance(spy, Survey):
        those = range(max(1, order.round + 1 - spy.rounds), order.round + 1)
        moments = (replay(store, run_id, one) for one in those)
        return survey(spy, moments, len(those), order.client)
    if not isinstance(spy, (Reconstruction, Unmasking)):
        raise SettingError(f"{spy.kind} is no attack on a run")
    if order.picture is not None and isinstance(spy, Reconstruction):
        picture, before = (
            store.picture(order, store.run(run_id)),
            store.state(run_id, order.round - 1),
        )
        return invert(spy, before, picture, order.label, APART)
    moment = replay(store, run_id, order.round)
    assert order.client is not None  # chosen when the order was taken
    if isinstance(spy, Unmasking):
        before = store.state(run_id, order.round - 1)
        return _thinned(unmask(spy, before, moment, order.client))
    if isinstance(spy, Subversion):
        before = store.state(run_id, order.round - 1)
        earlier = store.state(run_id, order.round - 2).model if order.round > 1 else None
        return subvert(spy, before, moment, order.client, earlier, APART)
    return reconstruct(spy, moment, order.client, APART)


def _thinned(glimpses: Iterator[Glimpse]) -> Iterator[Glimpse]:
    shown = float("-inf")
    for glimpse in glimpses:
        if glimpse.result or time.monotonic() - shown > APART:
            shown = time.monotonic()
            yield glimpse


def replay(store: Store, run_id: str, round: int) -> Moment:
    """A finished round once more, with all its messages: it follows from the checkpoint before.

    Raises SettingError when this Leaklab gives other numbers than the one that ran it, or when
    nothing could give the same ones.
    """
    check_replay(store.run(run_id), round)
    moment = step(store.state(run_id, round - 1))
    stored = store.rounds(run_id, after=round - 1)[0].record
    if not isclose(moment.record.accuracy, stored.accuracy, abs_tol=0.02):
        raise SettingError(
            f"round {round} of run {run_id} cannot be replayed: its accuracy was "
            f"{stored.accuracy:.3f} and is now {moment.record.accuracy:.3f}; was the run made by "
            "another version of Leaklab?"
        )
    return moment


def _glimpses(ledger: Ledger, job: Job) -> Generator[Glimpse | None, None, Ending]:
    ledger.forget_glimpses(job)
    number, last = 0, None
    began, left = time.monotonic(), ledger.longest(job)

    def found() -> Iterator[Glimpse]:
        yield from glimpses_of(ledger.store, str(job.run), job.order)

    with closing(paced(found(), LOOK)) as glimpses:
        try:
            for glimpse in glimpses:
                if glimpse is not None:
                    number, last = number + 1, glimpse
                    ledger.show(job, number, glimpse)
                    if glimpse.result:
                        ledger.note(job, glimpse.result.dump())
                left -= time.monotonic() - began
                yield glimpse
                began = time.monotonic()  # others may have had a turn
                for command, _, _ in ledger.commands(job):
                    ledger.carried_out(job, command, "done")
                    _keep(ledger, job, number, last, "by hand")
                    return "stopped", "stopped by hand"
                if last is not None and left < 0:  # with something to show for it
                    _keep(ledger, job, number, last, "at its time limit")
                    return "stopped", "stopped at the time limit of this lab"
        except (KeyboardInterrupt, GeneratorExit):
            _keep(ledger, job, number, last, "interrupted")
            raise
    return "finished", ""


def _keep(ledger: Ledger, job: Job, number: int, last: Glimpse | None, why: str) -> None:
    """The best guess of an attack that ends before its time, with its score."""
    if last is None or last.result or last.conclude is None:
        return
    result = last.conclude(why)
    ledger.show(job, number + 1, replace(last, likeness=result.likeness, result=result))
    ledger.note(job, result.dump())


def measured(ledger: Ledger, job: Job) -> Generator[int, None, None]:
    """Carry out a claimed cell of sweeps, round by round.  Only what it measured is stored."""
    steps = _leaks(ledger, job, job.aim) if job.aim else _measures(ledger, job)
    return _settled(ledger, job, steps, ("queued", ""))


def _leaks(ledger: Ledger, job: Job, aim: Aim) -> Generator[int, None, Ending]:
    """A cell that ends with an attack.  What cannot be attacked is refused, with the reason."""
    ledger.forget_glimpses(job)
    shown, number = float("-inf"), 0
    try:
        for glimpse in raided(job.experiment, aim):
            if glimpse and (glimpse.result or time.monotonic() - shown > SELDOM):
                number, shown = number + 1, time.monotonic()
                ledger.show(job, number, glimpse)
            if glimpse and glimpse.result:
                ledger.note(job, {"attack": glimpse.result.dump()})
            yield number
    except (SettingError, Stopped) as error:
        ledger.note(job, {"refused": str(error)})
    return "finished", ""


def _measures(ledger: Ledger, job: Job) -> Generator[int, None, Ending]:
    found: list[Record] = []
    leaks = dict.fromkeys(range(len(job.probes)), EARLY)
    message = ""
    try:
        for moment, told in probed(job.experiment, run(job.experiment), job.probes):
            found.append(moment.record)
            leaks |= told
            yield moment.record.round
    except SettingError as error:
        return "failed", str(error)
    except Stopped as error:  # such as a budget that is used up: what was measured counts
        message = str(error)
    if not found:
        return "failed", message
    accuracy, backdoor = [each.accuracy for each in found], [each.backdoor for each in found]
    besides = {"probes": list(leaks.values())} if leaks else {}
    ledger.note(job, {"accuracy": accuracy, "backdoor": backdoor} | besides)
    return "finished", message


def work(store: Store, token: str, idle: float | None = None) -> None:
    """A worker's life: one job after the other, until there was none for `idle` seconds."""
    idle = longest_idle() if idle is None else idle
    if hasattr(os, "nice"):
        os.nice(5)  # pages go first: they ask for little, and somebody waits for it
    warm_up()
    last = time.monotonic()
    with closing(Aside(Ledger(store, token))) as aside:
        while time.monotonic() - last < idle:
            job = aside.claim()
            if job is None:
                time.sleep(NAP)
                continue
            _carry_out(aside, job)
            last = time.monotonic()


def _carry_out(aside: Aside, job: Job) -> None:
    """A turn of it.  A cell stands still between two rounds as long as anything else waits."""
    try:
        if job.kind != "cell":
            _take_turn(aside, job)
            return
        with closing(measured(aside.ledger, job)) as rounds:
            for _ in rounds:
                with standing_still():
                    while (urgent := aside.claim(cells=False)) is not None:
                        _carry_out(aside, urgent)
    except Exception:  # our bug: told in the store and in the log, and the next job is tried
        traceback.print_exc()


def _take_turn(aside: Aside, job: Job) -> None:
    """A run or an attack, until it ends, or has had its turn and another visitor waits."""
    began, attack = time.monotonic(), job.kind == "attack"
    fresh = _attacking(aside.ledger, job) if attack else pull(aside.ledger, job, "queued")
    with ExitStack() as leaving:
        steps = aside.take(job.id, fresh)
        leaving.callback(steps.close)
        for _ in steps:
            aside.listen()
            if time.monotonic() - began > TURN and aside.gives_way(job):
                if attack:  # which has no checkpoint
                    leaving.pop_all()
                    aside.put(job, steps)
                return


def most_workers() -> int:
    """How many worker processes there may be, one a core unless the environment says otherwise."""
    return _whole_number(WORKERS, os.cpu_count() or 1)


def longest_idle() -> int:
    """Seconds until a worker without work leaves."""
    return _whole_number(IDLE, 600)


def _whole_number(name: str, usual: int) -> int:
    """What an environment variable says.  Raises SettingError."""
    given = os.environ.get(name, "")
    if given and not given.isdecimal():
        raise SettingError(f"{name} is {given!r}: give a whole number, such as {usual}")
    return int(given or usual)


class Supervisor:
    """Starts workers as the queue needs them, `most` in all, and buries the dead.

    It kills a worker that does not answer a stop or a pause in time, because it is inside a round.
    """

    def __init__(
        self, store: Store, most: int | None = None, boss: str = "", patience: float = PATIENCE
    ) -> None:
        """boss: a worker that is none of those counted

        patience: seconds that a worker has to answer a stop or a pause
        """
        self.store, self.most = store, most_workers() if most is None else most
        self.boss, self.patience = boss, patience
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._over = Event()
        self._thread = Thread(target=self._tend, daemon=True)
        if self.most:  # else there is nobody to look after
            self._thread.start()

    def workers(self) -> list[subprocess.Popen[bytes]]:
        """Those that this supervisor started and has not buried."""
        return list(self._workers.values())

    def close(self) -> None:
        """Stop tending; the workers go on."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def dismiss(self) -> None:
        """Stop tending and send the workers home; what they hold goes back into the queue."""
        self.close()
        for worker in self.workers():
            worker.terminate()
        for token, worker in self._workers.items():
            worker.wait()
            Ledger(self.store).abandon(token)

    def _tend(self) -> None:
        ledger, tidied = Ledger(self.store), time.monotonic()
        watch, looked = Watch(self.store), time.monotonic()
        sweep(self.store.engine, self.store.arrays)
        while not self._over.wait(NAP):
            if time.monotonic() - tidied > TIDY:
                give_up(self.store)
                tidied = time.monotonic()
            if time.monotonic() - looked > LISTEN:
                self._end_overdue(watch)
                looked = time.monotonic()
            for token, worker in list(self._workers.items()):
                if worker.poll() is not None:
                    del self._workers[token]
                    ledger.abandon(token)
            ours, elsewhere = ledger.load({self.boss, *self._workers})
            wanted = min(self.most - elsewhere, max(1, ours))
            if len(self._workers) < wanted:
                self._start()

    def _end_overdue(self, watch: Watch) -> None:
        """Carry out what a worker inside a round has not heard.

        A worker of another server, or a command line, cannot be killed from here.  Its own server
        has the same time once more to do it; then the job is ended in the store alone.
        """
        for each in watch.unanswered():
            worker = self._workers.get(each.worker)
            if worker and each.running and each.waited > self.patience:
                worker.kill()  # a request to go would end attacks of others that it has set aside
                worker.wait()
                self._workers.pop(each.worker)
                release(self.store, each.worker)
            elif each.waited > self.patience * (1 if worker else 2):
                settle(self.store, each.worker, each.job)

    def _start(self) -> None:
        token = secrets.token_hex(8)
        log = data_folder() / "workers.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._workers[token] = subprocess.Popen(
                [sys.executable, "-m", "lab.cli", "work", token],
                env=os.environ | {DATABASE: self.store.url},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a worker outlives the server
            )
