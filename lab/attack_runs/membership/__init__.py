"""Membership inference on a run."""
