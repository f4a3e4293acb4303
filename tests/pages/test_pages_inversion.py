"""Gradient inversion on its page: pictures, counts, records, a planted model, refusals."""

from __future__ import annotations

from collections import deque

from lab.attack_runs.shared.attack_request import AttackRequest
from lab.jobs.attack_job import carry_out_attack
from lab.scoring.reconstruction.image_scorer import ImageScore
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from lab.storage.worker_store import WorkerStore
from tests.attack_runs.reconstruction.test_own_example import photograph
from tests.support.app_pages import (
    TINY,
    attack,
    button,
    choose,
    labels,
    opened,
    trained,
    words,
    work_off,
)


def test_inversion_from_the_button_to_the_verdict(store: Store) -> None:
    app = opened("inversion", run=trained(store))
    choose(choose(app, "Round", 1), "Client", 2)
    button(app, "Attack")
    work_off(store)
    app.run()
    metrics = {metric.label: metric.value for metric in app.metric}
    assert float(metrics["PSNR"].split()[0]) > 30
    assert "Best guess without the gradient" in metrics
    told = words(app)
    assert "leaklab attack idlg --run" in told
    assert "--round 1 --client 2" in told


def test_a_picture_of_ones_own_from_the_upload_to_the_verdict(store: Store) -> None:
    app = opened("inversion", run=trained(store))
    next(one for one in app.radio if one.label == "Whose picture").set_value("My own").run()
    assert "Choose a picture in the sidebar" in words(app)
    assert "Attack" not in labels(app)
    (uploader,) = app.file_uploader
    uploader.set_value(("me.png", b"<script>alert(1)</script>", "image/png")).run()
    assert "neither PNG nor JPEG" in words(app)
    assert "Attack" not in labels(app)
    (uploader,) = app.file_uploader
    uploader.set_value(("me.png", photograph(), "image/png")).run()
    choose(app, "Trained on as", 7)
    button(app, "Attack")
    work_off(store)
    app.run()
    assert float(next(one.value for one in app.metric if one.label == "PSNR").split()[0]) > 20
    told = words(app)
    assert "a picture of your own" in told
    assert "leaklab invert YOUR_PICTURE --attack idlg" in told
    assert "--label 7" in told
    again = opened("inversion", run=store.runs()[0].id)  # without the upload: it is found again
    assert "PSNR" in {metric.label for metric in again.metric}


def test_many_pictures_are_all_shown_page_by_page(store: Store) -> None:
    run = trained(store, TINY.changed({"training.batch_size": 18}))
    spy = {"kind": "inverting-gradients", "iterations": 10, "most": 18}
    attack(store, run, spy, round=1, client=3)
    app = opened("inversion", run=run)
    pairs = [f"{match.psnr:.1f} dB" for match in shown_of(store, run).matches]
    assert len(pairs) == 18
    for page, there in ((1, pairs[:16]), (2, pairs[16:])):
        choose(app, "Page of 2", page)
        captions = [one.proto.imgs[0].caption for one in app.get("image")]
        assert [caption.split(",")[0] for caption in captions] == there
    told = words(app)
    assert "18 examples" in told
    assert "lead to their own private example first" in told


def shown_of(store: Store, run: str) -> ImageScore:
    return ImageScore.read(store.sights(store.attacks_on(run)[0].id)[-1].body["score"])


def test_a_stopped_attack_shows_its_best_guess_and_can_be_downloaded(store: Store) -> None:
    run, ledger = trained(store), WorkerStore(store)
    order = AttackRequest.read({"kind": "idlg", "restarts": 20, "round": 1, "client": 3})
    job = ledger.start_attack(run, order)
    glimpses = carry_out_attack(ledger, job)
    next(glimpses)
    RunCommands(store).stop(job.id)
    deque(glimpses, maxlen=0)
    app = opened("inversion", run=run)
    assert "stopped by hand" in words(app)
    assert shown_of(store, run).verdict.capitalize() in words(app)
    assert {"Pictures, PNG", "Result, JSON"} <= {one.label for one in app.get("download_button")}


def test_inversion_offers_only_attacks_that_suit_the_model(store: Store) -> None:
    app = opened("inversion", run=trained(store))
    assert "first-layer" not in next(one for one in app.selectbox if one.label == "Attack").options


def test_label_counts_are_told_beside_an_even_guess_and_without_pictures(store: Store) -> None:
    run = trained(store)
    attack(store, run, "label-counts", round=1, client=3)
    app = opened("inversion", run=run)
    metrics = {metric.label for metric in app.metric}
    assert {"Labels right", "Evenly spread guess"} <= metrics
    assert "PSNR" not in metrics
    assert "This attack shows no picture" in words(app)
    assert not app.exception


def test_records_of_a_table_are_told_in_words_with_a_mark_at_each_cell(store: Store) -> None:
    table = TINY.changed(
        {"data.source": "adult", "model.kind": "mlp", "training.batch_size": 2, "data.examples": 80}
    )
    run = trained(store, table)
    attack(store, run, "tabular", round=1, client=3)
    app = opened("inversion", run=run)
    assert "Exact: every record" in words(app)
    metrics = {metric.label: metric.value for metric in app.metric}
    assert metrics["Records exact"] == "2 of 2"
    assert metrics["Cells right"] == "100%"
    first = next(table.value for table in app.table if "reconstructed" in table.value)
    assert all(f"✓ {true}" == mine for true, mine in first[["private", "reconstructed"]].values)


def test_a_planted_model_is_shown_with_what_a_client_could_have_noticed(store: Store) -> None:
    run = trained(store)
    attack(store, run, "imprint", round=2, client=1)
    app = opened("inversion", run=run)
    assert "What a careful client could have noticed" in [one.label for one in app.expander]
    assert {one.value.split(":")[0] for one in app.warning} == {"Architecture", "Copies"}
    assert "0 of" in words(app)
    assert not app.exception


def test_inversion_under_secure_aggregation_says_what_the_server_got(store: Store) -> None:
    app = opened(
        "inversion", run=trained(store, TINY.changed({"secure_aggregation.enabled": True}))
    )
    assert "the server got the sum of 4 updates" in words(app)


def test_inversion_of_a_round_in_which_nothing_arrived_says_so(store: Store) -> None:
    lost = TINY.changed(
        {"secure_aggregation.enabled": True, "secure_aggregation.threshold": 1.0,
         "network.dropout": 0.9}
    )  # fmt: skip
    app = opened("inversion", run=trained(store, lost))
    assert "Nobody's update arrived" in words(app)
    assert "Attack" not in labels(app)


def test_a_page_finds_the_last_attack_again(store: Store) -> None:
    run = trained(store)
    attack(store, run, {"kind": "idlg", "restarts": 1}, round=1, client=3)
    app = opened("inversion", run=run)
    assert "PSNR" in {metric.label for metric in app.metric}
