"""A poisoned round, seen by somebody who knows who is malicious."""
