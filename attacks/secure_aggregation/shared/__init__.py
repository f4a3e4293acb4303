"""What several attacks on secure aggregation need."""
