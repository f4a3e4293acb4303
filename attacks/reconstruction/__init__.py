"""Reconstruction attacks: training examples out of updates."""
