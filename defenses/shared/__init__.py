"""Helpers shared by several defences."""
