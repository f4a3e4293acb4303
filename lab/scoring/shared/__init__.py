"""What several scores need."""
