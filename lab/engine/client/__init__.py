"""Local training of a whole cohort at once."""
