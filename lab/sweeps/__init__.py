"""Grids of experiments, attacked, and what they show."""
