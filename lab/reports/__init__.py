"""Files to take away: pages, archives, notebooks, tables."""
