"""What several defences need."""
