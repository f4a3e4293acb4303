"""The supervisor: it starts workers as the queue needs them, and buries the dead."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from threading import Event, Thread

from lab.common.paths import ROOT
from lab.jobs.overdue_commands import PATIENCE, Watch, release, settle
from lab.jobs.worker_settings import NAP, most_workers
from lab.storage.administration import pause_abandoned
from lab.storage.array_disposal import sweep
from lab.storage.database import DATABASE, data_folder
from lab.storage.store import Store
from lab.storage.worker_store import WorkerStore

TIDY = 5.0  # seconds between two looks for what was left behind


LISTEN = 0.5  # seconds between two looks for what no worker has answered


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
            WorkerStore(self.store).abandon(token)

    def _tend(self) -> None:
        ledger, tidied = WorkerStore(self.store), time.monotonic()
        watch, looked = Watch(self.store), time.monotonic()
        sweep(self.store.engine, self.store.arrays)
        while not self._over.wait(NAP):
            if time.monotonic() - tidied > TIDY:
                pause_abandoned(self.store)
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
