"""Who takes part in a round, who drops out, who is late."""
