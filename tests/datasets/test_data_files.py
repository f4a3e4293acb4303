"""Files of data: only the right one is read, and any other is told with what mends it."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch

from datasets import DATA_SOURCES
from datasets.sources import adult, chat, fashion_mnist, heart, mnist, photos
from datasets.sources.shared import file_lookup
from lab.common.settings import SettingError
from lab.engine.data.summary import summarise
from tests.support.data import (
    FULL,
    FULL_IS_HERE,
    examples_of,
    forget,
    with_,
)
from tests.support.data import no_data_of_the_user as no_data_of_the_user
from tests.support.data import nowhere as nowhere

COMMITTED = {
    "adult_8k_2k.npz": adult.DIGEST,
    "fashion_10k_2k.npz": fashion_mnist.COMPACT,
    "heart_four_hospitals.csv": heart.DIGEST,
    "mnist_5k.npz": mnist.DIGEST,
    "photos_64.npz": photos.DIGEST,
    "chat_200_people.npz": chat.DIGEST,
}
# What mends a missing file of each source.
REMEDIES = {
    "fashion-mnist": "restore datasets/files from the repository",
    FULL: "apt install dataset-fashion-mnist",
    "mnist-5k": "restore datasets/files from the repository",
    "digits": "pip install scikit-learn",
    "adult": "restore datasets/files from the repository",
    "heart": "restore datasets/files from the repository",
    "photos": "restore datasets/files from the repository",
    "faces": "pip install scikit-image",
    "chat": "restore datasets/files from the repository",
}


# --- committed, missing and changed files -------------------------------------------------------


def test_committed_files_are_those_that_the_code_expects() -> None:
    found = {
        path.name: sha256(path.read_bytes()).hexdigest()
        for path in file_lookup.COMMITTED.iterdir()
        if path.name != "README.md"
    }
    assert found == COMMITTED


@pytest.mark.parametrize("name", COMMITTED)
def test_every_committed_file_has_its_origin_and_licence_told(name: str) -> None:
    lines = (file_lookup.COMMITTED / "README.md").read_text(encoding="utf-8").splitlines()
    row = next(line for line in lines if line.startswith(f"| `{name}` |"))
    assert all(len(cell.strip()) > 10 for cell in row.strip("|").split("|"))


@pytest.mark.parametrize("kind", DATA_SOURCES)
@pytest.mark.parametrize("given_", [None, "", "{tmp}/not there", "{tmp}/nowhere"])
def test_a_missing_file_is_told_with_what_mends_it(
    kind: str, given_: str | None, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether LEAKLAB_DATA is unset, blank, or names a folder that is not there or is empty."""
    if given_ is not None:
        monkeypatch.setenv("LEAKLAB_DATA", given_.format(tmp=nowhere.parent))
    with pytest.raises(SettingError, match=r"^data.source: \S+ is not on this machine: ") as caught:
        DATA_SOURCES[kind]().load()
    assert REMEDIES[kind] in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", COMMITTED)
def test_a_changed_file_is_refused_by_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytearray((file_lookup.COMMITTED / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    monkeypatch.setenv("LEAKLAB_DATA", str(tmp_path))
    kind = {"fashion": "fashion-mnist", "mnist": "mnist-5k"}.get(
        name.split("_")[0], name.split("_")[0]
    )
    with pytest.raises(SettingError, match="is not the file that was expected") as caught:
        DATA_SOURCES[kind]().load()
    assert str(caught.value).startswith(f"data.source: {tmp_path / name} is not")
    assert "remove it, then restore datasets/files" in str(caught.value)


def test_a_packed_file_of_other_content_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "digits.csv.gz").write_bytes(gzip.compress(b"1,2,3\n"))
    monkeypatch.setenv("LEAKLAB_DATA", str(tmp_path))
    with pytest.raises(SettingError, match=r"digits\.csv\.gz is not the file that was expected"):
        DATA_SOURCES["digits"]().load()


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
    packed = file_lookup.package_folder("sklearn", "datasets", "data") / "digits.csv.gz"
    (tmp_path / packed.name).write_bytes(harm(packed.read_bytes()))
    monkeypatch.setenv("LEAKLAB_DATA", str(tmp_path))
    with pytest.raises(SettingError, match=r"digits\.csv\.gz"):
        DATA_SOURCES["digits"]().load()


def test_a_changed_file_is_told_with_the_command_that_mends_it(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_bytes(b"changed")
    with pytest.raises(SettingError, match=r"run 'pip install it'$"):
        file_lookup.read(
            "mine.csv", sha256(b"good").hexdigest(), [tmp_path], "run 'pip install it'"
        )


def test_a_portrait_of_missing_data_tells_what_mends_it(nowhere: Path) -> None:
    forget()
    missing = with_(data__source=FULL, seed=4711)
    for _ in range(2):  # a failure is not remembered
        with pytest.raises(SettingError, match="apt install dataset-fashion-mnist"):
            summarise(missing)


# --- where files are looked for -----------------------------------------------------------------


def test_the_folder_of_the_user_comes_first_and_the_first_of_the_others_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, folders = sha256(b"good").hexdigest(), [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    (folders[2] / "mine").write_bytes(b"bad")
    (folders[1] / "mine").write_bytes(b"good")
    assert file_lookup.read("mine", digest, folders, "") == b"good"
    monkeypatch.setenv("LEAKLAB_DATA", str(folders[2]))
    with pytest.raises(SettingError, match="mine is not the file"):
        file_lookup.read("mine", digest, folders, "")


def test_data_may_lie_in_the_folder_of_the_user_alone(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEAKLAB_DATA", str(file_lookup.COMMITTED))
    for kind in ("fashion-mnist", "heart", "adult", "photos"):
        assert torch.equal(DATA_SOURCES[kind]().load().labels, examples_of(kind).labels)


def test_an_array_file_with_pickled_objects_is_not_opened() -> None:
    file = BytesIO()
    np.savez(file, evil=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        file_lookup.arrays(file.getvalue())


def test_a_package_is_found_without_being_imported() -> None:
    assert file_lookup.package_folder("sklearn", "datasets").is_dir()
    assert not file_lookup.package_folder("no_such_package_anywhere", "data").exists()
    assert "this" not in sys.modules
    file_lookup.package_folder("this")
    assert "this" not in sys.modules


# --- the full set -------------------------------------------------------------------------------


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
    examples = DATA_SOURCES[FULL]().load()
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
    assert DATA_SOURCES[FULL]().load().labels.tolist() == [3, 7]


def test_the_extract_is_the_part_of_the_full_set_that_it_says() -> None:
    if not FULL_IS_HERE:
        with pytest.raises(SettingError, match="apt install dataset-fashion-mnist"):
            DATA_SOURCES[FULL]().load()
        return
    digest = COMMITTED["fashion_10k_2k.npz"]
    held = file_lookup.arrays(
        file_lookup.read("fashion_10k_2k.npz", digest, [file_lookup.COMMITTED], "")
    )
    full, compact = examples_of(FULL), examples_of("fashion-mnist")
    assert np.unique(held["train_index"]).size == 10_000
    assert np.unique(held["test_index"]).size == 2_000
    train, test = (torch.from_numpy(held[f"{name}_index"]).long() for name in ("train", "test"))
    assert torch.equal(full.inputs[train], compact.inputs)
    assert torch.equal(full.labels[train], compact.labels)
    assert torch.equal(full.test_inputs[test], compact.test_inputs)
    assert torch.equal(full.test_labels[test], compact.test_labels)
    assert torch.bincount(full.labels).tolist() == [6000] * 10
