"""Arrays in files named by their own sha256.  Nothing is ever unpickled."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from lab.common.settings import SettingError

DIGEST = re.compile(r"[0-9a-f]{64}")
UNFINISHED = "unfinished-"  # how the name of a file begins that is not whole yet
SMALL = 1 << 18  # bytes: more than any uploaded picture takes once it is shrunk


@dataclass(frozen=True)
class ArrayStore:
    """A folder of safetensors files; equal arrays are kept once."""

    folder: Path

    @staticmethod
    def digest(tensors: dict[str, Tensor]) -> str:
        """What `put` would return, without writing anything."""
        return sha256(_bytes(tensors)).hexdigest()

    def put(self, tensors: dict[str, Tensor]) -> str:
        """Write the tensors, all or nothing, and return their digest."""
        content = _bytes(tensors)
        digest = sha256(content).hexdigest()
        path = self._path(digest)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                dir=path.parent, prefix=UNFINISHED, delete=False
            ) as unfinished:
                unfinished.write(content)
            os.replace(unfinished.name, path)
        return digest

    def get(self, digest: str) -> dict[str, Tensor]:
        """Raises SettingError when the file is missing or was changed."""
        path = self._path(digest)
        try:
            content = path.read_bytes()
            if sha256(content).hexdigest() != digest:
                raise SettingError(f"{path} was changed: its sha256 is not its name")
            return dict(sorted(load(content).items()))
        except (OSError, SafetensorError) as error:
            raise SettingError(f"{path} cannot be read: {error}") from None

    def __contains__(self, digest: str) -> bool:
        return self._path(digest).exists()

    def size(self, digest: str) -> int:
        """Bytes of that file; 0 where it is missing."""
        path = self._path(digest)
        return path.stat().st_size if path.exists() else 0

    def remove(self, digest: str) -> None:
        """Nobody needs it any more; a file that is gone already is no error."""
        self._path(digest).unlink(missing_ok=True)

    def small_files(self, name: str, before: float) -> list[str]:
        """Digests of files up to SMALL bytes that hold that array alone and were written before."""
        found = []
        for path in self.folder.glob("??/*.safetensors"):
            with suppress(OSError, SafetensorError):  # removed meanwhile, or no file of ours
                known = path.stat()
                if known.st_mtime < before and known.st_size <= SMALL and _names(path) == [name]:
                    found.append(path.stem)
        return found

    def remove_unfinished(self, before: float) -> int:
        """Remove what processes began to write before that time and were killed over."""
        removed = 0
        for path in self.folder.glob(f"??/{UNFINISHED}*"):
            with suppress(OSError):
                if path.stat().st_mtime < before:
                    path.unlink()
                    removed += 1
        return removed

    def _path(self, digest: str) -> Path:
        if not DIGEST.fullmatch(digest):
            raise SettingError(f"{digest!r} is no digest")
        return self.folder / digest[:2] / f"{digest}.safetensors"


def _bytes(tensors: dict[str, Tensor]) -> bytes:
    return save({name: tensor.contiguous() for name, tensor in tensors.items()})


def _names(path: Path) -> list[str]:
    """The names of the arrays in a file."""
    with safe_open(path, framework="pt") as file:
        return list(file.keys())
