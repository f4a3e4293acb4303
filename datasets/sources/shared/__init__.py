"""Helpers shared by several data sources."""
