"""The federated data set: who holds what, and who is malicious."""
