"""Aggregation rules: one update out of many."""
