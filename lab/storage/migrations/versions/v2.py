"""Version 2: the store as it was before there were migrations."""

from __future__ import annotations

revision = "2"
down_revision = None


def upgrade() -> None:
    """There is nothing before it."""
