"""Attacks on secure aggregation in a run."""
