"""How the store of an earlier version becomes one of the next, a file for each step (alembic)."""
