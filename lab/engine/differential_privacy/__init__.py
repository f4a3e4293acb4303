"""Clipping, noise, and the accountant of a run."""
