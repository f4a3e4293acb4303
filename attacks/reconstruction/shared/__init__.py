"""Helpers shared by several reconstruction attacks."""
