"""Scores of reconstructed images, records, texts and labels."""
