"""Who is leaked most: by hand, by brute force, and by repeating the draw."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm, spearmanr

from lab.interfaces.attack_data import Candidates
from lab.scoring.membership.leakage_by_group import (
    ENDS,
    LISTED,
    LeakageByGroup,
    broken_down,
    oddity,
)
from lab.scoring.membership.same_label_score import stratified

Case = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def case(seed: int, sizes: tuple[int, ...], others: int, gains: tuple[float, ...]) -> Case:
    """Clients of those sizes, whose scores lie higher by those gains; three labels."""
    generator = np.random.default_rng(seed)
    owner = np.r_[np.repeat(np.arange(len(sizes)), sizes), np.full(others, -1)]
    labels = generator.integers(0, 3, len(owner))
    gain = np.r_[np.repeat(gains, sizes), np.zeros(others)]
    return generator.normal(size=len(owner)) + gain + labels, owner >= 0, labels, owner


def test_each_group_is_compared_with_others_of_the_same_label() -> None:
    scores, member, labels, owner = case(0, (30, 50), 90, (0.5, 0.0))
    found = broken_down(scores, member, labels, owner)

    def share(place: int) -> float:
        rivals = scores[~member & (labels == labels[place])]
        return float(np.mean((scores[place] > rivals) + (scores[place] == rivals) / 2))

    for groups, numbers in ((found.classes, labels), (found.clients, owner)):
        for each in groups:
            mine = np.flatnonzero(member & (numbers == each.number))
            assert each.members == len(mine)
            theirs = ~member & np.isin(labels, labels[mine])
            assert each.others == theirs.sum()
            if min(len(mine), int(theirs.sum())) >= 20:
                assert each.auc == pytest.approx(np.mean([share(place) for place in mine]))
                assert each.low is not None
                assert each.high is not None
                assert each.low < each.auc < each.high
    assert found.most[0].beats == share(found.most[0].place)


def test_groups_average_to_membership_given_the_label() -> None:
    scores, member, labels, owner = case(1, (40, 60, 25), 200, (0.5, 0.0, 1.0))
    found, whole = broken_down(scores, member, labels, owner), stratified(scores, member, labels)
    for groups in (found.classes, found.clients):
        areas = [each.auc for each in groups]
        assert np.average(areas, weights=[each.members for each in groups]) == pytest.approx(
            whole.given
        )


def test_few_members_or_few_others_are_too_few_to_say() -> None:
    scores, member, labels, owner = case(2, (19, 60), 120, (0.0, 0.0))
    few, enough = broken_down(scores, member, labels, owner).clients
    assert (few.auc, few.low, few.high, few.apart) == (None, None, None, False)
    assert few.told("client 0") == "client 0: too few to say (19 members, 120 others)"
    assert enough.auc is not None
    lonely = np.where(member & (owner == 1), 7, labels)  # a label that no other has
    assert broken_down(scores, member, lonely, owner).clients[1].auc is None


def test_skew_is_how_far_labels_are_from_those_of_all_members() -> None:
    member, owner = np.arange(60) < 40, np.r_[np.repeat([0, 1], 20), np.full(20, -1)]
    labels = np.r_[np.repeat(0, 20), np.repeat(1, 20), np.arange(20) % 2]
    found = broken_down(np.arange(60.0), member, labels, owner)
    assert [each.skew for each in found.clients] == [0.5, 0.5]


def test_the_ends_are_the_highest_and_lowest_members() -> None:
    scores, member, labels, owner = case(3, (30, 30), 60, (0.0, 0.0))
    found = broken_down(scores, member, labels, owner)
    ranked = sorted(scores[member], reverse=True)
    assert [each.score for each in found.most] == ranked[:ENDS]
    assert [each.score for each in found.least] == ranked[::-1][:ENDS]
    for each in (*found.most, *found.least):
        assert (each.score, each.label) == (scores[each.place], labels[each.place])
        assert each.owner == owner[each.place] >= 0


@pytest.mark.parametrize("seeds", [5, pytest.param(12, marks=pytest.mark.deep)])
def test_an_exposed_client_is_named_and_a_like_one_hardly_ever(seeds: int) -> None:
    """By chance, once in 20 draws."""
    named = 0
    for seed in range(seeds):
        alike = broken_down(*case(seed, (40,) * 5, 150, (0.3,) * 5))
        named += any(each.apart for each in alike.clients)
        exposed = broken_down(*case(seed, (40,) * 5, 150, (2.5, 0.3, 0.3, 0.3, 0.3)))
        assert exposed.clients[0].apart
        assert "most exposed is client 0" in " ".join(exposed.lines())
    assert named <= seeds / 4


@pytest.mark.parametrize("seeds", [12, pytest.param(60, marks=pytest.mark.deep)])
def test_the_interval_of_a_group_covers_the_truth_nearly_always(seeds: int) -> None:
    true, covered = norm.cdf(0.8 / 2**0.5), 0
    for seed in range(seeds):
        each = broken_down(*case(seed, (40, 60), 150, (0.8, 0.0))).clients[0]
        assert each.low is not None
        assert each.high is not None
        covered += each.low <= true <= each.high
    assert covered >= 0.85 * seeds  # of a true 95 %, fewer than 51 of 60 happen once in 1,000


def test_trends_are_spearmans_and_say_what_they_show() -> None:
    sizes, gains = tuple(range(30, 150, 12)), tuple(np.linspace(2, 0, 10))
    scores, member, labels, owner = case(4, sizes, 300, gains)
    odd = np.random.default_rng(0).random(len(scores))
    found = broken_down(scores, member, labels, owner, odd)
    outliers, _, sizes_told = found.trends
    areas = [each.auc for each in found.clients]
    assert sizes_told.rank == pytest.approx(spearmanr(sizes, areas).statistic)
    assert sizes_told.sentence().startswith("clients with more examples are exposed less")
    assert "not shown that outliers of their class" in outliers.sentence()


def test_oddity_ranks_distances_within_a_class() -> None:
    inputs = torch.tensor([[0.0], [1.0], [5.0], [100.0], [100.0]])
    odd = oddity(Candidates(inputs, torch.tensor([0, 0, 0, 1, 1])))
    # The mean of class 0 is 2, so 1 is nearest and 5 farthest; those of class 1 are equally odd.
    assert odd.tolist() == [0.5, 0.0, 1.0, 0.5, 0.5]


def test_of_many_clients_the_largest_are_kept() -> None:
    sizes = (*([1] * LISTED), 30, 40)
    found = broken_down(*case(5, sizes, 60, (0.0,) * len(sizes)))
    assert len(found.clients) == LISTED
    assert {LISTED, LISTED + 1} <= {each.number for each in found.clients}


def test_it_is_read_back_from_json_as_it_was() -> None:
    found = broken_down(*case(6, (30, 10), 60, (1.0, 0.0)))
    assert LeakageByGroup.read(found.dump()) == found
