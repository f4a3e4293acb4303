"""Settings, random streams, threads and paths: the ground, without a word of the field."""
