"""Rules: coordinates, choices and distances that are worked out by hand."""

from __future__ import annotations

import pytest
import torch

from defenses import AGGREGATION_RULES
from defenses.shared.distances import gaps
from lab.common.settings import SettingError
from tests.support.aggregation_rules import KRUM, but, column, kept, rows_of, rule, step

# --- by hand: coordinates -------------------------------------------------------------------------


def test_mean_weighs_clients_by_their_examples() -> None:
    rows = torch.tensor([[0.0, 4.0], [4.0, 0.0]])
    assert step("mean", rows, torch.tensor([3.0, 1.0])).tolist() == [1.0, 3.0]


def test_mean_of_clients_without_examples_is_no_step() -> None:
    for name in ("mean", "geometric-median"):
        assert step(name, torch.ones(2, 3), torch.zeros(2)).tolist() == [0.0, 0.0, 0.0]


def test_a_mean_without_weights_ignores_what_clients_report() -> None:
    rows = torch.tensor([[0.0, 4.0], [4.0, 0.0]])
    assert step("mean", rows, torch.tensor([3.0, 1.0]), weighted=False).tolist() == [2.0, 2.0]


def test_a_cap_counts_nobody_for_more_than_so_many_medians() -> None:
    # Reported 10, 20, 30, 1000: the median is 25, so that twice that, 50, is the most.
    reported = torch.tensor([10.0, 20.0, 30.0, 1000.0])
    rows = torch.eye(4)
    capped = step("mean", rows, reported, cap=2)
    assert torch.allclose(capped, torch.tensor([10.0, 20.0, 30.0, 50.0]) / 110)
    assert torch.equal(step("mean", rows, reported, cap=100), step("mean", rows, reported))


def test_clients_without_examples_do_not_lower_the_cap() -> None:
    reported = torch.tensor([0.0, 0.0, 0.0, 10.0, 90.0])  # the median of those who hold any is 50
    assert torch.allclose(
        step("mean", torch.eye(5), reported, cap=1),
        torch.tensor([0.0, 0.0, 0.0, 10.0, 50.0]) / 60,
    )


def test_only_a_plain_mean_does_without_single_rows() -> None:
    means = [rule("mean"), rule("mean", cap=3), rule("mean", weighted=False)]
    assert [mean.needs_rows for mean in means] == [False, True, True]
    assert all(AGGREGATION_RULES[name]().needs_rows for name in but("mean"))


def test_median_of_an_even_number_averages_the_two_middles() -> None:
    assert step("median", column(1, 9, 2, 4)).item() == 3.0


def test_trimmed_mean_drops_the_extremes_of_each_coordinate() -> None:
    rows = torch.tensor([[0.0, 9.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [100.0, -50.0]])
    assert step("trimmed-mean", rows, faulty=1).tolist() == [2.0, 2.0]


def test_the_mean_around_the_median_drops_what_is_farthest_from_it() -> None:
    # Medians 1.5 and -2: 10 is 8.5 away and 7 is 9 away.  A trimmed mean would drop both ends.
    rows = torch.tensor([[0.0, 7.0], [1.0, -2.0], [2.0, -2.0], [10.0, -5.0]])
    assert step("meamed", rows, faulty=1).tolist() == [1.0, -3.0]


def test_of_two_values_equally_near_to_the_median_the_lower_counts() -> None:
    assert step("meamed", column(0, 1, 2), faulty=1).item() == 0.5


@pytest.mark.parametrize("name", ["trimmed-mean", "meamed", "mda", "multi-krum", "bulyan"])
def test_a_rule_that_expects_nobody_malicious_is_the_mean(name: str) -> None:
    rows = rows_of(0)
    assert torch.allclose(step(name, rows, faulty=0), rows.mean(dim=0), atol=1e-6)


# --- by hand: choices -----------------------------------------------------------------------------


def test_krum_picks_the_point_with_the_nearest_neighbours() -> None:
    assert step("krum", KRUM, faulty=1).item() == 0.25
    assert kept(rule("krum", faulty=1), KRUM) == [2]


def test_multi_krum_averages_the_best_scores() -> None:
    assert step("multi-krum", KRUM, faulty=1).item() == pytest.approx(0.65 / 4)
    assert step("multi-krum", KRUM, faulty=1, chosen=2).item() == pytest.approx(0.35 / 2)
    assert kept(rule("multi-krum", faulty=1, chosen=2), KRUM) == [1, 2]
    assert torch.equal(step("multi-krum", KRUM, chosen=1), step("krum", KRUM))


def test_one_more_neighbour_picks_another_point() -> None:
    # Scores of two others 5, 2, 5, 5, 10; of three 21, 11, 9, 14, 26.
    rows = column(0, 1, 2, 4, 5)
    assert step("krum", rows, faulty=1).item() == 1
    assert step("krum", rows, faulty=1, neighbours="one-more").item() == 2
    assert step("multi-krum", rows, chosen=1, neighbours="one-more").item() == 2


def test_two_that_are_each_others_nearest_are_told_apart_by_the_next() -> None:
    # One neighbour: 2 and 3 have the same score, 1; the next is 4 away from 2 and 9 from 3.
    assert step("krum", column(0, 3, 2), faulty=0).item() == 2
    assert step("krum", column(2, 3, 0), faulty=0).item() == 2


def test_bulyan_asks_krum_again_for_every_pick() -> None:
    """Scores (n = 7, f = 1) of who is left; every pick changes those of the others.

    0, 1, 2, 5, 8, 10, 12, four others: 94, 67, 50, 59, 65, 97, 169: 2
    0, 1, 5, 8, 10, 12, three others: 90, 66, 50, 29, 33, 69: 8
    0, 1, 5, 10, 12, two others: 26, 17, 41, 29, 53: 1
    0, 5, 10, 12, one other: 25, 25, 4, 4, and then 25 before 49: 10
    0, 5, 12, one other: 25, 25, 49, and then 49 before 144: 5
    Of 1, 2, 5, 8, 10 the three nearest to 5 are 2, 5, 8.  The best five scores of the first line
    would have been those of 0, 1, 2, 5, 8, whose three nearest to 2 are 0, 1, 2.
    """
    rows = column(0, 1, 2, 5, 8, 10, 12)
    assert kept(rule("bulyan", faulty=1), rows) == [1, 2, 3, 4, 5]
    assert step("bulyan", rows, faulty=1).item() == 5


def test_the_least_diameter_leaves_the_farthest_out() -> None:
    # Without 9 the diameter is 4; without any other it is 8 or 9.
    assert kept(rule("mda", faulty=1), column(0, 9, 1, 4)) == [0, 2, 3]


def test_of_equal_diameters_the_next_longest_distance_decides() -> None:
    # The first two are 1 apart; with them go the third, .94 away, or the fourth, .86 away.
    rows = torch.tensor([[-0.5, 0.0], [0.5, 0.0], [0.0, 0.8], [0.0, -0.7]])
    assert kept(rule("mda", faulty=1), rows) == [0, 1, 3]


@pytest.mark.parametrize(
    ("name", "faulty", "clients", "message"),
    [
        ("krum", 4, 10, "krum needs 2 faulty \\+ 3; give 3 at most"),
        ("krum", 1, 2, "ask 3 or more"),
        ("multi-krum", 4, 10, "give 3 at most"),
        ("bulyan", 2, 10, "bulyan needs 4 faulty \\+ 3; give 1 at most"),
        ("trimmed-mean", 5, 10, "give 4 at most"),
        ("meamed", 5, 10, "give 4 at most"),
        ("mda", 5, 10, "mda needs 2 faulty \\+ 1; give 4 at most"),
    ],
)
def test_the_refusal_says_how_many_would_do(
    name: str, faulty: int, clients: int, message: str
) -> None:
    told = (
        f"aggregation.rule.faulty is {faulty}, too many for {clients} clients a round: .*{message}"
    )
    with pytest.raises(SettingError, match=told):
        rule(name, faulty=faulty).check(clients)


def test_multi_krum_averages_no_more_than_are_honest() -> None:
    part = rule("multi-krum", faulty=2, chosen=9)
    with pytest.raises(
        SettingError, match=r"aggregation.rule.chosen is 9, .* leave 8: give 8 at most"
    ):
        part.check(10)
    part.check(11)
    assert part.fewest() == 11


# --- distances ------------------------------------------------------------------------------------


def test_gaps_are_squared_distances() -> None:
    rows = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    expected = torch.tensor([[0, 25, 1], [25, 0, 18], [1, 18, 0]]).double()
    assert torch.allclose(gaps(rows), expected, rtol=1e-15, atol=0)
    assert gaps(rows_of(0, 1)).tolist() == [[0]]


def test_gaps_of_close_rows_do_not_cancel_and_a_wild_one_does_not_blur_them() -> None:
    """Norm expansion in float32 loses all digits here, in a well-known library."""
    rows = 1e-3 * rows_of(3, 9, 3000) + 16.0
    rows[8], rows[7] = 1e30, rows[6]
    exact = (rows.double().unsqueeze(1) - rows.double()).square().sum(dim=2)
    assert torch.allclose(gaps(rows), exact, rtol=1e-12, atol=0)
    assert gaps(rows)[6, 7] == 0
