"""Reconstruction by a server that sends a manipulated model."""
