"""The weak generator of masks, against NumPy."""

from __future__ import annotations

import numpy as np

from attacks.secure_aggregation.shared.mersenne_twister import output, pools
from attacks.secure_aggregation.weak_masks import bared, weak_words
from lab.attack_runs.secure_aggregation.malicious_server import malicious_server
from lab.interfaces.attack_data import StagedRound
from tests.attacks.secure_aggregation.test_unmasking import TARGET, WEAK, played


def test_seeds_side_by_side_give_the_words_that_numpy_gives() -> None:
    seeds = np.array([0, 1, 77, 2**31, 2**32 - 1], np.uint32)
    pool = [np.broadcast_to(words, seeds.shape) for words in pools(seeds)]
    for place in (0, 1, 2, 100, 227):
        wanted = [np.random.MT19937(int(seed)).random_raw(228)[place] for seed in seeds]
        assert output(list(pool), place).tolist() == wanted


def test_no_more_than_the_masks_that_are_known_come_off() -> None:
    siege = malicious_server(*played(**WEAK), TARGET)
    others = [one for one in siege.clients if one != TARGET]
    plot = StagedRound(clients=siege.clients, accomplices=tuple(others[1:]), hint=31)
    view = siege.play(plot)
    row, left = bared(view, TARGET)
    assert left == others[0]
    assert view.opened is not None
    pair = min(TARGET, left), max(TARGET, left)
    most, hint = view.opened.most, view.opened.hints[pair]
    tries = [weak_words(seed, len(row)) for seed in (hint, hint + 2**31)]
    bare = [row - words if left > TARGET else row + words for words in tries]
    fits = [bool((np.abs(words[:-1].view(np.int32)) <= most).all()) for words in bare]
    assert sorted(fits) == [False, True]
