"""Attacks on secure aggregation by a malicious server."""
