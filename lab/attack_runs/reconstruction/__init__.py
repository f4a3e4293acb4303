"""Reconstruction attacks on a round of a run."""
