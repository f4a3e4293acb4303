"""What several families of attacks need."""
