"""What several reconstruction attacks need."""
