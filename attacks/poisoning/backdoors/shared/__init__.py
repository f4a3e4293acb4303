"""Helpers shared by several backdoors."""
