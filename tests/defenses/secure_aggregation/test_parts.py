"""Shares, ring and keys: enough shares join and fewer do not, no sum wraps, and pairs agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import chisquare

from defenses.secure_aggregation import Context, Ring
from defenses.secure_aggregation.keys import KeyPair, fresh_seed, seal, unseal
from defenses.secure_aggregation.masks import mask
from defenses.secure_aggregation.shamir import PRIME, join, split
from lab.common.settings import SettingError
from tests.support.masked_clients import (
    CHANCE,
    CONTEXT,
    OTHER,
    SEEDS,
    WORDS,
    looks_random,
    ring_sum,
)


def joined(points: Sequence[int], shares: np.ndarray) -> list[bytes] | None:
    """The secrets, or None where the shares give themselves away as too few."""
    try:
        return join(list(points), shares[[point - 1 for point in points]])
    except ValueError:
        return None


# --- shares, by hand ------------------------------------------------------------------------------


def test_two_points_of_a_line_give_its_value_at_zero() -> None:
    # 7 + 3 x at 1 and 2; 65535 + 5 x at 1 and 2, modulo 65537.
    shares = np.array([[[10, 3]], [[13, 8]]])
    assert join([1, 2], shares) == [np.array([7, 65535], "<u2").tobytes()]


def test_shares_whose_value_is_no_limb_are_refused() -> None:
    # 65536 + x is 0 at 1 and 1 at 2; a limb of 16 bits ends at 65535.
    with pytest.raises(ValueError, match="do not belong together"):
        join([1, 2], np.array([[[0]], [[1]]]))


# --- shares, promises -----------------------------------------------------------------------------


@given(
    secrets=st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=3), data=st.data()
)
def test_enough_shares_join_to_the_secrets_and_one_fewer_do_not(
    secrets: list[bytes], data: st.DataObject
) -> None:
    clients = data.draw(st.integers(2, 12), "clients")
    threshold = data.draw(st.integers(2, clients), "threshold")
    points = data.draw(st.permutations(range(1, clients + 1)), "points")
    shares = split(secrets, clients, threshold)
    for count in range(threshold, clients + 1):
        assert joined(points[:count], shares) == secrets
    assert joined(points[: threshold - 1], shares) != secrets


@pytest.mark.parametrize("secret", [b"\x00\x00", b"\xff\xff"])
def test_as_many_shares_as_do_not_suffice_say_nothing(secret: bytes) -> None:
    """Any two shares of threshold three are uniform together, whatever was shared."""
    shares = split([secret * WORDS], 5, 3)[:, 0] * 16 // PRIME  # (shares, limbs), 16 bins
    for one, other in ((0, 1), (1, 4), (3, 2)):
        pairs = np.bincount(shares[one] * 16 + shares[other], minlength=256)
        assert chisquare(pairs).pvalue > CHANCE


def test_single_shares_are_uniform_up_to_the_last_value() -> None:
    shares = split([bytes(2 * WORDS)], 4, 2)[:, 0]  # (shares, limbs)
    for share in shares:
        assert chisquare(np.bincount(share * 256 // PRIME, minlength=256)).pvalue > CHANCE
        assert chisquare(np.bincount(share % 256, minlength=256)).pvalue > CHANCE
    assert int(shares.min()) >= 0
    assert int(shares.max()) < PRIME


# --- ring, by hand --------------------------------------------------------------------------------


def test_words_are_fixed_point_numbers_and_the_last_is_the_weight() -> None:
    ring = Ring(clients=2, bound=1.0, heaviest=4.0)
    words = ring.encode(np.array([[1.0, 0.0], [-1.0, 0.5]]), np.array([4.0, 2.0]))
    full = (2**31 - 1) // 2
    assert words.tolist() == [[full, 0, 4], [2**32 - (full + 1) // 2, (full + 1) // 4, 2]]


def test_the_error_is_half_a_step_for_each_client() -> None:
    # 10 clients: a step is 8 / 214748364; at full weight the mean of ten halves is a half.
    assert Ring(10, 8.0, 1.0).error(10, 10.0) == pytest.approx(4 / 214748364)


@pytest.mark.parametrize(
    ("clients", "heaviest", "bits"), [(2**21, 1.0, 33), (1000, 1e7, 35), (3_000_000, 1.0, 33)]
)
def test_a_cohort_too_large_for_the_ring_is_refused_with_the_bits(
    clients: int, heaviest: float, bits: int
) -> None:
    with pytest.raises(SettingError, match=f"clients_per_round is {clients}.*{bits} bits.* 32"):
        Ring(clients, 8.0, heaviest)


def test_the_largest_cohort_that_fits_is_not_refused() -> None:
    assert Ring(2**21 - 1, 8.0, 1.0).levels == 2**10


# --- ring, promises -------------------------------------------------------------------------------


@given(
    seed=SEEDS,
    clients=st.integers(1, 40),
    heaviest=st.integers(1, 10**6),
    bound=st.floats(1e-6, 1e6),
)
def test_the_decoded_sum_is_the_weighted_mean_within_the_stated_error(
    seed: int, clients: int, heaviest: int, bound: float
) -> None:
    generator = np.random.default_rng(seed)
    rows = generator.uniform(-bound, bound, (clients, 20))
    weights = generator.integers(0, heaviest + 1, clients).astype(np.float64)
    assume(weights.sum() > 0)
    ring = Ring(clients, bound, float(heaviest))
    mean, total = ring.decode(ring_sum(ring.encode(rows, weights)))
    assert total == weights.sum()
    gap = np.abs(mean - weights @ rows / weights.sum()).max()
    assert gap <= ring.error(clients, total) + 1e-12 * bound


@pytest.mark.parametrize("clients", [1, 2, 3, 10, 999, 1000])
@pytest.mark.parametrize("heaviest", [1.0, 37.0, 60_000.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_whole_cohort_at_the_bound_does_not_wrap(
    clients: int, heaviest: float, sign: int
) -> None:
    ring = Ring(clients, 8.0, heaviest)
    rows, weights = np.full((clients, 3), 8.0 * sign), np.full(clients, heaviest)
    mean, total = ring.decode(ring_sum(ring.encode(rows, weights)))
    assert total == clients * heaviest
    assert np.abs(mean - 8.0 * sign).max() <= ring.error(clients, total)


@given(far=st.floats(8, 1e30))
def test_what_lies_beyond_the_bound_counts_as_the_bound(far: float) -> None:
    ring, weights = Ring(3, 8.0, 5.0), np.full(3, 5.0)
    beyond, at = np.array([[far], [-far], [far]]), np.array([[8.0], [-8.0], [8.0]])
    assert np.array_equal(ring.encode(beyond, weights), ring.encode(at, weights))


# --- keys and masks -------------------------------------------------------------------------------


def test_a_mask_is_aes_256_in_counter_mode() -> None:
    """The key of zeros, counter zero: a published test vector of AES-256."""
    first = "dc95c078a2408989ad48a21492842087"
    assert mask(bytes(32), 4).tobytes().hex() == first


def test_both_ends_of_a_pair_agree_and_nobody_else_does() -> None:
    one, other, third = KeyPair.fresh(), KeyPair.fresh(), KeyPair.fresh()
    purpose = CONTEXT.masks
    key = one.agree(other.public, purpose)
    assert key == other.agree(one.public, purpose)
    assert key == KeyPair.of(one.secret).agree(other.public, purpose)
    assert key != third.agree(one.public, purpose)


@pytest.mark.parametrize(
    "purpose",
    [
        Context(b"round 2", b"model A").masks,
        OTHER.masks,
        Context(b"round 1").masks,
        CONTEXT.letters,
    ],
)
def test_another_context_or_purpose_gives_an_unrelated_mask(purpose: bytes) -> None:
    one, other = KeyPair.fresh(), KeyPair.fresh()
    here = mask(one.agree(other.public, CONTEXT.masks), WORDS)
    there = mask(one.agree(other.public, purpose), WORDS)
    assert looks_random(here - there)
    assert looks_random(here ^ there)


def test_the_mask_of_a_key_is_always_the_same() -> None:
    key = fresh_seed()
    assert np.array_equal(mask(key, 100), mask(key, 1000)[:100])


@given(letter=st.binary(min_size=1, max_size=80), address=st.binary(max_size=20))
def test_a_letter_opens_only_untouched_with_its_key_and_address(
    letter: bytes, address: bytes
) -> None:
    key = fresh_seed()
    sealed = seal(key, letter, address)
    assert unseal(key, sealed, address) == letter
    for place in (0, 12, len(sealed) - 1):
        touched = bytearray(sealed)
        touched[place] ^= 1
        with pytest.raises(InvalidTag):
            unseal(key, bytes(touched), address)
    with pytest.raises(InvalidTag):
        unseal(key, sealed, address + b"!")
    with pytest.raises(InvalidTag):
        unseal(fresh_seed(), sealed, address)


def test_the_same_letter_never_looks_the_same_twice() -> None:
    key = fresh_seed()
    assert seal(key, b"the same", b"") != seal(key, b"the same", b"")
