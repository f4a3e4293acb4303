"""Own pictures: the honest step on them is the clients' own, and what is found is scored as any."""

from __future__ import annotations

import json
from collections import deque
from io import BytesIO
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from attacks import PRIVACY_ATTACKS
from lab import ROOT, Experiment
from lab.attack_runs.reconstruction.own_example import run_own_example, view_of
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.cli import main
from lab.common.settings import SettingError
from lab.engine.client.batches import touched
from lab.engine.client.local_training import train_cohort
from lab.engine.data.federation import federated_dataset
from lab.engine.run import initial_state
from lab.engine.run_state import RunState
from lab.interfaces.federated_algorithm import LocalTask
from lab.interfaces.privacy_attacks import ReconstructionAttack
from lab.jobs.attack_job import carry_out_attack
from lab.jobs.run_job import carry_out_run
from lab.models.architectures import MODELS
from lab.models.inputs import as_floats
from lab.scoring.attack_result import AttackResult
from lab.storage.store import Store
from lab.storage.uploads import decoded
from lab.storage.worker_store import WorkerStore

DIGITS = Experiment.read(
    {
        "data": {"source": "digits", "clients": 4},
        "model": {"kind": "mlp"},
        "training": {"rounds": 2, "steps": 1, "batch_size": 1},
    }
)
Captured = pytest.CaptureFixture[str]


def photograph() -> bytes:
    """Of nobody: a slope with a spot on it."""
    image, target = Image.linear_gradient("L").convert("RGB"), BytesIO()
    image.paste((200, 30, 90), (90, 60, 150, 130))
    image.save(target, "PNG")
    return target.getvalue()


def picture(experiment: Experiment = DIGITS) -> Tensor:
    return decoded(photograph(), experiment.data.source.shape)


def inverted(name: str, before: RunState, label: int = 3, **settings: object) -> AttackResult:
    spy = PRIVACY_ATTACKS[name].read({"kind": name, **settings})
    assert isinstance(spy, ReconstructionAttack)
    *_, last = run_own_example(spy, before, picture(before.experiment), label)
    assert last.result is not None
    return last.result


@pytest.mark.parametrize("kind", [kind for kind in MODELS if "pictures" in MODELS[kind].reads])
def test_the_step_is_the_one_that_a_client_takes(kind: str) -> None:
    """On a client's own example the row is the client's, to the last bit."""
    now = DIGITS.changed({"model.kind": kind})
    state = initial_state(now)
    federation = federated_dataset(now)
    held = federation.held(2)
    used = held[torch.from_numpy(touched(now, 1, 2, len(held)))]
    assert len(used) == 1
    inputs, labels = federation.examples(used)
    view = view_of(now, 1, now.architecture, state.model, inputs, labels)
    theirs = train_cohort(now, 1, [2], LocalTask(state.model)).rows
    assert torch.equal(view.rows, theirs)
    assert torch.equal(view.sent, state.model)
    assert (view.senders, view.recipe.images(1), view.recipe.local_steps(1)) == (((0,),), 1, 1)


def test_a_dense_layer_gives_it_away_and_says_what_was_assumed() -> None:
    result = inverted("first-layer", initial_state(DIGITS))
    found = result.score
    assert found is not None
    assert (found.verdict, found.labels, found.private) == ("exact", 1.0, 1)
    assert found.identified is not None
    assert found.identified.ranks == (1,)
    assert found.identified.pool == 1 + len(DIGITS.data.source.load().labels)
    assert (result.own, result.client, result.round) == (True, None, 1)
    assert result.declared["trained on as"] == DIGITS.data.source.classes[3]
    assert "left out" in result.declared["privacy"]
    told = result.lines()
    assert told[0] == "first-layer on round 1, a picture of your own"
    assert AttackResult.model_validate_json(result.model_dump_json()) == result


def test_what_is_kept_is_what_the_private_picture_was() -> None:
    spy = PRIVACY_ATTACKS["first-layer"]()
    assert isinstance(spy, ReconstructionAttack)
    *_, last = run_own_example(spy, initial_state(DIGITS), picture(), 0)
    assert torch.equal(last.pictures["private"], as_floats(picture()))
    assert torch.allclose(last.pictures["guess"], last.pictures["private"], atol=1e-5)


def test_defences_of_the_run_are_left_out_and_unknown_to_the_attack() -> None:
    guarded = DIGITS.changed(
        {"privacy.kind": "client", "privacy.noise": 2.0, "secure_aggregation.enabled": True}
    )
    plain, private = (inverted("first-layer", initial_state(one)) for one in (DIGITS, guarded))
    assert plain.score is not None
    assert private.score is not None
    assert private.score.psnr == plain.score.psnr
    assert private.guarantee is None


# --- with a store -------------------------------------------------------------------------------


@pytest.fixture
def run(store: Store) -> str:
    ledger = WorkerStore(store)
    job = ledger.start(DIGITS)
    deque(carry_out_run(ledger, job), maxlen=0)
    return job.id


def ordered(store: Store, run: str, **changes: object) -> str:
    kept = store.arrays.put({"picture": picture()})
    order = {"kind": "first-layer", "round": 2, "picture": kept, "label": 4} | changes
    ledger = WorkerStore(store)
    job = ledger.start_attack(run, AttackRequest.read(order))
    deque(carry_out_attack(ledger, job), maxlen=0)
    return job.id


def test_it_is_stored_with_the_run_and_can_be_replayed(store: Store, run: str) -> None:
    one, other = (store.job(ordered(store, run)) for _ in range(2))
    assert (one.status, one.message) == ("finished", "")
    results = [
        AttackResult.read(job.result).model_copy(update={"seconds": 0}) for job in (one, other)
    ]
    assert results[0] == results[1]
    assert one.order == other.order
    assert "/" not in json.dumps(one.body)  # a digest, never a path
    words = one.order.command(run)
    assert words.startswith("leaklab invert YOUR_PICTURE --attack first-layer --run")
    assert words.endswith("--round 2 --label 4")


def test_the_next_round_has_a_model_too_but_no_later_one(store: Store, run: str) -> None:
    assert store.job(ordered(store, run, round=3)).status == "finished"
    with pytest.raises(SettingError, match="has models for rounds 1 to 3"):
        ordered(store, run, round=4)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"kind": "loss-threshold"}, "reconstructs nothing"),
        ({"label": 10}, "label is 10: give 0 to 9"),
        ({"picture": "../../etc/passwd"}, "is no digest"),
        ({"picture": "0" * 64}, "cannot be read"),
    ],
)
def test_orders_that_make_no_sense_are_refused(
    store: Store, run: str, changes: dict[str, object], told: str
) -> None:
    with pytest.raises(SettingError, match=told):
        ordered(store, run, **changes)
    assert store.attacks_on(run) == []


def test_arrays_that_are_no_picture_of_the_run_are_refused(store: Store, run: str) -> None:
    for arrays in ({"model": torch.zeros(3)}, {"picture": torch.zeros(1, 3, 4, 4)}):
        with pytest.raises(SettingError, match="has not the shape"):
            ordered(store, run, picture=store.arrays.put(arrays))


# --- at the command line ------------------------------------------------------------------------


def leaklab(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["leaklab", *words])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_invert_attacks_a_file_with_a_fresh_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Captured
) -> None:
    path, out = tmp_path / "me.png", tmp_path / "out"
    path.write_bytes(photograph())
    words = ["invert", str(path), "--attack", "first-layer", "--source", "digits"]
    words += ["--model", "mlp", "--label", "7", "--out", str(out)]
    assert leaklab(monkeypatch, *words, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["score"]["verdict"] == "exact"
    assert told["own"] is True
    assert {"result.json", "sheet.png", "guess_0.png", "private_0.png"} <= {
        each.name for each in out.iterdir()
    }
    (fresh,) = Store().runs()
    assert (fresh.status, fresh.round) == ("paused", 0)
    assert leaklab(monkeypatch, "invert", str(path), "--attack", "spear", "--run", fresh.id) == 0
    assert "a picture of your own" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--attack", "first-layer", "--source", "digits"), "use idlg"),
        (("--attack", "idlg", "--run", "zzz"), "no run 'zzz'"),
        (("--attack", "idlg", "--run", "zzz", "--model", "cnn"), "leave them out beside --run"),
        (("--attack", "idlg", "--source", "digits", "--label", "boot"), "choose from 0, 1"),
        (("--attack", "idlg", "--source", "heart", "--model", "mlp"), "learns from tables"),
    ],
)
def test_what_cannot_be_is_told(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: Captured,
    words: tuple[str, ...],
    told: str,
) -> None:
    (tmp_path / "me.png").write_bytes(photograph())
    assert leaklab(monkeypatch, "invert", str(tmp_path / "me.png"), *words) == 2
    assert told in capsys.readouterr().err
    assert Store().runs() == []


def test_a_file_that_is_no_picture_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    assert leaklab(monkeypatch, "invert", str(ROOT / "README.md"), "--attack", "idlg") == 2
    assert "neither PNG nor JPEG" in capsys.readouterr().err
