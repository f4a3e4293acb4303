"""What several data sources need."""
