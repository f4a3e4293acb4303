"""What several poisoning attacks need."""
