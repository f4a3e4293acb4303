"""What several algorithms need."""
