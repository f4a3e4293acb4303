"""Helpers shared by several attacks on secure aggregation."""
