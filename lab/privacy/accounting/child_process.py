"""Child processes that count, so that no page waits for an accountant in the server's own process.

The server installs `Children` with `accountants.count_elsewhere`.  A child is started at the
first question, has a limit of memory, and is killed when an answer takes too long.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import astuple
from math import isfinite
from queue import Empty, LifoQueue
from threading import Timer
from typing import Any

from lab.common.paths import ROOT
from lab.common.settings import SettingError
from lab.privacy.accounting.in_process import Accountant
from lab.privacy.accounting.releases import GaussianReleases

SECONDS = 20.0  # that an answer may take
PATIENCE = 60.0  # seconds that a question waits for a child that is free
MEMORY = 4 << 30  # bytes that a child may allocate
MOST = 2  # children
SHOWN = 100  # characters of an answer that cannot be read
TOO_LONG = (
    "the accountant needs more than {seconds:g} seconds for these settings: give fewer rounds, "
    "more noise, or fewer stretches with different settings"
)
ENDED = "the accountant's process has ended: try again"
BUSY = "the accountant is busy with other questions: try again in a minute"
# The package's own first lines load PyTorch, which takes seconds.  A child needs arithmetic only.
START = """
import sys, types
lab = types.ModuleType("lab")
lab.__path__ = [sys.argv[1]]
sys.modules["lab"] = lab
from lab.privacy.accounting.child_main import main
main(int(sys.argv[2]))
"""


class Children:
    """Answers from at most `most` child processes.  Any thread may ask."""

    def __init__(self, most: int = MOST, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        self.free: LifoQueue[Child] = LifoQueue()
        self.children = [Child(seconds, memory) for _ in range(most)]
        for child in self.children:
            self.free.put(child)
        atexit.register(self.close)

    def epsilon_of(
        self, spendings: tuple[GaussianReleases, ...], delta: float, accountant: Accountant
    ) -> float:
        """As `in_process` does.  Raises SettingError, also where that takes too long."""
        return _number(self._ask("epsilon", _rows(spendings), delta, accountant))

    def deltas_of(
        self, spendings: tuple[GaussianReleases, ...], epsilons: tuple[float, ...]
    ) -> tuple[float, ...]:
        """As `in_process` does.  Raises SettingError, also where that takes too long."""
        found = self._ask("deltas", _rows(spendings), epsilons)
        if not isinstance(found, list) or len(found) != len(epsilons):
            raise _garbled(found)
        return tuple(_number(each) for each in found)

    def noise_for(
        self,
        plan: GaussianReleases,
        epsilon: float,
        delta: float,
        accountant: Accountant,
        before: tuple[GaussianReleases, ...],
    ) -> float:
        """As `noise_calibration` does.  Raises SettingError, also where that takes too long."""
        given = _rows((plan,)), epsilon, delta, accountant, _rows(before)
        return _number(self._ask("noise", *given))

    def processes(self) -> list[int]:
        """The ids of the children that run now."""
        return [child.process.pid for child in self.children if child.process]

    def close(self) -> None:
        """End all children; a question that is asked now starts them again."""
        atexit.unregister(self.close)
        for child in self.children:
            child.end()

    def _ask(self, *question: Any) -> Any:
        try:
            child = self.free.get(timeout=PATIENCE)
        except Empty:
            raise SettingError(BUSY) from None
        try:
            return child.ask(question)
        finally:
            self.free.put(child)


class Child:
    """A process that counts, once there is a question.  One thread at a time may ask."""

    def __init__(self, seconds: float, memory: int) -> None:
        self.process: subprocess.Popen[str] | None = None
        self.seconds = seconds
        self.memory = memory

    def ask(self, question: tuple[Any, ...]) -> Any:
        """The answer.  Raises SettingError."""
        process = self._running()
        late = Timer(self.seconds, process.kill)
        late.daemon = True
        late.start()
        try:
            line = self._exchanged(process, json.dumps(question))
        except BaseException:
            self.end()  # what it writes next belongs to this question
            raise
        finally:
            in_time = not late.finished.is_set()
            late.cancel()
        if not line.endswith("\n"):
            self.end()
            if in_time:
                raise SettingError(ENDED)
            raise SettingError(TOO_LONG.format(seconds=self.seconds))
        return self._read(line)

    def end(self) -> None:
        """Kill the process, if there is one."""
        process, self.process = self.process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                with suppress(OSError):
                    pipe.close()

    def _exchanged(self, process: subprocess.Popen[str], line: str) -> str:
        """What the child writes next; empty if it ends."""
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            return process.stdout.readline()
        except (OSError, ValueError):  # it ended, or was killed
            return ""

    def _read(self, line: str) -> Any:
        try:
            reply = json.loads(line)
        except ValueError:
            reply = None
        if isinstance(reply, dict) and isinstance(reply.get("refused"), str):
            raise SettingError(reply["refused"])
        if not isinstance(reply, dict) or "answer" not in reply:
            self.end()
            raise _garbled(line)
        return reply["answer"]

    def _running(self) -> subprocess.Popen[str]:
        if self.process and self.process.poll() is not None:
            self.end()
        if self.process is None:
            self.process = subprocess.Popen(
                self.command(),
                env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                encoding="utf-8",
                start_new_session=True,  # keys in the server's terminal are for the server
            )
        return self.process

    def command(self) -> list[str]:
        """What is run."""
        here = str(ROOT / "lab")
        return [sys.executable, "-P", "-c", START, here, str(self.memory)]


def _rows(spendings: tuple[GaussianReleases, ...]) -> list[tuple[Any, ...]]:
    return [astuple(each) for each in spendings]


def _number(found: Any) -> float:
    if not isinstance(found, (int, float)) or not isfinite(found):
        raise _garbled(found)
    return float(found)


def _garbled(found: Any) -> SettingError:
    return SettingError(
        f"the accountant's process has answered {repr(found)[:SHOWN]}, and that is no number: "
        "try again"
    )
