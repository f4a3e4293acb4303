"""Worker processes: they claim jobs and carry them out."""
