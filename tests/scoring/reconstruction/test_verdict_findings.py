"""Scores that a hostile review found too kind to attacks, one test or more for each finding.

A4: silence, where guesses for some private examples never came back.  A5: the best guess itself,
handed in as an attack.  C8: how many starts an attack chose from.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from attacks import PRIVACY_ATTACKS
from datasets import DATA_SOURCES
from lab import Experiment, run
from lab.attack_runs.reconstruction.model_manipulation import run_active_reconstruction
from lab.attack_runs.reconstruction.reconstruction import run_reconstruction
from lab.attack_runs.shared.ground_truth import reconstruction_scorer
from lab.engine.run import initial_state
from lab.interfaces.attack_data import ReconstructedBatch
from lab.interfaces.columns import Column, rows_of
from lab.interfaces.privacy_attacks import ActiveReconstructionAttack, ReconstructionAttack
from lab.models.inputs import as_floats
from lab.scoring.attack_result import AttackResult
from lab.scoring.reconstruction.guess_baselines import _guesses
from lab.scoring.reconstruction.image_metrics import PEAK
from lab.scoring.reconstruction.image_scorer import ImageScore, ReconstructionScorer
from lab.scoring.reconstruction.label_score import label_score
from lab.scoring.reconstruction.record_score import RecordScorer
from lab.scoring.reconstruction.text_score import TextScorer
from lab.sweeps.cell_result import AttackSummary

NOTHING = "no better than a guess without the gradient"
BATCH = {"data.clients": 10, "data.examples": 500, "training.steps": 1, "training.batch_size": 32}
digits = DATA_SOURCES["digits"]().load()
PICTURES, LABELS = as_floats(digits.inputs), digits.labels


def guess(inputs: Tensor, labels: Tensor) -> ReconstructedBatch:
    return ReconstructedBatch(inputs, labels, step=1, steps=1)


def judge(places: np.ndarray) -> ReconstructionScorer:
    """These pictures are private; some of the others are the rest of the training set."""
    private = torch.from_numpy(places)
    others = torch.ones(len(LABELS), dtype=torch.bool)
    others[private] = False
    return ReconstructionScorer(
        inputs=PICTURES[private],
        labels=LABELS[private],
        others=PICTURES[others],
        public=as_floats(digits.test_inputs),
        public_labels=digits.test_labels,
    )


def leak_of(found: ImageScore) -> AttackSummary:
    return AttackSummary.of(
        AttackResult(attack="x", settings={}, round=1, declared={}, score=found)
    )


# --- A4: silence ----------------------------------------------------------------------------------


def test_one_exact_picture_of_32_is_not_called_exact() -> None:
    truth = reconstruction_scorer(Experiment().changed(BATCH), 1, 0)
    found = truth.score(guess(truth.inputs[:1].clone(), truth.labels[:1]))
    assert found.verdict == "partly exact: 1 of 32 exact"
    assert found.exact == 1 / 32
    assert found.best == PEAK
    best = max(truth.floors(truth.labels[:1]).values(), key=lambda floor: floor.mean)
    assert found.median == pytest.approx(np.median([*best.psnr[1:], PEAK]))
    assert found.worst == pytest.approx(min(best.psnr[1:]))
    assert found.psnr == pytest.approx(np.mean([*best.psnr[1:], PEAK]))
    assert found.gain == 0
    assert found.labels <= 1 / 32
    told = " ".join(found.lines())
    assert "over 32 examples" in told
    assert "31 of 32 did not come back: the best guess counts there" in told
    leak = leak_of(found)
    assert not leak.exact
    assert not leak.stopped  # one picture did leak


@pytest.mark.parametrize("seed", [1, 3])
def test_the_imprint_that_leaves_two_of_16_out_is_partly_exact(seed: int) -> None:
    changes = {"seed": seed, "data.clients": 5, "data.examples": 2000, "training.rounds": 1}
    changes |= {"training.steps": 1, "training.batch_size": 16, "model.kind": "mlp"}
    now = Experiment().changed(changes)
    spy = PRIVACY_ATTACKS["imprint"](bins=64, module=True)
    assert isinstance(spy, ActiveReconstructionAttack)
    *_, last = run_active_reconstruction(spy, initial_state(now), next(run(now)), 0)
    found = last.score
    assert found is not None
    assert (len(found.matches), found.missing, found.exact) == (14, 2, 14 / 16)
    assert found.verdict == "partly exact: 14 of 16 exact"
    assert found.gain > 40  # the median example is exact


def test_a_guess_more_never_makes_a_score_worse_than_silence() -> None:
    """The 15th guess is grey; without it the attack would have been as good, and no better."""
    truth = judge(np.arange(16))
    shown = truth.inputs[:15].clone()
    shown[14] = 0.5
    silent = truth.score(guess(shown[:14], truth.labels[:14]))
    daring = truth.score(guess(shown, truth.labels[:15]))
    assert silent.verdict == daring.verdict == "partly exact: 14 of 16 exact"
    assert silent.exact == daring.exact
    assert silent.median == daring.median == PEAK
    assert silent.worst < 20


def test_labels_that_were_not_named_count_as_wrong() -> None:
    true = torch.tensor([0, 0, 1, 2, 3, 4, 5, 6])
    silent = label_score(true[:1], true, 10)
    assert silent.right == 1 / 8
    assert silent.verdict == "no better than an even guess"
    assert label_score(true, true, 10).verdict == "exact: how many there are of every class"


def test_one_next_word_of_eight_is_no_leak() -> None:
    typed = torch.arange(1, 25).view(8, 3)
    reader = TextScorer(
        typed, typed[:, 0], typed + 30, typed[:, 0] + 30, tuple(str(k) for k in range(70))
    )
    found = reader.score(guess(typed[:0].float(), typed[:1, 0]))
    assert found.next == 1 / 8
    few = reader.score(guess(typed[:1].float(), typed[:1, 0]))
    assert (few.exact, few.sentences) == (1, 8)
    assert not few.verdict.startswith("exact")


# --- A5: the best guess, handed in as an attack ---------------------------------------------------


@pytest.mark.parametrize("batches", [100, pytest.param(1000, marks=pytest.mark.deep)])
def test_no_guess_without_the_gradient_is_ever_better_than_a_guess(batches: int) -> None:
    """Random batches; the guess hands in fewer, as many or more pictures than are private."""
    generator = np.random.default_rng(0)
    public, public_labels = as_floats(digits.test_inputs), digits.test_labels
    for batch in range(batches):
        size = int(generator.integers(1, 9))
        truth = judge(generator.choice(len(LABELS), size, replace=False))
        absent = [k for k in range(10) if k not in truth.labels]  # so that labels do not decide
        labels = torch.from_numpy(generator.choice(absent, int(generator.integers(1, 11))))
        beside = truth.floors(labels)
        best = max(beside, key=lambda name: beside[name].mean)
        made = {name: each for name, each, _ in _guesses(labels, public, public_labels)}
        name = best if batch % 2 else str(generator.choice(list(made)))
        found = truth.score(guess(made[name].clone(), labels))
        assert found.verdict == NOTHING, (batch, name)
        assert found.gain <= 0
        assert leak_of(found).stopped


COLUMNS = (Column("age", centre=40, spread=10, step=1), Column("pain", ("none", "some", "much")))


def test_many_public_records_are_no_better_than_a_guess() -> None:
    """A table's guess hands in as many records as the attack does, or more of them would tell."""
    generator = np.random.default_rng(0)
    ages, pains = generator.integers(20, 60, (2, 400)), generator.integers(0, 3, (2, 400))
    private, public = (
        rows_of(COLUMNS, torch.tensor(np.stack([age, pain], axis=1), dtype=torch.float64))
        for age, pain in zip(ages, pains, strict=True)
    )
    for batch in range(100):
        mine = torch.from_numpy(generator.choice(400, 4, replace=False))
        labels = torch.zeros(400, dtype=torch.int64)
        truth = ReconstructionScorer(private[mine], labels[mine], private[-50:], public, labels)
        clerk = RecordScorer(COLUMNS, truth)
        for count in (2, 4, 40):
            some = public[torch.linspace(0, 399, count).long()]
            assert clerk.score(guess(some, labels[:count])).verdict == NOTHING, (batch, count)


def test_public_text_is_no_better_than_a_guess() -> None:
    """Whole public sentences with their next words, which are few and often the same."""
    generator = np.random.default_rng(0)
    for _ in range(200):
        typed, public = torch.from_numpy(generator.integers(1, 60, (2, 8, 3)))
        labels, others = torch.from_numpy(generator.integers(1, 4, (2, 8)))
        reader = TextScorer(typed, labels, public, others, tuple(map(str, range(70))))
        assert reader.score(guess(public.float(), others)).verdict == NOTHING


# --- C8: how many starts there were ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("inverting-gradients", {"iterations": 10}, "4 random starts, of which the attack kept"),
        ("inverting-gradients", {"iterations": 10, "restarts": 1}, "1, and nothing was picked"),
        ("idlg", {"iterations": 10, "restarts": 2}, "2 random starts, of which the attack kept"),
        ("dlg", {"iterations": 10, "restarts": 2}, "2 random starts, of which the attack kept"),
        ("label-counts", {}, "1, and nothing was picked"),
    ],
)
def test_a_result_says_how_many_starts_the_attack_chose_from(
    name: str, settings: dict[str, int], told: str
) -> None:
    changes = {"data.source": "digits", "data.clients": 4, "data.examples": 40, "model": "mlp"}
    now = Experiment().changed(changes | {"training.steps": 1, "training.batch_size": 2})
    spy = PRIVACY_ATTACKS[name].model_validate(settings)
    assert isinstance(spy, ReconstructionAttack)
    *_, last = run_reconstruction(spy, next(run(now)), 0)
    assert last.result is not None
    assert last.result.declared["trials"].startswith(told)


def test_starts_are_counted_as_far_as_they_were_tried() -> None:
    """SPEAR ends at the start that explains everything."""
    now = Experiment().changed({"model": "mlp", "training.steps": 1, "training.batch_size": 8})
    spy = PRIVACY_ATTACKS["spear"]()
    assert isinstance(spy, ReconstructionAttack)
    *_, last = run_reconstruction(spy, next(run(now)), 0)
    assert last.result is not None
    told = last.result.declared["trials"]
    assert told.startswith("1, and" if last.step == 1 else f"{last.step} random starts")
