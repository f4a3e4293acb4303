"""What README shows, and the scripts that make it."""
