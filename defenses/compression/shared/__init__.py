"""What several codecs need."""
