"""Clipping and Gaussian noise."""
