"""Poisoning by manipulated updates."""
