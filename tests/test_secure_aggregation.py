"""Secure aggregation: shares, ring, masks, the exchange, and what the server sees in a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields

import numpy as np
import pytest
import torch
from cryptography.exceptions import InvalidTag
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from defenses.secure_aggregation import Client, Masked, Refused, Ring, aggregate
from defenses.secure_aggregation.keys import KeyPair, fresh_seed, mask, seal, unseal
from defenses.secure_aggregation.protocol import mask_purpose
from defenses.secure_aggregation.shamir import PRIME, join, split
from lab import Experiment, run
from lab.assembly import assemble
from lab.engine import Moment, Stopped
from lab.settings import SettingError
from lab.views import ServerView, server_view
from lab.wire import Cohort, Delivery

SEEDS = st.integers(0, 10**6)
CHANCE = 1e-7  # keys are truly random here, so a test of randomness fails once in ten million
WORDS = 40_000
CONTEXT = b"round 1, model A"
FLOAT32 = 2**-23  # relative spacing of float32


# --- what the tests share -------------------------------------------------------------------------


def words_of(seed: int, clients: int, words: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**32, (clients, words), dtype=np.uint32)


def ring_sum(words: np.ndarray) -> np.ndarray:
    return words.sum(axis=0, dtype=np.uint32)


def looks_random(words: np.ndarray) -> bool:
    """Whether each of the four bytes of the words passes a chi-square test of uniformity."""
    columns = words.astype("<u4").view(np.uint8).reshape(-1, 4).T
    counts = [np.bincount(column, minlength=256) for column in columns]
    return min(chisquare(count).pvalue for count in counts) > CHANCE


def joined(points: Sequence[int], shares: np.ndarray) -> list[bytes] | None:
    """The secrets, or None where the shares give themselves away as too few."""
    try:
        return join(list(points), shares[[point - 1 for point in points]])
    except ValueError:
        return None


def introduced(
    contexts: Sequence[bytes], threshold: int
) -> tuple[list[Client], dict[int, dict[int, bytes]]]:
    """Clients who know each other's public keys, and for each one the letters it received."""
    clients = [Client(me, context) for me, context in enumerate(contexts)]
    book = {client.me: client.advertise() for client in clients}
    letters = {client.me: client.share(book, threshold) for client in clients}
    return clients, {me: {sender: letters[sender][me] for sender in book} for me in book}


def cohort_of(weights: Sequence[float], lost: Sequence[int] = ()) -> Cohort:
    """Clients 10, 11... of which those at the places `lost` are not heard of again."""
    count = len(weights)
    return Cohort(
        seed=0,
        round=1,
        clients=tuple(range(10, 10 + count)),
        weights=torch.tensor(weights),
        malicious=torch.zeros(count, dtype=torch.bool),
        lost=torch.tensor([place in lost for place in range(count)], dtype=torch.bool),
        expected=float(count),
    )


def rows_of(seed: int, clients: int, params: int = 50) -> Tensor:
    return torch.randn(clients, params, generator=torch.Generator().manual_seed(seed))


def delivered(
    rows: Tensor, weights: Sequence[float], lost: Sequence[int] = (), **settings: float
) -> Delivery:
    channel = Masked(**({"heaviest": max(weights)} | settings))
    return channel(rows, cohort_of(weights, lost), torch.zeros(rows.shape[1]))


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
    purpose = mask_purpose(CONTEXT)
    key = one.agree(other.public, purpose)
    assert key == other.agree(one.public, purpose)
    assert key == KeyPair.of(one.secret).agree(other.public, purpose)
    assert key != third.agree(one.public, purpose)


@pytest.mark.parametrize(
    "purpose", [mask_purpose(b"round 2, model A"), mask_purpose(b""), b"letter|" + CONTEXT]
)
def test_another_context_or_purpose_gives_an_unrelated_mask(purpose: bytes) -> None:
    one, other = KeyPair.fresh(), KeyPair.fresh()
    here = mask(one.agree(other.public, mask_purpose(CONTEXT)), WORDS)
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


# --- masked rows ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 1, 2**31, 2**32 - 1])
def test_a_masked_row_cannot_be_told_from_random_words(value: int) -> None:
    row = np.full(WORDS, value, np.uint32)
    clients, _ = introduced([CONTEXT] * 3, 2)
    assert not looks_random(row)
    for client in clients:
        assert looks_random(client.masked(row))


def test_a_row_declared_lost_that_arrives_late_is_still_masked() -> None:
    """The point of the second mask: the server then knows all pair masks of that client."""
    clients, _ = introduced([CONTEXT] * 4, 3)
    late = clients[2].masked(np.zeros(WORDS, np.uint32))
    for peer in (0, 1, 3):
        pair = mask(clients[peer]._mask_key(2), WORDS)
        late = late + pair if peer < 2 else late - pair
    assert np.array_equal(late, mask(clients[2]._seed, WORDS))
    assert looks_random(late)


def test_all_others_but_one_and_the_server_together_do_not_see_a_row() -> None:
    clients, _ = introduced([CONTEXT] * 5, 3)
    seen = clients[0].masked(np.zeros(WORDS, np.uint32)) - mask(clients[0]._seed, WORDS)
    for colluder in (2, 3, 4):
        seen = seen - mask(clients[colluder]._mask_key(0), WORDS)
    assert looks_random(seen)


@pytest.mark.parametrize(("contexts", "cancels"), [("AAAA", True), ("BAAA", False)])
def test_clients_who_were_sent_different_models_do_not_cancel(contexts: str, cancels: bool) -> None:
    """Although here the server knows every seed, what it is left with is noise."""
    clients, _ = introduced([CONTEXT + letter.encode() for letter in contexts], 3)
    row = np.full(WORDS, 7, np.uint32)
    total = ring_sum(np.stack([client.masked(row) for client in clients]))
    for client in clients:
        total -= mask(client._seed, WORDS)
    assert np.array_equal(total, 4 * row) == cancels
    assert looks_random(total) != cancels


# --- what a client refuses ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alive", "dead"),
    [
        pytest.param([0, 1, 2, 3], [3, 4], id="one peer is listed alive and dead"),
        pytest.param([0, 1, 2, 3, 4], [0, 1, 2, 3, 4], id="all are listed alive and dead"),
        pytest.param([0, 1], [2, 3, 4], id="fewer than the threshold are alive"),
        pytest.param([], [0, 1, 2, 3, 4], id="nobody is alive"),
        pytest.param([1, 1, 1, 1], [], id="one peer is listed often enough for all"),
        pytest.param([0, 2, 3, 4], [1], id="the client itself is listed dead"),
        pytest.param([0, 1, 2, 9], [], id="a stranger is listed"),
    ],
)
def test_a_client_refuses_an_unsafe_request(alive: list[int], dead: list[int]) -> None:
    clients, inboxes = introduced([CONTEXT] * 5, 3)
    with pytest.raises(Refused, match="client 1 refuses"):
        clients[1].reveal(inboxes[1], alive, dead)


@pytest.mark.parametrize("threshold", [0, 1])
def test_a_client_refuses_to_share_so_that_one_share_is_enough(threshold: int) -> None:
    client = Client(0, CONTEXT)
    with pytest.raises(Refused, match=f"with threshold {threshold}"):
        client.share({0: client.advertise(), 1: Client(1, CONTEXT).advertise()}, threshold)


def test_a_client_answers_once() -> None:
    clients, inboxes = introduced([CONTEXT] * 4, 3)
    clients[1].reveal(inboxes[1], [0, 1, 2], [3])
    with pytest.raises(Refused, match="client 1 refuses"):
        clients[1].reveal(inboxes[1], [0, 1, 3], [2])


def test_a_client_gives_seed_shares_of_the_living_and_key_shares_of_the_dead() -> None:
    clients, inboxes = introduced([CONTEXT] * 4, 3)
    answers = {me: clients[me].reveal(inboxes[me], [0, 1, 2], [3]) for me in (0, 1, 2)}
    for peer in range(4):
        shares = np.stack([[answers[me][peer]] for me in (0, 1, 2)]).astype(np.int64)
        secret = clients[3]._masks.secret if peer == 3 else clients[peer]._seed
        assert join([1, 2, 3], shares) == [secret]


Inboxes = dict[int, dict[int, bytes]]


def _touch(boxes: Inboxes) -> bytes:
    return boxes[1][0][:-1] + bytes([boxes[1][0][-1] ^ 1])


def _cut(boxes: Inboxes) -> bytes:
    return boxes[1][0][:-8]


def _swap(boxes: Inboxes) -> bytes:
    return boxes[1][2]


def _misdirect(boxes: Inboxes) -> bytes:
    return boxes[2][0]


def _reflect(boxes: Inboxes) -> bytes:
    """What client 1 wrote to client 0; both directions share one key."""
    return boxes[0][1]


def _replay(boxes: Inboxes) -> bytes:
    """What client 0 wrote in an earlier exchange."""
    return introduced([CONTEXT] * 3, 2)[1][1][0]


@pytest.mark.parametrize("tamper", [_touch, _cut, _swap, _misdirect, _reflect, _replay])
def test_a_letter_that_was_tampered_with_is_refused(tamper: Callable[[Inboxes], bytes]) -> None:
    clients, inboxes = introduced([CONTEXT] * 3, 2)
    inboxes[1][0] = tamper(inboxes)
    with pytest.raises(InvalidTag):
        clients[1].reveal(inboxes[1], [0, 1, 2], [])


def test_a_letter_under_another_model_is_refused() -> None:
    clients, inboxes = introduced([CONTEXT, CONTEXT, b"round 1, model B"], 2)
    with pytest.raises(InvalidTag):
        clients[0].reveal(inboxes[0], [0, 1, 2], [])


# --- the exchange ---------------------------------------------------------------------------------


@given(seed=SEEDS, data=st.data())
def test_the_sum_of_those_who_answered_is_exact(seed: int, data: st.DataObject) -> None:
    clients = data.draw(st.integers(2, 8), "clients")
    threshold = data.draw(st.integers(2, clients), "threshold")
    gone = data.draw(st.integers(0, clients - threshold), "gone")
    lost = data.draw(st.permutations(range(clients)), "order")[:gone]
    words = words_of(seed, clients)
    exchange = aggregate(words, lost, threshold, CONTEXT)
    alive = [me for me in range(clients) if me not in lost]
    assert np.array_equal(exchange.total, ring_sum(words[alive]))
    assert exchange.masked.shape == words[alive].shape


@pytest.mark.parametrize("gone", [3, 4, 5])
def test_below_the_threshold_nothing_is_unmasked(gone: int) -> None:
    """Keys, letters and masked rows have travelled by then, and are counted."""
    words = words_of(0, 5, 100)
    exchange = aggregate(words, range(gone), 3, CONTEXT)
    assert exchange.total is None
    assert exchange.masked.shape == (5 - gone, words.shape[1])
    complete = (
        aggregate(words, range(gone - 1), 3 if gone == 3 else 2, CONTEXT) if gone < 5 else None
    )
    assert exchange.bytes_up > 5 * 64 + 25 * 156 - 1 + exchange.masked.nbytes
    assert complete is None or exchange.bytes_up < complete.bytes_up


def test_two_clients_alone_are_summed_and_one_of_two_is_not() -> None:
    words = words_of(1, 2)
    assert np.array_equal(aggregate(words, [], 2, CONTEXT).total, ring_sum(words))
    assert aggregate(words, [0], 2, CONTEXT).total is None


def test_the_server_sees_other_words_each_time_and_the_same_sum() -> None:
    words = words_of(2, 4, 1000)
    one, other = (aggregate(words, [3], 3, CONTEXT) for _ in range(2))
    assert np.array_equal(one.total, other.total)
    assert (one.masked != other.masked).mean() > 0.99


def test_the_words_handed_in_are_left_as_they_were() -> None:
    words = words_of(3, 4)
    before = words.copy()
    aggregate(words, [1], 3, CONTEXT)
    assert np.array_equal(words, before)


def test_bytes_are_counted_message_by_message() -> None:
    """Three clients, one lost: keys, letters, masked words and shares, added up on paper."""
    exchange = aggregate(words_of(4, 3, 100), [1], 2, CONTEXT)
    keys, letter, share = 64, 12 + 2 * 64 + 16, 64  # a limb of 16 bits travels in 4 bytes
    assert exchange.bytes_up == 3 * keys + 9 * letter + 2 * 400 + 2 * 3 * share
    assert exchange.bytes_down == 9 * keys + 9 * letter


# --- the channel ----------------------------------------------------------------------------------


@given(seed=SEEDS, data=st.data())
def test_the_one_row_is_the_weighted_mean_within_the_stated_error(
    seed: int, data: st.DataObject
) -> None:
    clients = data.draw(st.integers(3, 7), "clients")
    weights = data.draw(st.lists(st.integers(1, 500), min_size=clients, max_size=clients))
    needed = max(3, -(-67 * clients // 100))
    lost = list(range(data.draw(st.integers(0, clients - needed), "gone")))
    rows = rows_of(seed, clients)
    delivery = delivered(rows, [float(weight) for weight in weights], lost)

    here = torch.tensor([place not in lost for place in range(clients)])
    shares = torch.tensor(weights, dtype=torch.float64)[here]
    mean = shares @ rows[here].double() / shares.sum()
    stated = Ring(clients, 8.0, float(max(weights))).error(int(here.sum()), float(shares.sum()))
    gap = (delivery.rows[0].double() - mean).abs()
    assert delivery.rows.shape == (1, rows.shape[1])
    assert delivery.rows.dtype == torch.float32
    assert (gap <= stated + FLOAT32 * mean.abs()).all()
    assert delivery.weights.tolist() == [float(shares.sum())]
    assert delivery.arrived.tolist() == here.tolist()
    assert delivery.senders == (tuple(10 + place for place in range(clients) if here[place]),)
    assert delivery.note == ""


def test_bytes_grow_with_the_model_by_four_a_word_a_client() -> None:
    small, large = (delivered(torch.zeros(5, size), [1.0] * 5, [0]) for size in (10, 1010))
    assert large.bytes_up >= 4 * 4 * 1011
    assert large.bytes_up - small.bytes_up == 4 * 4 * 1000  # of those who arrived
    assert large.bytes_down - small.bytes_down == 5 * 4 * 1000  # the model, to each one asked
    assert small.bytes_down > 5 * 40


def test_coordinates_beyond_the_bound_are_clipped_and_reported() -> None:
    rows = torch.tensor([[9.0, -20.0, 1.0], [8.0, 1.0, 100.0], [1.0, 1.0, 1.0]])
    delivery = delivered(rows, [1.0, 1.0, 1.0])
    assert delivery.note == "3 coordinates were clipped to 8 before masking"
    assert torch.allclose(delivery.rows[0], torch.tensor([17 / 3, -2.0, 10 / 3]), atol=1e-6)


def test_what_a_lost_client_would_have_clipped_is_not_reported() -> None:
    rows = torch.ones(4, 3)
    rows[2] = 99.0
    assert delivered(rows, [1.0] * 4, [2]).note == ""


def test_an_aborted_round_delivers_nothing_but_a_note() -> None:
    delivery = delivered(rows_of(0, 5), [1.0] * 5, [0, 1])
    assert delivery.note == ("secure aggregation aborted: 3 of 5 clients answered and 4 are needed")
    assert delivery.rows.shape == (0, 50)
    assert delivery.weights.shape == (0,)
    assert delivery.senders == ()
    assert not delivery.arrived.any()
    assert delivery.aborted
    assert delivery.masked is not None  # it saw them, and they tell it nothing
    assert len(delivery.masked) == 3
    assert delivery.bytes_down > 5 * 4 * 50


@pytest.mark.parametrize(("clients", "lost"), [(0, []), (1, []), (2, []), (2, [1]), (3, [1])])
def test_no_two_are_ever_summed_alone(clients: int, lost: list[int]) -> None:
    channel = Masked(threshold=0.51)
    delivery = channel(rows_of(0, clients), cohort_of([1.0] * clients, lost), torch.zeros(50))
    assert "aborted" in delivery.note
    assert len(delivery.rows) == 0


def test_a_cohort_without_any_example_delivers_no_step() -> None:
    delivery = delivered(rows_of(0, 3), [0.0, 0.0, 0.0], heaviest=5.0)
    assert delivery.weights.tolist() == [0.0]
    assert not delivery.rows.any()


# --- a whole run ----------------------------------------------------------------------------------

SMALL = Experiment().changed(
    {
        "seed": 6,  # loses nobody in round 1, two in round 2, one in round 3
        "data.source": "digits",
        "data.clients": 6,
        "data.examples": 300,
        "data.split": {"kind": "dirichlet", "alpha": 1.0},
        "model.kind": "logistic",
        "training.rounds": 3,
        "network.dropout": 0.25,
        "secure_aggregation.enabled": True,
        "secure_aggregation.threshold": 0.51,
    }
)


def moments(experiment: Experiment, **settings: object) -> list[Moment]:
    changes = {name.replace("__", "."): value for name, value in settings.items()}
    return list(run(experiment.changed(changes)))


def test_the_same_experiment_gives_the_same_records_although_keys_are_random() -> None:
    one, other = moments(SMALL), moments(SMALL)
    assert [moment.record for moment in one] == [moment.record for moment in other]
    assert torch.equal(one[-1].state.model, other[-1].state.model)
    masks = [moment.transcript.delivery.masked for moment in (one[0], other[0])]
    assert masks[0] is not None
    assert masks[1] is not None
    assert not np.array_equal(*masks)


def test_masks_change_what_the_server_sees_and_not_what_is_learnt() -> None:
    """Some are lost on the way, so the masks of the lost are really taken off."""
    hidden, bare = moments(SMALL), moments(SMALL, secure_aggregation__enabled=False)
    assert any(moment.record.lost for moment in hidden)
    for one, other in zip(hidden, bare, strict=True):
        assert one.record.lost == other.record.lost
        assert one.record.bytes_up > other.record.bytes_up
        assert torch.allclose(one.state.model, other.state.model, atol=1e-5)


def test_the_servers_view_under_masks_holds_no_single_row() -> None:
    hidden, bare = moments(SMALL), moments(SMALL, secure_aggregation__enabled=False)
    for covered, open_ in zip(hidden, bare, strict=True):
        view, truth = server_view(covered.transcript), server_view(open_.transcript)
        assert len(view.rows) == 1
        assert view.senders == (tuple(client for (client,) in truth.senders),)
        for row in truth.rows:
            assert _holds(truth, row)
            assert not _holds(view, row)


def test_the_words_that_the_server_sees_under_masks_are_noise() -> None:
    hidden, bare = moments(SMALL), moments(SMALL, secure_aggregation__enabled=False)
    heaviest = float(assemble(SMALL).sizes.max())
    for covered, open_ in zip(hidden, bare, strict=True):
        seen, truth = server_view(covered.transcript).masked, server_view(open_.transcript)
        ring = Ring(SMALL.cohort_size, SMALL.secure_aggregation.bound, heaviest)
        words = ring.encode(truth.rows.numpy(), truth.weights.double().numpy())
        assert seen is not None
        assert seen.shape == words.shape
        assert (seen == words).mean() < 0.01
        assert looks_random(seen)
        assert not looks_random(words)


def _holds(view: ServerView, row: Tensor) -> bool:
    """Whether a vector in the view is the row, but for one part in a hundred."""
    things = [getattr(view, field.name) for field in fields(view)]
    vectors = [
        vector
        for thing in things
        if isinstance(thing, Tensor) and thing.shape[-1] == len(row)
        for vector in thing.reshape(-1, len(row))
    ]
    return any(float((vector - row).norm() / row.norm()) < 0.01 for vector in vectors)


def test_an_aborted_round_leaves_the_model_alone_or_stops_the_run() -> None:
    strict = {"secure_aggregation__threshold": 1.0, "network__dropout": 0.9}
    for moment in moments(SMALL, **strict):
        assert "secure aggregation aborted" in moment.record.note
        assert moment.record.lost == moment.record.clients
        assert torch.equal(moment.transcript.released, moment.transcript.sent)
    with pytest.raises(Stopped, match="round 1: secure aggregation aborted"):
        moments(SMALL, secure_aggregation__on_abort="stop", **strict)
