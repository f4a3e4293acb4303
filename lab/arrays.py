"""Arrays in files named by their own sha256.  Nothing is ever unpickled."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from lab.settings import SettingError

DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Arrays:
    """A folder of safetensors files; equal arrays are kept once."""

    folder: Path

    def put(self, tensors: dict[str, Tensor]) -> str:
        """Write the tensors, all or nothing, and return their digest."""
        content = save({name: tensor.contiguous() for name, tensor in tensors.items()})
        digest = sha256(content).hexdigest()
        path = self._path(digest)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as unfinished:
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

    def remove(self, digest: str) -> None:
        """Nobody needs it any more; a file that is gone already is no error."""
        self._path(digest).unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        if not DIGEST.fullmatch(digest):
            raise SettingError(f"{digest!r} is no digest")
        return self.folder / digest[:2] / f"{digest}.safetensors"
