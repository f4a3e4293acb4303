"""How a claimed job ends, and that its ending is stored."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from typing import TypeVar

from lab.common.settings import SettingError
from lab.engine.run_state import Stopped
from lab.storage.job import Job, Status
from lab.storage.worker_store import EvictedError, Ledger

Ending = tuple[Status, str]  # how a job ends, and why


Step = TypeVar("Step")


def settled(
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
