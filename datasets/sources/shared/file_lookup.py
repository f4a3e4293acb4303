"""Look-up of a data set's files, with a check of their content."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable
from hashlib import sha256
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import torch

from lab.common.paths import ROOT
from lab.common.settings import SettingError
from lab.interfaces.data import Examples

COMMITTED = ROOT / "datasets" / "files"
DEBIAN = Path("/usr/share/datasets")
PIECE = 1 << 20  # bytes, read at once


def package_folder(package: str, *below: str) -> Path:
    """Return a folder inside an installed package without importing the package."""
    found = find_spec(package)
    root = found.submodule_search_locations[0] if found and found.submodule_search_locations else ""
    return Path(root, *below)


def read(name: str, digest: str, folders: Iterable[Path], remedy: str) -> bytearray:
    """Read a file or its .gz, after a check of the content's sha256.

    The folder that LEAKLAB_DATA names comes first.  Raises SettingError that ends in `remedy`.
    """
    given = os.environ.get("LEAKLAB_DATA")
    for folder in [*([Path(given)] if given else []), *folders]:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return _content(path, digest, remedy)
    raise SettingError(f"data.source: {name} is not on this machine: {remedy}")


def _content(path: Path, digest: str, remedy: str) -> bytearray:
    content, opened = bytearray(), gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            while piece := file.read(PIECE):  # never two copies of the whole
                content += piece
    except (OSError, EOFError, zlib.error) as error:
        raise SettingError(f"data.source: {path} cannot be read ({error}): {remedy}") from None
    if sha256(content).hexdigest() != digest:
        raise SettingError(
            f"data.source: {path} is not the file that was expected, its sha256 differs: remove "
            f"it, then {remedy}"
        )
    return content


def arrays(content: bytes | bytearray) -> dict[str, np.ndarray]:
    """Read the arrays of an npz file, without pickle."""
    with np.load(BytesIO(content), allow_pickle=False) as archive:
        return dict(archive)


def holdout(labels: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return indices for training and for test: a fixed choice of that share of every class."""
    generator = np.random.default_rng(0)
    test = []
    for label in np.unique(labels):
        mine = generator.permutation(np.flatnonzero(labels == label))
        test.append(mine[: round(share * len(mine))])
    held = np.sort(np.concatenate(test))
    return np.setdiff1d(np.arange(len(labels)), held), held


def table(content: bytes | bytearray) -> np.ndarray:
    """Read the numbers of a CSV file without a heading."""
    return np.loadtxt(content.decode().splitlines(), delimiter=",", dtype=np.float64)


def labelled_pictures(pixels: np.ndarray, labels: np.ndarray) -> Examples:
    """Build examples from pixels from 0 to 255; a fifth is held out for testing.

    pixels (pictures, colours, height, width)
    """
    train, test = holdout(labels, 0.2)
    inputs = torch.from_numpy(pixels.astype(np.uint8))
    targets = torch.from_numpy(labels.astype(np.int64))
    return Examples(inputs[train], targets[train], inputs[test], targets[test])
