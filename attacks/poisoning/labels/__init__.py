"""Poisoning by wrong labels."""
