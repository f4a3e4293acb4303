"""Reconstruction by algebra."""
