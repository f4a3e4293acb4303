"""What several backdoors need."""
