"""Thirty students on one server: `python -m benchmarks.classroom`.

Each is a real websocket session with a cookie of its own.  At first all open the page in the same
instant.  Then the lesson: within half a minute each opens the page, looks at it for some seconds,
presses Start, and redraws the live part as often as its browser is told to, until its run is
finished.  A response is the time from asking to the end of the script, while the runs train.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import urlopen

import websockets
from rich.console import Console
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from benchmarks.__main__ import HERE, machine
from lab.storage.store import Store
from lab.storage.visitors import COOKIE, visitor_of

RESULTS = HERE / "results" / "classroom.json"
STUDENTS = 30
ADDRESS = "data.clients=20&data.examples=4000&training.rounds=60"
ARRIVAL = 30.0  # seconds within which all have come
READING = (2.0, 10.0)  # seconds from the open page to Start
PATIENCE = 600.0  # seconds until a run that is not finished counts as lost
screen = Console(stderr=True)


@dataclass
class Student:
    """One browser, as far as the server can tell."""

    number: int
    cookie: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    opened: float = 0.0  # seconds until the page was there
    started: float = 0.0  # from Start to the end of the script
    responses: list[float] = field(default_factory=list)  # of the live part
    errors: list[str] = field(default_factory=list)
    widgets: dict[str, str] = field(default_factory=dict)  # ids of buttons by label
    fragments: dict[str, float] = field(default_factory=dict)  # seconds between redraws, by id
    query: str = ADDRESS

    async def attend(self, port: int, store: Store) -> None:
        """From opening the page to the end of the run."""
        async with websockets.connect(
            f"ws://127.0.0.1:{port}/_stcore/stream",
            subprotocols=[websockets.Subprotocol("streamlit")],
            additional_headers={"Cookie": f"{COOKIE}={self.cookie}"},
            max_size=None,
            open_timeout=60,
        ) as line:
            chance = random.Random(self.number)
            await asyncio.sleep(chance.uniform(0, ARRIVAL))
            self.opened = await self._ask(line)
            await asyncio.sleep(chance.uniform(*READING))
            self.started = await self._ask(line, press="Start")
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end and not self._finished(store):
                await self._follow(line)

    def _finished(self, store: Store) -> bool:
        mine = store.runs(visitor=visitor_of(self.cookie))
        return bool(mine) and mine[0].status == "finished"

    async def _follow(self, line: Any) -> None:
        """One redraw of the part that redraws most often; the whole page, where there is none."""
        part = min(self.fragments, key=lambda id: self.fragments[id], default="")
        await asyncio.sleep(self.fragments.get(part, 1.0))
        self.responses.append(await self._ask(line, fragment=part))

    async def _ask(self, line: Any, press: str = "", fragment: str = "") -> float:
        """Seconds until the script has run."""
        asked = BackMsg()
        asked.rerun_script.query_string = self.query
        if press:
            state = asked.rerun_script.widget_states.widgets.add()
            state.id, state.trigger_value = self.widgets[press], True
        if fragment:
            asked.rerun_script.fragment_id = fragment
            asked.rerun_script.is_auto_rerun = True
        else:
            self.fragments.clear()
        began = time.perf_counter()
        await line.send(asked.SerializeToString())
        while True:
            told = ForwardMsg()
            told.ParseFromString(await asyncio.wait_for(line.recv(), 60))
            kind = told.WhichOneof("type")
            if kind == "script_finished" and told.script_finished != 2:  # 2: to be run again
                return time.perf_counter() - began
            self._hear(told, kind)

    def _hear(self, told: ForwardMsg, kind: str | None) -> None:
        if kind == "auto_rerun":
            self.fragments[told.auto_rerun.fragment_id] = told.auto_rerun.interval
        elif kind == "page_info_changed":
            self.query = told.page_info_changed.query_string
        elif kind == "delta" and told.delta.WhichOneof("type") == "new_element":
            element = told.delta.new_element
            if element.WhichOneof("type") == "button":
                self.widgets[element.button.label] = element.button.id
            if element.WhichOneof("type") == "exception":
                self.errors.append(element.exception.message)


async def lesson(port: int, store: Store) -> tuple[list[Student], list[float], dict[str, float]]:
    """Who was there, seconds to open the page if all do at once, and the server's memory."""
    memory = {"empty server": resident(port)}
    idle = [Student(number) for number in range(STUDENTS)]
    lines = [
        await websockets.connect(
            f"ws://127.0.0.1:{port}/_stcore/stream",
            subprotocols=[websockets.Subprotocol("streamlit")],
            additional_headers={"Cookie": f"{COOKIE}={each.cookie}"},
            max_size=None,
        )
        for each in idle
    ]
    rush = await asyncio.gather(*(each._ask(line) for each, line in zip(idle, lines, strict=True)))
    memory["with idle sessions"] = resident(port)
    for line in lines:
        await line.close()
    students = [Student(number) for number in range(STUDENTS)]
    ended = await asyncio.gather(
        *(each.attend(port, store) for each in students), return_exceptions=True
    )
    for each, error in zip(students, ended, strict=True):
        if error is not None:
            each.errors.append(f"{type(error).__name__}: {error}")
    memory["after the lesson"] = resident(port)
    return students, rush, memory


def resident(port: int) -> float:
    """Megabytes of the server that listens there."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
            status = (folder / "status").read_text(encoding="utf-8")
        except OSError:
            continue
        if str(port).encode() in command and b"app" in command:
            line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
            return int(line.split()[1]) / 1024
    return 0.0


def told(
    students: list[Student], rush: list[float], memory: Mapping[str, float], store: Store
) -> dict[str, Any]:
    redraws = sorted(one for each in students for one in each.responses)
    every = sorted(redraws + [one for each in students for one in (each.opened, each.started)])
    finished = sum(each._finished(store) for each in students)
    grown = memory["with idle sessions"] - memory["empty server"]
    return {
        "students": STUDENTS,
        "runs finished": finished,
        "runs lost": STUDENTS - finished,
        "errors": [error for each in students for error in each.errors],
        "seconds to open the page, all in one instant, median": median(rush),
        "seconds of a response, median": median(every),
        "seconds of a response, 95 %": every[int(0.95 * len(every))],
        "seconds to open the page, median": median(each.opened for each in students),
        "seconds to open the page, worst": max(each.opened for each in students),
        "seconds from Start to the page, median": median(each.started for each in students),
        "redraws": len(redraws),
        "seconds of a redraw, median": median(redraws),
        "seconds of a redraw, 95 %": redraws[int(0.95 * len(redraws))],
        "seconds of a redraw, worst": redraws[-1],
        "megabytes of one idle session": grown / STUDENTS,
        "megabytes of the server": dict(memory),
    }


def main() -> None:
    """Serve, attend, measure, and write the result down."""
    from tests.support.chromium import free_port, served

    with tempfile.TemporaryDirectory() as folder:
        url, port = f"sqlite:///{folder}/class.db", free_port()
        os.environ["LEAKLAB_CLASS"] = "1"
        with served(url, port):
            with urlopen(f"http://127.0.0.1:{port}/", timeout=60):
                pass
            store, began = Store(url), time.monotonic()
            students, rush, memory = asyncio.run(lesson(port, store))
            found = told(students, rush, memory, store) | {
                "seconds in all": time.monotonic() - began
            }
    screen.print_json(json.dumps(found))
    kept = {"machine": machine(), "lesson": found, "experiment": ADDRESS}
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    if found["runs lost"] or found["errors"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
