"""One script a page: it reads the store, then draws."""
