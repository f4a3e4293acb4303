"""Tabular: every record to the last answer, and a proof that is never wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import nnls
from torch import Tensor

from attacks.reconstruction.analytic.tabular import Tabular
from attacks.reconstruction.shared.record_weights import counts_up_to, sparse
from attacks.reconstruction.shared.row_space import Span, answered, completed
from datasets import DATA_SOURCES
from lab import Experiment, run
from lab.attack_runs.reconstruction.reconstruction import run_reconstruction
from lab.common.settings import SettingError
from lab.interfaces.attack_data import ReconstructedBatch
from lab.interfaces.columns import Column, cells_of, rows_of
from lab.interfaces.messages import TrainingPlan
from lab.interfaces.privacy_attacks import PrivacyAttack
from lab.interfaces.views import AuxiliaryInfo, ServerView
from lab.models.architectures import MODELS, Mlp
from lab.models.network import Network
from lab.scoring.attack_result import AttackProgress, AttackResult
from lab.scoring.reconstruction.record_score import RecordScore
from tests.support.data import examples_of

ONCE = TrainingPlan(
    epochs=1, cap=1, batch_size=64, rate=0.1, poisson=None, weighted=True, mean_size=8
)  # fmt: skip
COLUMNS = (
    Column("age", centre=40, spread=10, step=1),
    Column("height", centre=160, spread=10, step=1),
    Column("pain", ("none", "much")),
)


def known(kind: str = "adult") -> AuxiliaryInfo:
    examples = examples_of(kind)
    return AuxiliaryInfo(examples.test_inputs, examples.test_labels, DATA_SOURCES[kind]().columns())


def network(kind: str = "adult", hidden: int = 100) -> Network:
    return Network(Mlp(hidden=hidden), DATA_SOURCES[kind].shape, classes=2)


def batch(size: int, seed: int = 0, kind: str = "adult") -> tuple[Tensor, Tensor]:
    examples = examples_of(kind)
    picked = np.random.default_rng(seed).choice(len(examples.labels), size, replace=False)
    return examples.inputs[picked], examples.labels[picked]


def gradient(of: Network, sent: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    flat = sent.clone().requires_grad_(True)
    return torch.autograd.grad(F.cross_entropy(of(flat, inputs), labels), flat)[0]


def view(
    batches: list[tuple[Tensor, Tensor]],
    of: Network | None = None,
    noise: float = 0,
    steps: int = 1,
) -> ServerView:
    """What a server gets of the sum of so many steps on each of these batches."""
    of = of or network()
    sent = of.initial(np.random.Generator(np.random.SFC64(3)))
    rows = []
    for one in batches:
        at = sent
        for _ in range(steps):
            at = at - ONCE.rate * gradient(of, at, *one)
        rows.append(at - sent if steps > 1 else -ONCE.rate * gradient(of, sent, *one))
    row = torch.stack(rows).mean(dim=0)
    drawn = torch.randn(row.shape, generator=torch.Generator().manual_seed(1))
    count = float(sum(len(labels) for _, labels in batches))
    return ServerView(
        round=1,
        network=of,
        recipe=replace(ONCE, epochs=steps, cap=steps),
        sent=sent,
        rows=(row + noise * row.norm() * drawn / len(row) ** 0.5).unsqueeze(0),
        weights=torch.tensor([count]),
        senders=(tuple(range(len(batches))),),
        shared=of.size,
        masked=None,
    )


def answer(seen: ServerView, kind: str = "adult", **settings: int) -> ReconstructedBatch:
    *_, guess = Tabular.model_validate(settings)(seen, 0, known(kind))
    return guess


def found(guess: ReconstructedBatch, inputs: Tensor, labels: Tensor, kind: str = "adult") -> bool:
    """Whether these are the records to the last cell, each with its label, and no others."""
    columns = DATA_SOURCES[kind]().columns()
    both = [
        sorted(map(tuple, torch.cat([cells_of(columns, rows), told.unsqueeze(1)], 1).tolist()))
        for rows, told in ((guess.inputs, guess.labels), (inputs, labels))
    ]
    return both[0] == both[1]


# --- by hand ------------------------------------------------------------------------------------


def span(cells: list[list[float]]) -> Span:
    """Of records with errors that have nothing to do with one another."""
    records = rows_of(COLUMNS, torch.tensor(cells, dtype=torch.float64)).double()
    errors = torch.randn(30, len(cells), generator=torch.Generator().manual_seed(0)).double()
    made = Span.of(COLUMNS, errors @ F.pad(records, (0, 1), value=1.0))
    assert made is not None
    assert made.rank == len(cells)
    return made


def test_answers_that_nobody_gave_are_no_options() -> None:
    assert span([[30, 150, 0], [50, 170, 0]]).options(2).tolist() == [[1, 0]]
    assert span([[30, 150, 0], [50, 170, 1]]).options(2).tolist() == [[1, 0], [0, 1]]


def test_two_records_of_different_answers_are_read_by_hand() -> None:
    cells = [[30.0, 150, 0], [50, 170, 1]]
    made = span(cells)
    ways = answered(made)
    assert ways is not None
    read = cells_of(COLUMNS, completed(made, *ways))
    assert sorted(read.tolist()) == cells


def test_numbers_that_stay_open_are_run_through() -> None:
    """30 and 150, 36 and 160 with the same answer: so 33 and 155 between them, and so on."""
    made = span([[30, 150, 0], [36, 160, 0], [50, 171, 1]])
    ways = answered(made)
    assert ways is not None
    assert len(ways[1]) == 2
    ends = torch.tensor([[24.0, 140, 0], [39, 180, 0]], dtype=torch.float64)
    limits = rows_of(COLUMNS, ends).double()
    read = cells_of(COLUMNS, completed(made, *ways, limits)).tolist()
    line = [[27.0, 145, 0], [30, 150, 0], [33, 155, 0], [36, 160, 0], [39, 165, 0]]
    assert [cell for cell in sorted(read) if cell[2] == 0][-5:] == line
    assert [50.0, 171, 1] not in read  # beyond the limits of what is run through
    assert len(completed(made, *ways)) == 2


def test_labels_of_two_copies_at_most() -> None:
    assert counts_up_to(2, 2).tolist() == [[0, 0], [1, 0], [0, 1], [2, 0], [1, 1], [0, 2]]


@pytest.mark.parametrize("seed", range(4))
def test_weights_are_those_of_non_negative_least_squares(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(40, 9, generator=generator).double()
    right = torch.randn(40, 5, generator=generator).double()
    true = torch.zeros(40).double()
    true[:4] = torch.tensor([1.0, 2, 1, 3])
    wanted = (left * true.unsqueeze(1)).T @ right
    products = torch.einsum("an,ad->nda", left, right).flatten(0, 1)
    oracle, _ = nnls(products.numpy(), wanted.flatten().numpy())
    weights = sparse(left, right, wanted, 20)
    assert torch.allclose(weights, torch.from_numpy(oracle), atol=1e-6)
    assert torch.allclose(weights, true, atol=1e-6)


# --- whole batches ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 4, 8])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("kind", ["adult", "heart"])
def test_every_record_is_found_with_its_label(size: int, seed: int, kind: str) -> None:
    inputs, labels = batch(size, seed, kind)
    guess = answer(view([(inputs, labels)], network(kind)), kind)
    assert found(guess, inputs, labels, kind)
    assert guess.proven
    assert guess.objective is not None
    assert guess.objective < 1e-5


def test_the_first_guess_may_hold_false_records_and_the_last_does_not() -> None:
    """Those of the span that the gradient does not ask for."""
    inputs, labels = batch(12, seed=1)
    first, last = Tabular()(view([(inputs, labels)]), 0, known())
    assert len(first.inputs) > len(last.inputs)
    assert found(last, inputs, labels)
    assert not first.proven


def test_a_record_that_comes_twice_is_found_twice() -> None:
    inputs, labels = batch(4)
    twice = torch.cat([inputs, inputs[:1]]), torch.cat([labels, 1 - labels[:1]])
    guess = answer(view([twice]))
    assert found(guess, *twice)
    assert guess.proven


def test_the_sum_of_a_masked_cohort_gives_everybody_away() -> None:
    parts = [batch(2, seed=client) for client in range(4)]
    guess = answer(view(parts))
    inputs, labels = (torch.cat(each) for each in zip(*parts, strict=True))
    assert found(guess, inputs, labels)
    assert guess.proven


def test_a_public_without_records_is_no_hindrance() -> None:
    inputs, labels = batch(4)
    nobody = replace(known(), inputs=known().inputs[:0], labels=known().labels[:0])
    *_, guess = Tabular()(view([(inputs, labels)]), 0, nobody)
    assert found(guess, inputs, labels)


# --- the proof ----------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [1e-5, 1e-3, 0.1])
def test_nothing_is_proven_under_noise_unless_it_is_right(noise: float) -> None:
    inputs, labels = batch(4)
    guess = answer(view([(inputs, labels)], noise=noise))
    assert guess.inputs.isfinite().all()
    assert not guess.proven or found(guess, inputs, labels)
    assert noise < 0.1 or not len(guess.inputs)  # nothing stands out


@pytest.mark.parametrize("size", [14, 18])
@pytest.mark.parametrize("hidden", [30, 100])
def test_what_is_proven_is_right_even_where_there_is_too_much(size: int, hidden: int) -> None:
    for seed in range(2):
        inputs, labels = batch(size, seed)
        guess = answer(view([(inputs, labels)], network(hidden=hidden)), most=1000)
        assert not guess.proven or found(guess, inputs, labels)


def test_several_local_steps_are_never_proven() -> None:
    guess = answer(view([batch(4)], steps=5))
    assert not guess.proven
    assert len(guess.inputs) >= 4  # their span is still that of the records


def test_nothing_is_proven_where_the_last_layer_stays_at_home() -> None:
    inputs, labels = batch(4)
    seen = view([(inputs, labels)])
    guess = answer(replace(seen, shared=seen.network.places(last=1)))
    assert not guess.proven
    assert found(replace(guess, labels=labels * 0), inputs, labels * 0)


# --- where there is nothing to work on ----------------------------------------------------------


def test_models_that_do_not_begin_and_go_on_dense_are_refused() -> None:
    Tabular().check(network())
    with pytest.raises(SettingError, match="such as mlp, and logistic does not: use first-layer"):
        Tabular().check(Network(MODELS["logistic"](), (104,), classes=2))
    with pytest.raises(SettingError, match="these are pictures: use data"):
        Tabular().check(Network(Mlp(), (1, 28, 28), classes=10))


def test_a_table_whose_columns_mean_nothing_is_refused() -> None:
    with pytest.raises(SettingError, match="tabular must know what the columns mean"):
        next(Tabular()(view([batch(1)]), 0, AuxiliaryInfo.nothing(network())))


# --- as a trial ---------------------------------------------------------------------------------


def attacked(name: str, size: int) -> tuple[list[AttackProgress], AttackResult]:
    now = Experiment.read(
        {
            "data": {"source": "adult", "clients": 4, "examples": 200},
            "model": {"kind": "mlp", "hidden": 100},
            "training": {"rounds": 1, "steps": 1, "batch_size": size},
        }
    )
    *_, moment = run(now)
    glimpses = list(run_reconstruction(PrivacyAttack.table[name](), moment, 1))  # type: ignore[arg-type]
    assert glimpses[-1].result is not None
    return glimpses, glimpses[-1].result


def test_the_score_of_a_trial_is_by_records() -> None:
    glimpses, result = attacked("tabular", 8)
    assert isinstance(result.score, RecordScore)
    assert result.extras == ()
    assert result.score.verdict == "exact: every record"
    assert result.score.labels == 1
    assert result.declared["certified by the attack itself"] == "yes"
    assert "records exact: 8 of 8; 100% of the 8 guessed are" in result.lines()
    assert torch.equal(glimpses[-1].pictures["guess"], glimpses[-1].pictures["private"])
    assert AttackResult.model_validate_json(result.model_dump_json()) == result


def test_other_attacks_on_tables_are_scored_by_records_too() -> None:
    alone, several = (attacked("first-layer", size)[1].score for size in (1, 8))
    assert alone is not None
    assert several is not None
    assert alone.verdict == "exact: every record"
    assert several.exact < 1
