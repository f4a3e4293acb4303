"""What is measured after a round."""
