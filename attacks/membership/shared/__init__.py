"""Helpers shared by several membership attacks."""
