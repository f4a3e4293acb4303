"""Golden runs."""
