"""Codecs: packets worked out by hand, promises of all of them, and the errors that theory gives."""

from __future__ import annotations

from math import pi, sqrt
from struct import pack as struct_pack
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from defenses.compression import Half, PowerSgd, Qsgd, Quantise, RandomK, Sign, TopK
from defenses.compression.quantise import hadamard, rotate, rotate_back
from defenses.compression.shared.bit_packing import LARGEST, pack, unpack
from lab.common.random_streams import normal, random_stream, uniform
from lab.common.settings import SettingError
from lab.interfaces.aggregation import Codec
from lab.interfaces.messages import Cohort

ALL = [
    *(TopK(share=share) for share in (0.01, 0.3, 0.95, 1.0)),
    *(RandomK(share=share, unbiased=share < 0.5) for share in (0.1, 0.5)),
    *(Qsgd(levels=levels) for levels in (1, 15, 127)),
    Sign(),
    *(Quantise(bits=bits) for bits in (2, 4, 8)),
    *(Quantise(bits=bits, rotate=True) for bits in (2, 8)),
    *(PowerSgd(rank=rank) for rank in (1, 4)),
    Half(),
]
UNBIASED = [RandomK(share=0.2), Qsgd(levels=1), Qsgd(levels=15), Quantise(bits=2)]
SHAPES: dict[int, list[tuple[int, ...]]] = {
    1: [(1,)],
    7: [(2, 3), (1,)],
    1000: [(30, 4, 8), (40,)],
}
SEEDS = st.integers(0, 10**6)
every_codec = pytest.mark.parametrize("codec", ALL, ids=str)


def gaussian(params: int, seed: int = 0) -> Tensor:
    return normal(random_stream(seed, "row"), params)


def shapes_of(row: Tensor) -> list[tuple[int, ...]]:
    return SHAPES.get(len(row), [(len(row),)])


def packed(codec: Codec, row: Tensor, seed: int = 0) -> bytes:
    return codec.encode(row, shapes_of(row), random_stream(seed, "shared"))


def sent(codec: Codec, row: Tensor, seed: int = 0) -> Tensor:
    """What arrives of the row."""
    return codec.decode(packed(codec, row, seed), shapes_of(row), random_stream(seed, "shared"))


def error(codec: Codec, row: Tensor, seed: int = 0) -> float:
    """Squared, and relative to the row's."""
    lost = sent(codec, row, seed).double() - row.double()
    return float(lost.square().sum() / row.double().square().sum())


def mean_error(codec: Codec, row: Tensor, draws: int) -> float:
    return float(np.mean([error(codec, row, seed) for seed in range(draws)]))


# --- by hand --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "row", "packet", "arrives"),
    [
        # The places 1 and 3 in two bits each: 1 + 3 * 4.
        (TopK(share=0.5), [1, -5, 2, 4], struct_pack("<2fB", -5, 4, 13), [0, -5, 0, 4]),
        # Of equals the first: the places 0 and 1.
        (TopK(share=0.5), [2, -2, 2, 2], struct_pack("<2fB", 2, -2, 4), [2, -2, 0, 0]),
        # Two of five as a bit for each, 2 + 8, for two places of three bits would take six.
        (TopK(share=0.4), [0, 7, 0, 9, 1], struct_pack("<2fB", 7, 9, 10), [0, 7, 0, 9, 0]),
        # Three of four: the place of the one left out, 2.
        (TopK(share=0.75), [3, 4, 1, 5], struct_pack("<3fB", 3, 4, 5, 2), [3, 4, 0, 5]),
        # Mean magnitude 2; not negative at 0, 2 and 3: 1 + 4 + 8.
        (Sign(), [2, -5, 1, 0], struct_pack("<fB", 2, 13), [2, -2, 2, 2]),
        # Length 5, so the levels are 3 and -4: 8 and 1 above -5, in four bits: 8 + 1 * 16.
        (Qsgd(levels=5), [3, -4], struct_pack("<fB", 5, 24), [3, -4]),
        # On the grid already: points 0 to 3 in two bits each: 0 + 1 * 4 + 2 * 16 + 3 * 64.
        (Quantise(bits=2), [-1, 0, 1, 2], struct_pack("<2fB", -1, 2, 228), [-1, 0, 1, 2]),
        # Too precise, too large, too small.
        (Half(), [1 + 2**-12, -1e6, 2**-26], struct_pack("<3e", 1, -65504, 0), [1, -65504, 0]),
    ],
)
def test_packets_by_hand(codec: Codec, row: list[float], packet: bytes, arrives: Any) -> None:
    assert packed(codec, torch.tensor(row, dtype=torch.float32)) == packet
    assert sent(codec, torch.tensor(row, dtype=torch.float32)).tolist() == arrives


@pytest.mark.parametrize(("unbiased", "factor"), [(True, 5.0), (False, 1.0)])
def test_random_k_sends_values_alone(unbiased: bool, factor: float) -> None:
    row, codec = torch.arange(1.0, 11.0), RandomK(share=0.2, unbiased=unbiased)
    kept = sent(codec, row).nonzero().flatten()
    assert len(kept) == 2
    assert sorted(np.frombuffer(packed(codec, row), "<f4")) == row[kept].tolist()
    assert sent(codec, row)[kept].tolist() == (factor * row[kept]).tolist()


def test_a_matrix_goes_as_two_thin_ones_and_a_vector_whole() -> None:
    """M is (3, 5) times (1, 2, -1, 4): P is the first, made a unit; Q = M^T P."""
    matrix = torch.outer(torch.tensor([3.0, 5.0]), torch.tensor([1.0, 2.0, -1.0, 4.0]))
    row = torch.cat([matrix.flatten(), torch.tensor([7.0, 9.0])])
    packet = PowerSgd(rank=1).encode(row, [(2, 4), (2,)], random_stream(0))
    floats = np.frombuffer(packet, "<f4")
    side = float(np.sign(floats[0]))
    assert floats[:2] * side == pytest.approx([3 / sqrt(34), 5 / sqrt(34)])
    assert floats[2:6] * side == pytest.approx([sqrt(34), 2 * sqrt(34), -sqrt(34), 4 * sqrt(34)])
    assert floats[6:].tolist() == [7, 9]


@pytest.mark.parametrize(
    ("codec", "packet"),
    [
        (TopK(share=0.02), 80 + 25),  # 20 places of 10 bits
        (TopK(share=0.3), 1200 + 125),  # a bit for each coordinate
        (TopK(share=0.95), 3800 + 63),  # 50 places left out: 500 bits
        (TopK(share=1), 4000),  # nothing is left out
        (RandomK(share=0.1), 400),
        (Qsgd(levels=1), 4 + 250),  # three levels: 2 bits
        (Qsgd(levels=4), 4 + 500),  # nine levels: 4 bits
        (Qsgd(levels=127), 4 + 1000),
        (Sign(), 4 + 125),
        (Quantise(bits=2), 8 + 250),
        (Quantise(bits=4), 8 + 500),
        (Quantise(bits=8), 8 + 1000),
        (Quantise(bits=4, rotate=True), 8 + 512),  # filled up to 1024
        (PowerSgd(rank=2), 4 * (2 * (30 + 32) + 40)),
        (PowerSgd(rank=16), 4000),  # 16 * (30 + 32) is more than 30 * 32
        (Half(), 2000),
    ],
    ids=str,
)
def test_sizes_by_hand(codec: Codec, packet: int) -> None:
    assert len(packed(codec, gaussian(1000))) == packet


def test_numbers_fill_bytes_from_the_lowest_bit() -> None:
    packet = pack(torch.empty(0), torch.tensor([1, 2, 7, 4]), 3)  # 1 + 2 * 8 + 7 * 64 + 4 * 512
    assert int.from_bytes(packet, "little") == 1 + 16 + 448 + 2048


@given(seed=SEEDS, width=st.integers(0, 32), count=st.integers(0, 40))
def test_numbers_of_any_width_come_back(seed: int, width: int, count: int) -> None:
    numbers = torch.from_numpy(random_stream(seed).integers(0, 2**width, count))
    values = gaussian(3, seed)
    packet = pack(values, numbers, width)
    assert len(packet) == 12 + (count * width + 7) // 8
    assert all(map(torch.equal, unpack(packet, 3, count, width), (values, numbers)))


def test_hadamard_by_hand_and_by_scipy() -> None:
    assert hadamard(torch.tensor([1.0, 2.0, 3.0, 4.0])).tolist() == [5, -1, -2, 0]
    row = gaussian(64).double()
    matrix = torch.from_numpy(scipy.linalg.hadamard(64)).double() / 8
    assert torch.allclose(hadamard(row), matrix @ row)


# --- promises -------------------------------------------------------------------------------------


@every_codec
@pytest.mark.parametrize("params", SHAPES)
@pytest.mark.parametrize("magnitude", [1.0, 0.0, 1e-44, 1e-20, LARGEST])
def test_rows_arrive_finite_and_in_shape(codec: Codec, params: int, magnitude: float) -> None:
    row = magnitude * gaussian(params).clamp(-1, 1)
    arrived = sent(codec, row)
    assert arrived.shape == (params,)
    assert arrived.dtype == torch.float32
    assert arrived.isfinite().all()


@every_codec
@pytest.mark.parametrize("params", SHAPES)
def test_nothing_arrives_as_nothing(codec: Codec, params: int) -> None:
    assert sent(codec, torch.zeros(params)).tolist() == [0.0] * params


@pytest.mark.parametrize("codec", [TopK(share=1), Sign(), Quantise(), Half()], ids=str)
@pytest.mark.parametrize("params", SHAPES)
def test_constant_rows_arrive_exactly(codec: Codec, params: int) -> None:
    assert sent(codec, torch.full((params,), -0.375)).tolist() == [-0.375] * params


@every_codec
@given(seed=SEEDS)
def test_equal_draws_make_equal_packets_and_rows_stay_as_they_are(codec: Codec, seed: int) -> None:
    row = gaussian(1000, seed)
    assert packed(codec, row, seed) == packed(codec, row, seed)
    assert torch.equal(row, gaussian(1000, seed))


@every_codec
@pytest.mark.parametrize("params", SHAPES)
def test_packets_are_no_larger_than_the_row_and_a_small_head(codec: Codec, params: int) -> None:
    assert len(packed(codec, gaussian(params))) <= 4 * params + 8


@every_codec
@pytest.mark.parametrize("factor", [2.0**-3, 2.0**5])
def test_a_row_scaled_by_a_power_of_two_arrives_scaled(codec: Codec, factor: float) -> None:
    row = gaussian(1000)
    row += row.sign()  # away from zero, where half precision is coarser
    assert torch.equal(sent(codec, factor * row), factor * sent(codec, row))


@pytest.mark.parametrize("codec", [TopK(), TopK(share=0.8), Sign(), Half()], ids=str)
@given(seed=SEEDS)
def test_order_of_coordinates_does_not_matter(codec: Codec, seed: int) -> None:
    row, order = gaussian(1000, seed), torch.from_numpy(random_stream(seed).permutation(1000))
    assert torch.allclose(sent(codec, row[order]), sent(codec, row)[order], rtol=1e-6, atol=0)


@every_codec
def test_the_packet_says_all_but_where_both_ends_must_draw_alike(codec: Codec) -> None:
    packet, shapes = packed(codec, gaussian(1000)), SHAPES[1000]
    arrived, *others = (
        codec.decode(packet, shapes, random_stream(0, name)) for name in ("shared", "?")
    )
    draws = isinstance(codec, RandomK) or (isinstance(codec, Quantise) and codec.rotate)
    assert torch.equal(arrived, others[0]) != draws


@every_codec
@pytest.mark.parametrize("params", SHAPES)
def test_packets_of_a_wrong_length_are_refused(codec: Codec, params: int) -> None:
    packet = packed(codec, gaussian(params))
    for wrong in (b"", packet[:-1], packet + b"\0"):
        with pytest.raises(ValueError, match=f"has {len(wrong)} bytes.* have {len(packet)}"):
            codec.decode(wrong, SHAPES[params], random_stream(0, "shared"))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.98])
@pytest.mark.parametrize("filling", [b"\0", b"\xff"])
def test_places_that_cannot_be_are_refused(share: float, filling: bytes) -> None:
    """The same place twice, one beyond the row, or all bits of the row."""
    codec = TopK(share=share)
    values = round(share * 1000) * 4
    packet = packed(codec, gaussian(1000))
    wrong = packet[:values] + filling * (len(packet) - values)
    with pytest.raises(ValueError, match="different places below 1000"):
        codec.decode(wrong, SHAPES[1000], random_stream(0))


def test_each_client_packs_its_own_row_with_draws_of_its_own() -> None:
    nobody = torch.zeros(2, dtype=torch.bool)
    cohort = Cohort(0, 0, (4, 9), torch.ones(2), nobody, nobody, 2.0)
    rows = gaussian(1000).expand(2, -1)
    arrived, sizes = RandomK().transmit(rows, cohort, SHAPES[1000])
    assert sizes == [400, 400]
    assert (arrived != 0).sum(dim=1).tolist() == [100, 100]
    assert not torch.equal(*arrived)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        (TopK, "share", 0),
        (TopK, "share", 1.1),
        (RandomK, "share", 0),
        (Qsgd, "levels", 0),
        (Qsgd, "levels", 128),
        (Quantise, "bits", 3),
        (PowerSgd, "rank", 0),
    ],
)
def test_settings_out_of_bounds_are_refused(part: type[Codec], name: str, value: float) -> None:
    with pytest.raises(SettingError, match=name):
        part.read({name: value})


# --- errors that theory gives ---------------------------------------------------------------------


def rounding(scaled: Tensor) -> float:
    """The expected squared error of random rounding to whole numbers: f (1 - f) each."""
    fractions = scaled.double() - scaled.double().floor()
    return float((fractions * (1 - fractions)).sum())


@pytest.mark.parametrize("codec", [*UNBIASED, Quantise(bits=2, rotate=True)], ids=str)
def test_unbiased_codecs_are_right_on_average(codec: Codec) -> None:
    row = gaussian(50)
    arrived = torch.stack([sent(codec, row, seed) for seed in range(1000)]).double()  # (draws, 50)
    bias = (arrived.mean(dim=0) - row).square().sum()
    assert bias < 3 * arrived.var(dim=0).sum() / 1000  # about a third of that by chance


@given(seed=SEEDS, share=st.sampled_from([0.01, 0.1, 0.4, 0.9]))
def test_top_k_loses_the_smallest_and_no_more(seed: int, share: float) -> None:
    row = gaussian(1000, seed)
    arrived = sent(TopK(share=share), row)
    lost = row[arrived == 0].abs()
    assert len(lost) == 1000 - round(share * 1000)
    assert lost.max() < arrived[arrived != 0].abs().min()
    assert torch.equal(arrived[arrived != 0], row[arrived != 0])


def test_top_k_of_a_gaussian_row() -> None:
    """With a = 1.645, beyond which a tenth lies: 0.9 - 2 a phi(a) = .5607, phi the density."""
    assert error(TopK(share=0.1), gaussian(2**14)) == pytest.approx(0.561, abs=0.02)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_random_k_on_rows_of_equal_magnitudes(share: float) -> None:
    row = gaussian(1000).sign()
    assert error(RandomK(share=share), row) == pytest.approx(1 / share - 1)
    assert error(RandomK(share=share, unbiased=False), row) == pytest.approx(1 - share)


def test_random_k_of_a_gaussian_row() -> None:
    assert mean_error(RandomK(share=0.1), gaussian(2**14), 30) == pytest.approx(9, abs=0.4)


def test_random_k_draws_all_coordinates_alike() -> None:
    row = torch.ones(20)
    kept = torch.stack([sent(RandomK(share=0.25), row, seed) != 0 for seed in range(2000)])
    assert (kept.sum(dim=1) == 5).all()
    assert ((kept.sum(dim=0) - 500).abs() < 5 * sqrt(2000 * 0.25 * 0.75)).all()


def test_sign_of_a_gaussian_row() -> None:
    errors = [error(Sign(), gaussian(2**14, seed)) for seed in range(10)]
    assert np.mean(errors) == pytest.approx(1 - 2 / pi, abs=0.01)


@given(seed=SEEDS)
def test_the_scale_of_signs_is_the_best_one(seed: int) -> None:
    row = gaussian(100, seed).double() ** 3
    least = 1 - row.abs().mean() ** 2 / row.square().mean()
    assert error(Sign(), row.float()) == pytest.approx(float(least), rel=1e-5)


@pytest.mark.parametrize("levels", [1, 15, 127])
def test_qsgd_errs_as_much_as_theory_says(levels: int) -> None:
    params, row = 2**12, gaussian(2**12)
    measured = mean_error(Qsgd(levels=levels), row, 50)
    assert measured == pytest.approx(rounding(levels * row / row.norm()) / levels**2, rel=0.1)
    assert measured <= min(params / levels**2, sqrt(params) / levels)


@given(seed=SEEDS, levels=st.integers(1, 127), magnitude=st.sampled_from([1e-30, 1.0, 1e30]))
def test_qsgd_errs_by_less_than_a_level(seed: int, levels: int, magnitude: float) -> None:
    row = magnitude * gaussian(100, seed)
    step = float(row.double().norm()) / levels
    assert (sent(Qsgd(levels=levels), row) - row).abs().max() < step * (1 + 1e-6)


@pytest.mark.parametrize(("bits", "known"), [(2, 1.26), (4, 0.048), (8, 1.7e-4)])
def test_quantise_errs_as_much_as_theory_says(bits: Any, known: float) -> None:
    row = gaussian(2**14)
    step = float(row.max() - row.min()) / (2**bits - 1)
    expected = rounding((row - row.min()) / step) * step**2 / float(row.square().sum())
    measured = mean_error(Quantise(bits=bits), row, 10)
    assert measured == pytest.approx(expected, rel=0.05)
    assert measured == pytest.approx(known, rel=0.2)


@given(seed=SEEDS, bits=st.sampled_from([2, 4, 8]))
def test_quantise_errs_by_less_than_a_step_and_keeps_the_ends(seed: int, bits: Any) -> None:
    row = gaussian(100, seed)
    arrived = sent(Quantise(bits=bits), row)
    assert (arrived - row).abs().max() < (row.max() - row.min()) / (2**bits - 1) + 1e-6
    assert (arrived.min(), arrived.max()) == (row.min(), row.max())


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_rotation_helps_heavy_tails_and_no_gaussian_row(bits: Any) -> None:
    turned, plain = Quantise(bits=bits, rotate=True), Quantise(bits=bits)
    row = gaussian(2**14)
    assert mean_error(plain, row**5, 5) > 20 * mean_error(turned, row**5, 5)
    assert mean_error(plain, row, 5) == pytest.approx(mean_error(turned, row, 5), rel=0.5)


@given(seed=SEEDS, params=st.integers(1, 70))
def test_rotation_keeps_the_length_and_can_be_undone(seed: int, params: int) -> None:
    row = gaussian(params, seed)
    turned = rotate(row, random_stream(seed))
    assert float(turned.norm()) == pytest.approx(float(row.double().norm()))
    back = rotate_back(turned, random_stream(seed))
    assert torch.allclose(back[:params], row.double())
    assert torch.allclose(back[params:], torch.zeros(len(back) - params).double())


@pytest.mark.parametrize("shape", [(20, 30), (30, 20), (20, 5, 3, 3)])
@given(seed=SEEDS, rank=st.integers(1, 4))
def test_low_rank_arrives_exactly(shape: tuple[int, ...], seed: int, rank: int) -> None:
    columns = int(np.prod(shape[1:]))
    matrix = normal(random_stream(seed), shape[0], rank) @ normal(
        random_stream(seed + 1), rank, columns
    )
    row = torch.cat([matrix.flatten(), gaussian(10)])
    codec, shapes = PowerSgd(rank=4), [shape, (10,)]
    packet = codec.encode(row, shapes, random_stream(seed))
    arrived = codec.decode(packet, shapes, random_stream(seed))
    assert len(packet) == 4 * (4 * (shape[0] + columns) + 10)
    assert torch.allclose(arrived, row, atol=1e-5 * float(row.abs().max()))
    assert torch.equal(arrived[-10:], row[-10:])


@given(seed=SEEDS, rank=st.integers(1, 6))
def test_powersgd_projects_on_what_one_iteration_finds(seed: int, rank: int) -> None:
    """The pseudocode's other half: P P^T M is the best fit to M by the columns of M Q."""
    row, codec = gaussian(600, seed), PowerSgd(rank=rank)
    matrix = row.double().view(20, 30)
    found = matrix @ normal(random_stream(seed), 30, rank).double()  # (20, rank)
    fit = found @ torch.linalg.lstsq(found, matrix).solution
    packet = codec.encode(row, [(20, 30)], random_stream(seed))
    arrived = codec.decode(packet, [(20, 30)], random_stream(seed))
    assert torch.allclose(arrived, fit.flatten().float(), atol=1e-5)


@given(seed=SEEDS)
def test_half_errs_by_a_2048th_of_each(seed: int) -> None:
    exponents = torch.linspace(-14, 15.99, 1000).double()
    row = (2**exponents * gaussian(1000, seed).sign()).float()
    assert ((sent(Half(), row) - row).abs() <= 2**-11 * row.abs()).all()
    small = 2**-14 * uniform(random_stream(seed), 1000)
    assert ((sent(Half(), small) - small).abs() <= 2**-25).all()
