"""Poisoning by backdoors."""
