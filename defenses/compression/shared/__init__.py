"""Helpers shared by several codecs."""
