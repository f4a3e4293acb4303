"""Pages under test: opened, pressed and read without a browser."""

from __future__ import annotations

from collections import deque
from typing import Any

from streamlit.testing.v1 import AppTest

from lab import ROOT, Experiment
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.jobs.attack_job import carry_out_attack
from lab.jobs.run_job import carry_out_run
from lab.jobs.sweep_job import carry_out_cell
from lab.storage.store import Store
from lab.storage.worker_store import WorkerStore

TINY = Experiment.read(
    {
        "data": {"source": "digits", "clients": 4},
        "model": {"kind": "lenet"},
        "training": {"rounds": 2, "steps": 1, "batch_size": 1},
    }
)


def opened(page: str = "live", **query: str) -> AppTest:
    """As by a link; query: what its address says behind the question mark."""
    app = AppTest.from_file(str(ROOT / "lab" / "web" / "app.py"), default_timeout=60)
    app.query_params.update(query)
    if page != "live":
        app.switch_page(f"../../pages/{page}.py")
    app.run()
    assert not app.exception
    return app


def trained(store: Store, experiment: Experiment = TINY) -> str:
    ledger = WorkerStore(store)
    job = ledger.start(experiment)
    deque(carry_out_run(ledger, job), maxlen=0)
    return job.id


def attack(store: Store, run: str, spy: str | dict[str, Any], **order: object) -> None:
    own = {"kind": spy} if isinstance(spy, str) else spy
    ledger = WorkerStore(store)
    job = ledger.start_attack(run, AttackRequest.read(own | order))
    deque(carry_out_attack(ledger, job), maxlen=0)


def work_off(store: Store) -> None:
    """What a worker would do."""
    ledger = WorkerStore(store)
    todo = {"attack": carry_out_attack, "run": carry_out_run, "cell": carry_out_cell}
    while (job := ledger.claim()) is not None:
        deque(todo[job.kind](ledger, job), maxlen=0)


def button(app: AppTest, label: str) -> AppTest:
    """Press it, and see that nothing broke."""
    next(one for one in app.button if one.label == label).click()
    app.run()
    assert not app.exception
    return app


def choose(app: AppTest, label: str, value: object) -> AppTest:
    widgets = [*app.selectbox, *app.select_slider, *app.slider, *app.number_input, *app.toggle]
    next(one for one in widgets if one.label == label).set_value(value)
    app.run()
    assert not app.exception
    return app


def labels(app: AppTest) -> set[str]:
    return {one.label for one in app.button}


def words(app: AppTest) -> str:
    told = [*app.markdown, *app.caption, *app.text, *app.warning, *app.error, *app.info]
    told += [*app.subheader, *app.header, *app.code]
    return "\n".join(str(one.value) for one in told)
