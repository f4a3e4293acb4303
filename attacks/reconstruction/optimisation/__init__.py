"""Reconstruction by matching gradients."""
