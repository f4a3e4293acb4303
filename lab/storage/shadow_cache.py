"""The stock: shadow models in the store, for every attack on the same run and round.

It keeps `MOST` bytes of them.  Beyond that the ones that nobody has used for longest are forgotten:
they can be trained again.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from torch import Tensor

from lab.common.settings import SettingError
from lab.storage.arrays import ArrayStore
from lab.storage.database import cached_shadows, reading, writing

MOST = 512 << 20  # bytes: 2,600 models of the usual MLP


@dataclass(frozen=True)
class ShadowModelCache:
    """A cache of models that outlives its process and is shared by all workers."""

    engine: Engine
    arrays: ArrayStore
    most: int = MOST

    def recall(self, key: str) -> Tensor | None:
        """-> (params,); None where there is none, or none that can be read"""
        mine = cached_shadows.c.key == key
        with reading(self.engine) as connection:
            digest = connection.execute(select(cached_shadows.c.arrays).where(mine)).scalar()
        if digest is None:
            return None
        try:
            model = self.arrays.get(digest)["shadow"]
        except SettingError:  # lost or changed, and not worth telling: it can be trained again
            with writing(self.engine) as connection:
                self._forget(connection, key, digest)
            return None
        with writing(self.engine) as connection:
            connection.execute(update(cached_shadows).where(mine).values(used=time.time()))
        return model

    def keep(self, key: str, model: Tensor) -> None:
        """All or nothing; what is kept already stays as it is."""
        row = {"key": key, "arrays": self.arrays.put({"shadow": model}), "bytes": model.nbytes}
        with suppress(IntegrityError), writing(self.engine) as connection:
            connection.execute(insert(cached_shadows).values(row | {"used": time.time()}))
        with writing(self.engine) as connection:
            self._make_room(connection)

    def _make_room(self, connection: Connection) -> None:
        total = connection.execute(
            select(func.coalesce(func.sum(cached_shadows.c.bytes), 0))
        ).scalar_one()
        if total <= self.most:
            return
        oldest = select(
            cached_shadows.c.key, cached_shadows.c.arrays, cached_shadows.c.bytes
        ).order_by(cached_shadows.c.used)
        for row in connection.execute(oldest).all():
            if total <= self.most:
                return
            self._forget(connection, row.key, row.arrays)
            total -= row.bytes

    def _forget(self, connection: Connection, key: str, digest: str) -> None:
        connection.execute(delete(cached_shadows).where(cached_shadows.c.key == key))
        same = select(cached_shadows.c.key).where(cached_shadows.c.arrays == digest).limit(1)
        if connection.execute(same).first() is None:
            self.arrays.remove(digest)
