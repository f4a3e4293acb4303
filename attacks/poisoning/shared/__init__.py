"""Helpers shared by several poisoning attacks."""
