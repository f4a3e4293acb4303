"""Carries an attack out on a run, and keeps the truth apart from the attack."""
