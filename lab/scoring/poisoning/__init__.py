"""Scores of poisoned rounds and of the defences' decisions."""
