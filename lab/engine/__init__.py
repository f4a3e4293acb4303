"""One round of federated learning, and the loop over rounds."""
