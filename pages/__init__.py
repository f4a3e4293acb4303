"""Pages: one script each.  Read the store, then draw."""
