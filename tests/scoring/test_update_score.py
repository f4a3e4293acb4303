"""Closeness: a claim against the truth, by hand, and the words that follow from it."""

from __future__ import annotations

import pytest
import torch

from lab.common.settings import SettingError
from lab.interfaces.attack_data import UpdateEstimate
from lab.scoring.update_score import UpdateScorer, UpdateSimilarity, closeness, verdict


def test_cosine_and_relative_error_by_hand() -> None:
    found = closeness(torch.tensor([3.0, 0.0]), torch.tensor([3.0, 4.0]))
    assert found.cosine == pytest.approx(0.6)
    assert found.error == pytest.approx(0.8)


def test_a_claim_of_nothing_but_zeros_has_no_direction() -> None:
    found = closeness(torch.zeros(3), torch.ones(3))
    assert (found.cosine, found.error) == (0.0, 1.0)


def test_a_truth_of_zeros_tells_nothing() -> None:
    with pytest.raises(SettingError, match="all zeros"):
        closeness(torch.ones(3), torch.zeros(3))


def test_only_what_is_claimed_and_travels_counts() -> None:
    scales = UpdateScorer(torch.tensor([1.0, 2.0, 3.0, 9.0]), torch.ones(4), shared=3)
    claimed = UpdateEstimate("all", 1, 2, torch.tensor([1.0, 2.0, 0.0, 0.0]))
    some = torch.tensor([True, True, False, False])
    last = UpdateEstimate("some", 2, 2, torch.tensor([1.0, 2.0, 0.0, 0.0]), some, notes=("a note",))
    found = scales.score([claimed, last])
    assert found.best is not None
    assert (found.best.cosine, found.best.error) == (pytest.approx(1.0), 0.0)
    assert (found.claimed, found.params) == (2, 3)
    assert [one.error > 0 for one in found.course] == [True, False]
    assert found.baseline.error == pytest.approx(1 / 5**0.5)
    assert found.verdict == "recovered: only rounding is left, as far as it is claimed"
    assert found.lines()[-1] == "a note"


@pytest.mark.parametrize(
    ("error", "cosine", "noisy", "words"),
    [
        (9e-4, 1.0, True, "recovered"),
        (0.4, 0.9, False, "partly recovered: nearer than the mean"),
        (0.4, 0.9, True, "partly recovered: nearer than the mean; the noise"),
        (0.4, 0.3, False, "no better than the sum"),
        (0.49, 0.9, False, "no better than the sum"),
        (5.0, 0.0, True, "no better than the sum: the noise of client-level privacy covers"),
    ],
)
def test_the_verdict_follows_from_what_the_mean_gives(
    error: float, cosine: float, noisy: bool, words: str
) -> None:
    baseline = UpdateSimilarity(cosine=0.5, error=0.5)
    best = UpdateSimilarity(cosine=cosine, error=error)
    assert verdict(best, baseline, whole=True, noisy=noisy).startswith(words)


def test_without_a_claim_nothing_is_recovered() -> None:
    baseline = UpdateSimilarity(cosine=0.5, error=0.5)
    assert verdict(None, baseline, whole=True, noisy=False) == "nothing recovered"
