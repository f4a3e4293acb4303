"""Scores of membership inference."""
