"""Helpers shared by several algorithms."""
