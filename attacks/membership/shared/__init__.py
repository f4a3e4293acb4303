"""What several membership attacks need."""
