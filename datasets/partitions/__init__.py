"""Partitions: who holds which training examples."""
