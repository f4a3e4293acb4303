"""How a claimed job ends, and that its ending is stored."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from typing import TypeVar

from lab.common.settings import SettingError
from lab.engine.run_state import RunStopped
from lab.storage.job import Job, Status
from lab.storage.worker_store import LeaseLostError, WorkerStore

JobEnding = tuple[Status, str]  # how a job ends, and why


Step = TypeVar("Step")


def settled(
    ledger: WorkerStore, job: Job, steps: Generator[Step, None, JobEnding], interrupted: JobEnding
) -> Generator[Step, None, None]:
    """The steps of a claimed job, whose lease is held and whose ending is stored.

    What the user has to mend ends it with a message; any other error does too, and travels.
    """
    with ledger.held(job), suppress(LeaseLostError):
        try:
            ending = yield from steps
        except (SettingError, RunStopped) as error:
            ending = "stopped", str(error)
        except (KeyboardInterrupt, GeneratorExit):
            ledger.settle(job, *interrupted)
            raise
        except LeaseLostError:
            raise
        except Exception as error:
            ledger.settle(job, "failed", f"{type(error).__name__}: {error}")
            raise
        ledger.settle(job, *ending)
